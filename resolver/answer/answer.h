/* SPDX-License-Identifier: Apache-2.0 */
/* From a client's message to the answer: everything that decides what is said. Pure: no I/O, no
 * allocation, no lock. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "resolver/answer/exchange.h"
#include "resolver/answer/reply.h"
#include "resolver/limits.h"
#include "resolver/view/view.h"

/* Answers the exchange's message as its view sees the world; without a view, as a client without one: fills
 * in out_len and note. A client whose view holds no zone for the name gets the same refusal, whatever name,
 * type, class and opcode are (invariant 2). */
void answer(exchange_t *x);

/* The short answer that a client above its rate gets instead: BADCOOKIE, with room for a fresh cookie, if it
 * sent one (RFC 7873 section 5.2.3), otherwise TC, to ask again over TCP. Nothing in it depends on any zone.
 * To what cannot be read, the same as answer(). */
void answer_short(exchange_t *x);

/* The answer that somebody else writes: fill puts rrsets, rcode and flags between the question and the OPT.
 */
typedef void (*answer_fill_t)(void *ctx, const query_t *q, reply_t *r);
void answer_filled(exchange_t *x, answer_fill_t fill, void *ctx);

/* What was looked up on the way to an answer, name by name: the name asked, then the target of each alias. */
typedef struct answer_step {
  dns_name_t name;     /* lower-case */
  zone_in_view_t zone; /* zone.zone NULL: the view has none for this name, the walk ended here */
  zone_match_t match;
} answer_step_t;

enum { ANSWER_STEPS_MAX = CHAIN_MAX + 1 };

typedef struct answer_trace {
  answer_step_t steps[ANSWER_STEPS_MAX];
  size_t count;
} answer_trace_t;

/* The same decision by the same code, written down. trace may be NULL; its zones live as long as the view's.
 */
void answer_traced(exchange_t *x, answer_trace_t *trace);
