/* SPDX-License-Identifier: Apache-2.0 */
/* A queue whose links stand in its items: what came first goes first, and nothing is allocated. Pure; no
 * lock. */
#pragma once

#include <stddef.h>

typedef struct fifo_link {
  struct fifo_link *next;
} fifo_link_t;

typedef struct fifo {
  fifo_link_t *first;
  fifo_link_t **last; /* where the next one is linked */
} fifo_t;

/* The item that a link stands in; link must not be NULL. */
#define FIFO_ITEM(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

static inline void fifo_init(fifo_t *q)
{
  *q = (fifo_t){NULL, &q->first};
}

static inline void fifo_add(fifo_t *q, fifo_link_t *link)
{
  link->next = NULL;
  *q->last = link;
  q->last = &link->next;
}

/* The first one, which leaves the queue. NULL: it is empty. */
static inline fifo_link_t *fifo_take(fifo_t *q)
{
  fifo_link_t *link = q->first;
  if (link != NULL)
    q->first = link->next;
  if (q->first == NULL)
    q->last = &q->first;
  return link;
}

/* All of `more` goes behind all of q; more is empty then. */
static inline void fifo_append(fifo_t *q, fifo_t *more)
{
  if (more->first != NULL) {
    *q->last = more->first;
    q->last = more->last;
  }
  fifo_init(more);
}
