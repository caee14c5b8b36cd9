/* SPDX-License-Identifier: Apache-2.0 */
/* What a front is told: its listeners, its limits, whom it believes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "app/http/access.h"
#include "app/http/admit.h"
#include "app/http/internal_keys.h"
#include "app/http/room.h"
#include "app/http/tls.h"
#include "common/base/ip.h"

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

/* What may change while the front serves. All of it is borrowed until it is set again. */
typedef struct front_live {
  const listener_conf_t *listeners; /* those of the start, with other clients and hosts */
  const ip_net_t *balancers;
  size_t balancer_count;
  const internal_keys_t *internal_keys;
  uint64_t drain_ms;
} front_live_t;

/* Connections of one listener, at most LIMIT_CONNECTIONS, for which that many open files suffice:
 * LIMIT_FILES_KEPT of them, or half if there are fewer than twice as many, are kept for the database, logs
 * and calls. Pure. */
size_t front_connections_for(uint64_t files, size_t listeners);
