/* SPDX-License-Identifier: Apache-2.0 */
/* A queue whose links stand in its items: the first in is the first out, and nothing is allocated. Pure; no
 * lock. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef struct fifo_link {
  struct fifo_link *next;
} fifo_link_t;

/* Not to be copied: an empty one points into itself. */
typedef struct fifo {
  fifo_link_t *first;
  fifo_link_t **last; /* where the next one is linked */
} fifo_t;

static inline void fifo_init(fifo_t *q)
{
  *q = (fifo_t){NULL, &q->first};
}

static inline bool fifo_empty(const fifo_t *q)
{
  return q->first == NULL;
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

/* What the macros below are made of: the address that lies offset bytes before a link. NULL for none. */
static inline void *fifo_at(const fifo_link_t *link, size_t offset)
{
  return link == NULL ? NULL : (char *)link - offset;
}

/* NOLINTBEGIN(bugprone-macro-parentheses): a type cannot stand in parentheses */
/* The item that is first, which stays; the one that fifo_take takes. NULL: the queue is empty. */
#define FIFO_FIRST(q, type, member) ((type *)fifo_at((q)->first, offsetof(type, member)))
#define FIFO_TAKE(q, type, member)  ((type *)fifo_at(fifo_take(q), offsetof(type, member)))
/* A loop over the items, whose name is `item`. None may leave within it. */
#define FIFO_EACH(type, item, q, member)                                                                     \
  for (type *item = FIFO_FIRST(q, type, member); (item) != NULL;                                             \
       (item) = (type *)fifo_at((item)->member.next, offsetof(type, member)))
/* NOLINTEND(bugprone-macro-parentheses) */
