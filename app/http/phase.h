/* SPDX-License-Identifier: Apache-2.0 */
/* What connections wait for, and until when. One phase has one duration, so that each phase's list is in the
 * order of deadlines. Private to the http side; loop's thread. */
#pragma once

#include <stdint.h>

typedef enum phase {
  PHASE_HANDSHAKE, /* the end of the TLS handshake */
  PHASE_IDLE,      /* the first byte of a head */
  PHASE_TURN,      /* its turn in one of the loop's next rounds: its next request is here */
  PHASE_GO,        /* those before it in this round: its turn has come */
  PHASE_HEAD,      /* the rest of the head */
  PHASE_BODY,      /* the rest of the body */
  PHASE_PARSE,     /* its body's turn to be parsed: no deadline, everybody has turns */
  PHASE_HANDLER,   /* a handler's or guard's word: no deadline, they bound their own waits */
  PHASE_WRITE,     /* the peer to take our reply */
  PHASE_LINGER,    /* the peer to close after we did */
  PHASE_COUNT
} phase_t;

/* Part of whatever waits. */
typedef struct phased {
  struct phased *previous, *next; /* in the list of its phase */
  uint64_t since, deadline;       /* ms of the loop's clock */
  phase_t phase;
} phased_t;

typedef struct phase_list {
  phased_t *first, *last;
} phase_list_t;

/* Of one listener. Zeroed: nobody waits. */
typedef struct phases {
  phase_list_t lists[PHASE_COUNT];
} phases_t;

/* Puts one that is in no list at the end of item->phase's. */
void phase_begin(phases_t *phases, phased_t *item);
/* Moves one that is in a list to the end of that phase's; its deadline is wait_ms from now. */
void phase_enter(phases_t *phases, phased_t *item, phase_t phase, uint64_t now, uint64_t wait_ms);
/* Takes one out of its list. It keeps its phase. */
void phase_leave(phases_t *phases, phased_t *item);
