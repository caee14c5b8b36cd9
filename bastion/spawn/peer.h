/* SPDX-License-Identifier: Apache-2.0 */
/* One end of a SOCK_SEQPACKET pair on the loop: receives checked messages in bounded batches, queues what the
 * other side has no room for yet. All calls on the loop's thread. */
#pragma once

#include <uv.h>

#include "bastion/limits.h"
#include "bastion/contract/msg.h"

typedef struct peer peer_t;

typedef void (*peer_message_cb)(void *ctx, const msg_t *m);
/* SMPL_ECLOSED: the other side has gone; SMPL_EPROTO: it sent what is no message of its; SMPL_ESYS. Called at
 * most once, nothing is received after it. The owner still calls peer_close. */
typedef void (*peer_gone_cb)(void *ctx, int err);

typedef struct peer_handlers {
  peer_message_cb on_message;
  peer_gone_cb on_gone;
  void *ctx;
} peer_handlers_t;

/* Takes over sock, also on failure. */
int peer_new(uv_loop_t *loop, int sock, msg_from_t from, const peer_handlers_t *handlers, peer_t **out);
/* fd is duplicated if it must wait. SMPL_ELIMIT: the other side does not read; SMPL_ECLOSED, SMPL_ESYS. */
int peer_send(peer_t *peer, const msg_t *m, int fd);
/* Closes the socket; no callback comes after this. May be called from a callback. NULL allowed. */
void peer_close(peer_t *peer);
