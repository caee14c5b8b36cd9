/* SPDX-License-Identifier: Apache-2.0 */
/* A list whose links stand in its items: nothing is allocated, and an item leaves without a search. The head
 * is a link of its own. Pure; no lock. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef struct list_link {
  struct list_link *next, *prev;
} list_t;

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
  /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): what is freed has left its list */
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

/* All of `more` goes behind all of list; more is empty then. */
static inline void list_append(list_t *list, list_t *more)
{
  more->next->prev = list->prev;
  list->prev->next = more->next;
  more->prev->next = list;
  list->prev = more->prev;
  list_init(more);
}

/* What the macros below are made of: the address that lies offset bytes before a link. NULL for the head. */
static inline void *list_at(const list_t *head, const list_t *link, size_t offset)
{
  return link == head ? NULL : (char *)link - offset;
}

/* The item that a link stands in. */
#define LIST_ITEM(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))
/* NOLINTBEGIN(bugprone-macro-parentheses): a type cannot stand in parentheses */
/* NULL: the list is empty. */
#define LIST_FIRST(head, type, member) ((type *)list_at(head, (head)->next, offsetof(type, member)))
#define LIST_LAST(head, type, member)  ((type *)list_at(head, (head)->prev, offsetof(type, member)))
/* NULL: item is the last one. */
#define LIST_NEXT(item, head, type, member)                                                                  \
  ((type *)list_at(head, (item)->member.next, offsetof(type, member)))
/* A loop over the items, whose name is `item`. The one at hand may leave the list, or be freed, within it. */
#define LIST_EACH(type, item, head, member)                                                                  \
  for (type *item = LIST_FIRST(head, type, member),                                                          \
            *item##_next = (item) != NULL ? LIST_NEXT(item, head, type, member) : NULL;                      \
       (item) != NULL;                                                                                       \
       (item) = item##_next, item##_next = (item) != NULL ? LIST_NEXT(item, head, type, member) : NULL)
/* NOLINTEND(bugprone-macro-parentheses) */
