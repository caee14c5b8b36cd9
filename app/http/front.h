/* SPDX-License-Identifier: Apache-2.0 */
/* The http listeners of one service on a libuv loop: accept, read, decide, run the handler, answer.
 * Everything on the loop's thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "app/http/access.h"
#include "app/http/admit.h"
#include "app/http/internal_keys.h"
#include "app/http/room.h"
#include "app/http/tls.h"
#include "common/base/diag.h"
#include "common/base/ip.h"

typedef struct front front_t;

typedef struct listener_conf {
  const char *name;
  endpoint_t address;
  admit_conf_t admit;
  tls_t *tls;              /* NULL: plain HTTP */
  const ip_net_t *clients; /* empty: everybody */
  size_t client_count;
} listener_conf_t;

/* Bounds that tests make smaller; front_limits_default gives those of limits.h. */
typedef struct front_limits {
  size_t connections;         /* of one listener */
  size_t handshakes;          /* TLS handshakes under way at one listener */
  size_t source_handshakes;   /* of them, of one source */
  size_t held[ROOM_KINDS];    /* bytes, of all listeners together */
  size_t values;              /* parsed JSON values of all small bodies together */
  size_t bodies_waiting;      /* big bodies that wait to be parsed */
  size_t bodies_parsed;       /* parsed ones */
  size_t bodies_parsed_share; /* of them, of one account or source */
  uint64_t handshake_ms, head_ms, body_ms, idle_ms, write_ms, reply_ms, linger_ms, drain_ms, tick_ms;
} front_limits_t;

extern const front_limits_t front_limits_default;

typedef struct front_conf {
  const listener_conf_t *listeners; /* borrowed until others are set */
  size_t listener_count;
  bool free_bind;       /* addresses that are not there yet are bound all the same */
  access_log_t *access; /* borrowed */
  /* From these peers X-Forwarded-For is believed: its last element is the request's source. Borrowed
   * likewise. */
  const ip_net_t *balancers;
  size_t balancer_count;
  const internal_keys_t *internal_keys; /* likewise; NULL: none is accepted */
  front_limits_t limits;
} front_conf_t;

/* Binds and listens. On error diag names the address, and *out, unless NULL, is to be drained and freed like
 * any other. */
int front_open(uv_loop_t *loop, const front_conf_t *conf, front_t **out, diag_t *diag);

/* What may change while the front serves. All of it is borrowed until it is set again. */
typedef struct front_live {
  const listener_conf_t *listeners; /* those of the start, with other clients and hosts */
  const ip_net_t *balancers;
  size_t balancer_count;
  const internal_keys_t *internal_keys;
  uint64_t drain_ms;
} front_live_t;

/* Decides by it from the next head on. Cuts the connections of peers that are no clients or no balancers
 * any more; those of new balancers end with the answer that is under way. Returns how many were cut. */
size_t front_set(front_t *front, const front_live_t *live);

/* Goes on serving for lag_ms, each answer with "Connection: close"; then stops accepting, closes idle
 * connections, lets requests under way finish, and after drain_ms cuts what is left. done is called once,
 * when no connection is open and every request was replied to (abandoned = 0), or when handlers still owe
 * replies drain_ms later (abandoned = how many). The front is freed by front_free after that. */
void front_drain(front_t *front, uint64_t lag_ms, void (*done)(void *ctx, size_t abandoned), void *ctx);
/* After done with abandoned == 0, or once the loop has run out of handles. NULL allowed. */
void front_free(front_t *front);

/* Connections of one listener, at most LIMIT_CONNECTIONS, for which that many open files suffice:
 * LIMIT_FILES_KEPT of them, or half if there are fewer than twice as many, are kept for the database, logs
 * and calls. Pure. */
size_t front_connections_for(uint64_t files, size_t listeners);
/* Where a listener really listens (its port was 0 in a test). */
endpoint_t front_address(const front_t *front, size_t index);
size_t front_connections(const front_t *front);
