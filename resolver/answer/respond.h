/* SPDX-License-Identifier: Apache-2.0 */
/* The one path from a message to the answer that UDP and TCP share (invariant 1): view, answer, cookie, rate
 * limit, counters. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/ip.h"
#include "resolver/answer/answer.h"
#include "resolver/answer/cookies.h"
#include "resolver/answer/query_log.h"
#include "resolver/view/snapshot.h"

/* What a worker has for answering. One thread. */
typedef struct responder responder_t;

/* worker is the number that counts in the snapshot. SMPL_ENOMEM, SMPL_ESYS. */
int responder_new(unsigned worker, const cookie_secret_t *secret, responder_t **out);
void responder_free(responder_t *responder);

unsigned responder_worker(const responder_t *responder);

/* Where answers are noted; NULL: nowhere. Before the worker starts. */
void responder_log(responder_t *responder, query_ring_t *ring);

/* Answers a message of the client that the view was chosen for. out has room for cap bytes as answer() wants
 * them. Returns the answer's length, 0: send nothing. */
size_t respond_chosen(responder_t *responder, const snapshot_t *s, snapshot_view_t chosen, size_t listener,
                      const ip_t *peer, answer_transport_t transport, const uint8_t *msg, size_t len,
                      uint8_t *out, size_t cap);

/* The same, chosen here. */
size_t respond(responder_t *responder, const snapshot_t *s, size_t listener, const ip_t *peer,
               answer_transport_t transport, const uint8_t *msg, size_t len, uint8_t *out, size_t cap);
