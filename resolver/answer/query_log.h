/* SPDX-License-Identifier: Apache-2.0 */
/* The query log: JSON lines of the answers given, all or every N-th. Each worker writes into a ring of its
 * own and never waits. A record that does not fit is dropped and counted. Of a ring that is half full, a
 * network (IPv4 /24, IPv6 /48) has QUERY_LOG_SHARE places at most. The main thread empties the rings into the
 * file. / */
#pragma once

#include <stdint.h>

#include "common/base/diag.h"
#include "common/base/ip.h"
#include "resolver/answer/exchange.h"
#include "resolver/view/settings.h"

typedef struct query_log query_log_t;
typedef struct query_ring query_ring_t;

/* Opens settings->query_log.file for appending; it must be a regular file. listeners are the dns listeners
 * in the order of the snapshot, copied. Main thread. */
int query_log_open(const settings_t *settings, unsigned workers, const endpoint_t *listeners, size_t count,
                   query_log_t **out, diag_t *diag);
void query_log_free(query_log_t *log);

query_ring_t *query_log_ring(query_log_t *log, unsigned worker);

/* An answer that is about to be sent. Everything is copied. By the ring's worker alone. */
typedef struct query_event {
  const char *view; /* NULL: none */
  size_t listener;
  const ip_t *peer;
  exchange_transport_t transport;
  const uint8_t *msg; /* the query */
  size_t len;
  uint16_t rcode;
  bool truncated;
  size_t size; /* bytes of the answer */
} query_event_t;
void query_ring_note(query_ring_t *ring, const query_event_t *e);

/* Writes what lies in the rings. Main thread. */
void query_log_drain(query_log_t *log);

/* Lines written, and answers that should have been but found no room (or no disk). Main thread. */
uint64_t query_log_written(const query_log_t *log);
uint64_t query_log_dropped(const query_log_t *log);
