/* SPDX-License-Identifier: Apache-2.0 */
/* A bounded queue that many share. Each owner of items (an account, a source, a user) has a key. The items of
 * one key wait in a line of their own, in order. The lines are served in turn: however long one of them is,
 * an item of another waits for one turn of each line. When all places are taken and somebody with a shorter
 * line comes, the longest line gives up its newest item.
 *
 * Items are embedded in the caller's structs; nothing is allocated after turns_new. Every call takes constant
 * time, turns_take on average. No lock: all calls for one queue are one thread's, or under one lock of the
 * caller's. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/list.h"

enum { TURNS_KEY_MAX = 39 /* bytes of a key that count: a UUID as text, an address, a short name */ };

typedef struct turns turns_t;

typedef struct turns_key {
  uint8_t len;
  uint8_t bytes[TURNS_KEY_MAX];
} turns_key_t;

/* The first TURNS_KEY_MAX bytes. */
turns_key_t turns_key(const void *bytes, size_t len);

/* One that waits. Its memory must stay until it was taken (and given back, where that is counted), displaced,
 * or has left. */
typedef struct turns_item {
  list_t link; /* turns.c's own, as what follows */
  struct turns_line *line;
  uint64_t cost;
} turns_item_t;

typedef struct turns_conf {
  size_t places;      /* items that may wait, of all lines together; at least 1 */
  size_t line_places; /* of one line; 0: as many */
  size_t out;       /* items that may be taken and not yet given back, of all lines; 0: that is not counted */
  size_t line_out;  /* of one line; 0: as many */
  uint64_t quantum; /* the cost of the items that a line may have taken in one turn; 0: 1 */
} turns_conf_t;

/* NULL when there is no memory or no randomness. */
turns_t *turns_new(const turns_conf_t *conf);
/* Forgets the items that wait. NULL allowed. */
void turns_free(turns_t *turns);

/* Joins the end of the key's line. cost is in units of the quantum; an item that costs more than the line's
 * turn is taken, and the line then waits for as many turns more; 0 counts as 1. SMPL_OK; *displaced is the
 * item that had to leave for it, or NULL: the caller tells its owner. SMPL_ELIMIT when the line has its
 * places, or all places are taken and no line is longer by two. */
int turns_join(turns_t *turns, const turns_key_t *key, uint64_t cost, turns_item_t *item,
               turns_item_t **displaced);
/* The item whose turn it is; it waits no longer. NULL when none waits, or none may be taken before one is
 * given back. */
turns_item_t *turns_take(turns_t *turns);
/* The same, and NULL also if every line that waits has cost so much before that more than one turn of the
 * others is due first. */
turns_item_t *turns_take_due(turns_t *turns);
/* Where that is counted: what was taken is done with. extra: cost that showed meanwhile. */
void turns_give_back(turns_t *turns, turns_item_t *item, uint64_t extra);
/* An item that waits goes away. */
void turns_leave(turns_t *turns, turns_item_t *item);

/* Items that wait, of all lines and of the key's. */
size_t turns_waiting(const turns_t *turns);
size_t turns_length(const turns_t *turns, const turns_key_t *key);
/* Items taken and not given back. */
size_t turns_out(const turns_t *turns);
