/* SPDX-License-Identifier: Apache-2.0 */
/* A list whose links stand in its items: nothing is allocated, and an item leaves without a search. The head
 * is a link of its own. Pure; no lock. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef struct list_link {
  struct list_link *next, *prev;
} list_t;

/* The item that a link stands in. */
#define LIST_ITEM(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))
/* Each link of a list; the one at hand may leave the list, or be freed, within the loop. */
#define LIST_EACH(link, head)                                                                                \
  for (list_t *link = (head)->next, *link##_next = link->next; link != (head);                               \
       link = link##_next, link##_next = link->next)

/* An empty list; or a link that is in none. */
static inline void list_init(list_t *list)
{
  list->next = list->prev = list;
}

static inline bool list_empty(const list_t *list)
{
  return list->next == list;
}

static inline void list_add_before(list_t *at, list_t *link)
{
  link->next = at;
  link->prev = at->prev;
  at->prev->next = link;
  at->prev = link;
}

static inline void list_add_first(list_t *list, list_t *link)
{
  list_add_before(list->next, link);
}

static inline void list_add_last(list_t *list, list_t *link)
{
  list_add_before(list, link);
}

/* Out of whichever list it is in. Again does nothing. */
static inline void list_remove(list_t *link)
{
  link->prev->next = link->next;
  link->next->prev = link->prev;
  list_init(link);
}
