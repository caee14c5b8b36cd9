/* SPDX-License-Identifier: Apache-2.0 */
/* Packets between two processes of a program: one message each over a pair of SOCK_SEQPACKET sockets, with at
 * most one descriptor. What the bytes mean is the caller's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* One packet, with descriptor fd unless it is -1. Does not take fd. SMPL_EAGAIN when the socket does not
 * block and the peer's queue is full; SMPL_ECLOSED, SMPL_ESYS. */
int packet_send(int sock, const void *data, size_t len, int fd);

/* One packet of at most cap bytes, and its descriptor (-1 if none; close-on-exec; the caller's). *lost: it
 * came with one that this process has no room for. A longer packet, or one with more descriptors: all closed,
 * SMPL_EPROTO. SMPL_EAGAIN, SMPL_ESYS; SMPL_ECLOSED once the peer is gone and all that it had sent was
 * received. An empty packet has *len 0. */
int packet_receive(int sock, void *data, size_t cap, size_t *len, int *fd, bool *lost);
