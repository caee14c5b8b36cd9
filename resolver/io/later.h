/* SPDX-License-Identifier: Apache-2.0 */
/* Questions that wait for an answer from elsewhere: a bounded number of places for each worker. A place keeps
 * what the answer needs: the question as it came (id, name with its case, EDNS, cookie) and the way back to
 * the client. It keeps no view: the snapshot may be replaced meanwhile, and then the question is judged anew
 * by the one in force.
 *
 * When all places are taken, the newest question of the source with most gives way (common/net/crowd.h) and
 * gets SERVFAIL. One thread, and no allocation but for the crowd's. Every call takes NULL for a worker that
 * has nothing elsewhere. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "common/base/list.h"
#include "resolver/answer/elsewhere.h"
#include "resolver/answer/respond.h"

typedef struct later later_t;

/* The questions of one TCP connection, embedded in it. */
typedef struct later_owner {
  list_t places; /* an empty list to begin with */
} later_owner_t;

/* The way back to a client. */
typedef struct later_way {
  const struct msghdr *from; /* UDP: its address, and the one asked in msg_control; copied */
  int fd;                    /* UDP: the socket to answer by */
  later_owner_t *owner;      /* TCP */
} later_way_t;

/* places: questions that may wait. SMPL_ENOMEM. responder and elsewhere outlive it. */
int later_new(responder_t *responder, const elsewhere_t *elsewhere, size_t places, later_t **out);
/* Once nobody waits (later_end). */
void later_free(later_t *l);

/* How answers go to a TCP connection: deliver may close it. */
void later_tcp(later_t *l, void (*deliver)(void *ctx, later_owner_t *owner, const uint8_t *msg, size_t len),
               void *ctx);

/* The exchange's question, for which respond() said EXCHANGE_LATER, waits from now on: true. False: it
 * cannot, and x->out has the answer that says so, to be sent now. */
bool later_take(later_t *l, const snapshot_t *s, exchange_t *x, const later_way_t *way);

/* The answer to a ticket: fill writes it (respond.h). s is the snapshot in force. Tickets that nobody waits
 * for are ignored. */
void later_answer(later_t *l, const snapshot_t *s, uint64_t ticket, answer_fill_t fill, void *fill_ctx);

/* The client has gone: its questions are forgotten. */
void later_leave(later_t *l, later_owner_t *owner);

/* SERVFAIL to those who have waited for LATER_WAIT_MS. Returns milliseconds until it wants to be called
 * again, -1: never. */
int later_sweep(later_t *l, const snapshot_t *s);
/* SERVFAIL to all: the worker ends. */
void later_end(later_t *l, const snapshot_t *s);

/* How many wait. Any thread. */
size_t later_count(const later_t *l);
