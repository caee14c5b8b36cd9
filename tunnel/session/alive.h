/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the path to the bastion still lives: any byte from it is a sign of life, a silence is asked about,
 * a question that stays unanswered is the end. Pure: the caller brings the time (monotonic milliseconds). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tunnel/limits.h"

typedef struct alive {
  uint64_t ask_ms;
  uint64_t dead_ms;
  uint64_t bytes; /* received so far, when last looked at */
  uint64_t seen_at;
  uint64_t dead_at; /* 0: nothing is asked */
  bool woke;
} alive_t;

typedef enum alive_verdict { ALIVE_FINE, ALIVE_ASK, ALIVE_DEAD } alive_verdict_t;

/* ask_ms, dead_ms 0: the usual ones. */
void alive_start(alive_t *a, uint64_t ask_ms, uint64_t dead_ms, uint64_t now);
/* received: bytes so far. ALIVE_ASK: send a question now. */
alive_verdict_t alive_judge(alive_t *a, uint64_t received, uint64_t now);
/* This process did not run for a while: the next judgement asks, and does not wait long. */
void alive_woke(alive_t *a);
/* Milliseconds until alive_judge has something new to say. */
uint64_t alive_wait(const alive_t *a, uint64_t now);
