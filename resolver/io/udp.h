/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams in batches: one recvmmsg, an answer each, one sendmmsg; no other system call, no allocation.
 * One per worker. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "resolver/answer/respond.h"
#include "resolver/io/later.h"
#include "resolver/view/snapshot.h"

typedef struct udp_batch udp_batch_t;

udp_batch_t *udp_batch_new(void); /* NULL when out of memory */
void udp_batch_free(udp_batch_t *batch);
/* Where questions wait for answers from elsewhere. Before the worker starts. */
void udp_batch_later(udp_batch_t *batch, later_t *later);

/* Takes what waits on the socket, at most UDP_BATCH datagrams, and answers it. Returns how many were
 * taken. */
size_t udp_serve(udp_batch_t *batch, int fd, const snapshot_t *snapshot, responder_t *responder,
                 size_t listener);
