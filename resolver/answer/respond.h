/* SPDX-License-Identifier: Apache-2.0 */
/* The one path from a message to the answer that UDP and TCP share (invariant 1): view, answer, cookie, rate
 * limit, counters. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "resolver/answer/answer.h"
#include "resolver/answer/cookies.h"
#include "resolver/answer/elsewhere.h"
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

/* Where answers may come from that the zones do not have; NULL: nowhere. Before the worker starts. */
void responder_elsewhere(responder_t *responder, const elsewhere_t *elsewhere);

/* Judges the exchange, whose view was chosen from this snapshot. EXCHANGE_LATER comes only where there is an
 * elsewhere, and then nothing was counted yet. */
exchange_verdict_t respond(responder_t *responder, const snapshot_t *s, exchange_t *x);

/* The end of an exchange that was EXCHANGE_LATER: fill writes the answer between the question and the OPT. */
void respond_filled(responder_t *responder, const snapshot_t *s, exchange_t *x, answer_fill_t fill,
                    void *fill_ctx);
