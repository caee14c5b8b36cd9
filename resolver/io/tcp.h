/* SPDX-License-Identifier: Apache-2.0 */
/* DNS over TCP (RFC 7766): pipelined queries, answers in order, bounded memory. One per worker; an idle
 * connection holds no buffer. If places or memory run out, the source that takes most gives way
 * (common/net/crowd.h). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "resolver/answer/respond.h"
#include "resolver/io/later.h"
#include "resolver/view/snapshot.h"

typedef struct tcp tcp_t;
typedef struct tcp_conn tcp_conn_t;

/* Connections are watched by the epoll instance with themselves as data.ptr. conns_max of them at most,
 * buffers_max bytes of buffers. NULL when out of memory. */
tcp_t *tcp_new(int epoll_fd, responder_t *responder, size_t conns_max, size_t buffers_max);
void tcp_free(tcp_t *tcp);
/* Where questions wait for answers from elsewhere. Before the worker starts. */
void tcp_later(tcp_t *tcp, later_t *later);

/* Takes waiting connections from the listening socket. */
void tcp_accept(tcp_t *tcp, int fd, size_t listener);

/* epoll reported `events` for a connection: it waits for its turn now. */
void tcp_event(tcp_t *tcp, tcp_conn_t *conn, uint32_t events);

/* Gives as many turns as max to connections that wait for one, each source (IPv4 address, IPv6 /48) in turn.
 * Returns how many still wait. */
size_t tcp_serve(tcp_t *tcp, const snapshot_t *snapshot, size_t max);

/* After each batch of events: frees closed connections, ends those idle too long. Returns milliseconds
 * until it wants to be called again, -1 if there is nothing to wait for. */
int tcp_sweep(tcp_t *tcp);

/* Before an end: from here on a connection is closed by the sweep once what it has sent is answered and
 * nothing of it is unfinished. */
void tcp_drain(tcp_t *tcp);

/* Open connections; any thread. */
size_t tcp_count(const tcp_t *tcp);
