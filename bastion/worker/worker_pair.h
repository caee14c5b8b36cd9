/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's end of its pair with the broker. Sending waits while the broker's queue is full; asking waits
 * for the answer. Messages that arrive meanwhile are kept, in order, for worker_pair_next. When the broker is
 * gone the process ends at once: a session without a broker has nobody who may allow anything. */
#pragma once

#include <stdint.h>

#include "bastion/limits.h"
#include "bastion/contract/msg.h"

enum {
  WORKER_EXIT_OK = 0,
  WORKER_EXIT_BROKEN = 3,   /* the broker is gone or does not answer, or could not be understood */
  WORKER_EXIT_UNSEALED = 4, /* a wall could not be put up */
};

typedef struct worker_pair worker_pair_t;

/* One a process. fd stays the caller's. NULL when out of memory. */
worker_pair_t *worker_pair_new(int fd, uint64_t session);
uint64_t worker_pair_session(const worker_pair_t *pair);
int worker_pair_fd(const worker_pair_t *pair);

/* A number for a message that will be answered; never 0. */
uint32_t worker_pair_number(worker_pair_t *pair);

void worker_pair_send(worker_pair_t *pair, const msg_t *m);
/* Sends m, whose request is set, and waits for the answer of that type with that request, into m. */
void worker_pair_ask(worker_pair_t *pair, msg_t *m, msg_type_t answer);
/* The next message, kept or just arrived, with its descriptor (the caller's) or -1. SMPL_EAGAIN when there is
 * none. */
int worker_pair_next(worker_pair_t *pair, msg_t *m, int *fd);
/* Waits for the next one at most timeout_ms; SMPL_ETIMEOUT. */
int worker_pair_wait(worker_pair_t *pair, msg_t *m, int *fd, int timeout_ms);
