/* SPDX-License-Identifier: Apache-2.0 */
/* A source of answers that no zone of the client's view has: the seam for a forwarder. One for each worker,
 * used by that worker's thread alone. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "resolver/answer/query.h"
#include "resolver/view/view.h"

struct later;
struct snapshot;

typedef struct elsewhere {
  void *ctx;
  /* Whether this view gets answers to such a question from elsewhere. Only asked where invariant 3 allows it:
   * the view is not public, and the client wants recursion. Pure. */
  bool (*has)(void *ctx, const view_t *view, const query_t *q);
  /* Begins to find an answer. It is given by later_answer with this ticket, never before ask has returned.
   * Nothing that is handed in may be kept. Not 0: it cannot, and the ticket is void. */
  int (*ask)(void *ctx, uint64_t ticket, const view_t *view, const query_t *q);
  /* Nobody waits for this one any more; an answer to it is ignored. */
  void (*forget)(void *ctx, uint64_t ticket);
  /* Readable when ready is to be called; -1: never. Stays open as long as the worker. */
  int fd;
  /* Reads what is there and calls later_answer for it. */
  void (*ready)(void *ctx, struct later *later, const struct snapshot *s);
} elsewhere_t;
