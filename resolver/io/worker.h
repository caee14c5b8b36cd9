/* SPDX-License-Identifier: Apache-2.0 */
/* A worker: one thread with its own sockets on every dns listener, its own TCP connections, its own
 * buffers. It shares nothing with other workers but the snapshot, which it reads under RCU (QSBR flavour). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/diag.h"
#include "resolver/answer/cookies.h"
#include "resolver/answer/elsewhere.h"
#include "resolver/answer/query_log.h"
#include "resolver/view/snapshot.h"

typedef struct dns_worker dns_worker_t;

/* The snapshot in force: workers read it, the server's thread alone replaces it. And what they make
 * cookies from. */
typedef struct worker_shared {
  snapshot_t *snapshot;
  cookie_secret_t secret; /* made once, before the workers */
} worker_shared_t;

typedef struct worker_limits {
  size_t conns_max;   /* TCP connections of this worker */
  size_t buffers_max; /* bytes of their buffers */
  size_t later_max;   /* questions that wait for answers from elsewhere */
} worker_limits_t;

/* Opens the sockets of worker `number` for all listeners of the snapshot in force. Any thread. */
int worker_new(unsigned number, worker_shared_t *shared, const worker_limits_t *limits, dns_worker_t **out,
               diag_t *diag);
/* Where this worker notes its answers. Before it starts. */
void worker_log(dns_worker_t *w, query_ring_t *ring);

/* Where answers come from that the zones do not have; borrowed until worker_stop. Before it starts. */
int worker_elsewhere(dns_worker_t *w, const elsewhere_t *elsewhere, diag_t *diag);

/* Starts the thread, with all signals blocked; pin: on one CPU of those the process may use, worker by
 * worker. */
int worker_start(dns_worker_t *w, bool pin, diag_t *diag);
/* Before an end: takes no new TCP connections, closes those that have nothing unfinished (worker_tcp_count
 * says how many are left); datagrams are still answered. Any thread. */
void worker_drain(dns_worker_t *w);

/* The end worker_drain asked for has begun. Any thread. */
bool worker_draining(const dns_worker_t *w);

/* Asks the thread for a sign of life; true if it has given one since the last time, or was not asked
 * before. By one thread. */
bool worker_ping(dns_worker_t *w);

/* Ends the thread if it was started, once it has answered what had arrived; closes everything. NULL
 * allowed. */
void worker_stop(dns_worker_t *w);

/* Adds how long this worker's datagrams took. Any thread. */
void worker_latency_add(const dns_worker_t *w, latency_sum_t *sum);

/* Questions that wait for answers from elsewhere. Any thread. */
size_t worker_waiting(const dns_worker_t *w);

/* Open TCP connections. Any thread. */
size_t worker_tcp_count(const dns_worker_t *w);

/* Replaces the snapshot and waits until no worker uses the old one, which is returned for the caller to
 * free. */
snapshot_t *worker_swap(worker_shared_t *shared, snapshot_t *fresh);
