/* SPDX-License-Identifier: Apache-2.0 */
/* Connections through the session: held, asked for, carried by the speaker's pump, ended.
 *
 * HELD (no session) -> OPENING (asked for) -> CARRIED (the speaker moves its bytes). OPENING -> UNCLEAR
 * (refused at once with others, and it is not known whose reason is whose) -> OPENING, alone. A descriptor
 * stays ours, too, until its connection has ended: a lost session, and a speaker that was killed, resets the
 * carried ones; those that were only being opened are held again. */
#pragma once

#include "tunnel/run/life.h"
#include "tunnel/run/link.h"
#include "tunnel/run/route.h"
#include "tunnel/run/why.h"

typedef enum connection_state {
  CONNECTION_HELD,
  CONNECTION_UNCLEAR,
  CONNECTION_OPENING,
  CONNECTION_CARRIED,
  CONNECTION_STATES
} connection_state_t;

typedef struct carry carry_t;

/* Somebody waits for a session, and none is being opened. */
typedef void (*carry_wanted_cb)(void *ctx);

/* All that it is handed must live as long. NULL when out of memory. */
carry_t *carry_new(life_t *life, link_t *link, why_t *why, carry_wanted_cb wanted, void *ctx);
/* NULL allowed. */
void carry_free(carry_t *carry);

/* A local connection, which is taken over. host, port: a target of its own, for which a SOCKS client waits
 * for its answer; host NULL: the route's target. */
void carry_take(carry_t *carry, route_t *route, int fd, const char *host, uint16_t port);
/* Whether route's target can be reached: by whoever waits for it already, else by a channel that is let go
 * again. */
void carry_check(carry_t *carry, route_t *route);
/* Of the speaker, about one of them: SPEECH_OPENED, REFUSED, CLOSED. False: about none that was asked for. */
bool carry_heard(carry_t *carry, const speech_t *m);
/* After every turn of the loop: time limits, and those that are asked for alone. */
void carry_step(carry_t *carry);
/* The session is being taken down: carried ones are reset, opening ones are held again. Before the speaker
 * goes.
 */
void carry_lost(carry_t *carry);
/* It stands again. */
void carry_release(carry_t *carry);
/* All that are held. */
void carry_close_all(carry_t *carry);

size_t carry_count(const carry_t *carry);
size_t carry_count_in(const carry_t *carry, connection_state_t state);
/* All that were ever carried. */
uint64_t carry_connections(const carry_t *carry);
/* Bytes of all connections, those that live included. */
void carry_bytes(const carry_t *carry, uint64_t *up, uint64_t *down);
