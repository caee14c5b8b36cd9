/* SPDX-License-Identifier: Apache-2.0 */
/* How long a source has to wait for its deeds before it signed in, as sshd's PerSourcePenalties have it: each
 * deed adds its time, and once PENALTY_MIN_MS have come together new connections of that source are refused
 * until all of it is over.
 *
 * Connections that went without trying to sign in (health checks, scanners, somebody who changed his mind)
 * are counted apart, by a limit of their own: so many at once, then so many a second. Further ones are
 * refused until there is room again.
 *
 * A deed counts for the networks around its source too: an eighth of it for the IPv6 /56, a sixteenth for the
 * /48 and the IPv4 /24. So many addresses do not make many sources. Times are monotonic ms. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bastion/limits.h"
#include "common/base/ip.h"

typedef struct penalty penalty_t;

typedef struct penalty_silent {
  uint64_t rate, burst; /* at least 1 */
} penalty_silent_t;

typedef enum penalty_cause { PENALTY_NONE, PENALTY_FAILED, PENALTY_SILENT } penalty_cause_t;

/* NULL when out of memory. */
penalty_t *penalty_new(void);
void penalty_free(penalty_t *p);

/* A deed of the source. */
void penalty_add(penalty_t *p, const ip_t *address, uint64_t ms, uint64_t now);
/* A connection that went without trying to sign in. */
void penalty_add_silent(penalty_t *p, const ip_t *address, const penalty_silent_t *limit, uint64_t now);
/* Why a new connection from there is refused; *network is the one that did too much. known: somebody signed
 * in from this very source lately: it does not answer for the networks around it. */
penalty_cause_t penalty_judge(penalty_t *p, const ip_t *address, bool known, const penalty_silent_t *limit,
                              uint64_t now, ip_net_t *network);
/* The same of a user, who is known by then: counted for nobody else, wherever he comes from. */
void penalty_add_user(penalty_t *p, const char *user, uint64_t ms, uint64_t now);
/* Milliseconds that the user's logins are refused for. */
uint64_t penalty_left_user(penalty_t *p, const char *user, uint64_t now);
/* Milliseconds that new connections of this source are refused for by its own deeds; 0: they are not. */
uint64_t penalty_left(penalty_t *p, const ip_t *address, uint64_t now);
/* Sources that have a penalty, refused or not. */
size_t penalty_count(const penalty_t *p);
