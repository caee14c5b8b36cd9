/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/turns.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/base/error.h"

/* Exists while items of its key wait or are out. */
typedef struct turns_line {
  list_t turn;   /* in the ring, if one of its items may be taken */
  list_t length; /* among the lines that are as long */
  list_t items;  /* those that wait */
  struct turns_line *chain;
  size_t waiting, out;
  int64_t credit; /* cost it may have taken in this turn; not above 0: it must let the others go first */
  turns_key_t key;
} line_t;

struct turns {
  turns_conf_t conf;
  uint64_t seed; /* nobody can choose keys that share a bucket */
  size_t waiting, out;
  list_t ring;     /* lines, the next to be served first */
  list_t *lengths; /* lines, by items that wait */
  size_t longest;
  line_t *lines, *spare;
  size_t fresh; /* of lines, those from here on were never used: their memory is not touched */
  line_t **buckets;
  size_t mask; /* of buckets */
};

/* ---- lines by key ---- */

turns_key_t turns_key(const void *bytes, size_t len)
{
  turns_key_t key = {.len = (uint8_t)(len < TURNS_KEY_MAX ? len : TURNS_KEY_MAX)};
  memcpy(key.bytes, bytes, key.len);
  return key;
}

static line_t **bucket_of(const turns_t *t, const turns_key_t *key)
{
  uint64_t hash = t->seed + key->len;
  for (size_t i = 0; i < key->len; i++) {
    hash = (hash ^ key->bytes[i]) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 29;
  }
  return &t->buckets[(hash ^ hash >> 32) & t->mask];
}

static line_t *find(const turns_t *t, const turns_key_t *key)
{
  line_t *line = *bucket_of(t, key);
  while (line != NULL && (line->key.len != key->len || memcmp(line->key.bytes, key->bytes, key->len) != 0))
    line = line->chain;
  return line;
}

/* There is always one spare or fresh: each line has an item that waits or is out, and there are as many lines
 * as items may be. */
static line_t *begin_line(turns_t *t, const turns_key_t *key)
{
  line_t *line = t->spare, **bucket = bucket_of(t, key);
  if (line != NULL)
    t->spare = line->chain;
  else
    line = &t->lines[t->fresh++];
  *line = (line_t){.chain = *bucket, .credit = (int64_t)t->conf.quantum, .key = *key};
  list_init(&line->turn);
  list_init(&line->length);
  list_init(&line->items);
  *bucket = line;
  return line;
}

static void end_line(turns_t *t, line_t *line)
{
  line_t **at = bucket_of(t, &line->key);
  while (*at != line)
    at = &(*at)->chain;
  *at = line->chain;
  line->chain = t->spare;
  t->spare = line;
}

/* Lets all others go first, which pays a quantum of what the line has taken beyond its turn. */
static void go_last(turns_t *t, line_t *line)
{
  if (line->credit <= 0)
    line->credit += (int64_t)t->conf.quantum;
  list_remove(&line->turn);
  list_add_last(&t->ring, &line->turn);
}

/* Moves the line to where it belongs after its numbers have changed: among its equals in length, in or out of
 * the ring, or away. */
static void settle(turns_t *t, line_t *line)
{
  list_remove(&line->length);
  if (line->waiting > 0)
    list_add_last(&t->lengths[line->waiting], &line->length);
  if (line->waiting > t->longest)
    t->longest = line->waiting;
  while (t->longest > 0 && list_empty(&t->lengths[t->longest]))
    t->longest--;
  bool may = line->waiting > 0 && (t->conf.out == 0 || line->out < t->conf.line_out);
  if (!may)
    list_remove(&line->turn);
  else if (list_empty(&line->turn))
    go_last(t, line);
  if (line->waiting == 0 && line->out == 0)
    end_line(t, line);
}

/* ---- beginning and end ---- */

static void fit(turns_conf_t *conf)
{
  if (conf->line_places == 0 || conf->line_places > conf->places)
    conf->line_places = conf->places;
  if (conf->line_out == 0 || conf->line_out > conf->out)
    conf->line_out = conf->out;
  if (conf->quantum == 0)
    conf->quantum = 1;
}

static bool make_lines(turns_t *t)
{
  size_t count = t->conf.places + t->conf.out, buckets = 1;
  while (buckets < count)
    buckets *= 2;
  t->mask = buckets - 1;
  t->lines = calloc(count, sizeof *t->lines);
  t->buckets = calloc(buckets, sizeof(line_t *));
  t->lengths = calloc(t->conf.line_places + 1, sizeof *t->lengths);
  if (t->lines == NULL || t->buckets == NULL || t->lengths == NULL)
    return false;
  for (size_t i = 0; i <= t->conf.line_places; i++)
    list_init(&t->lengths[i]);
  return true;
}

turns_t *turns_new(const turns_conf_t *conf)
{
  turns_t *t = calloc(1, sizeof *t);
  if (t == NULL)
    return NULL;
  t->conf = *conf;
  fit(&t->conf);
  list_init(&t->ring);
  if (make_lines(t) && getrandom(&t->seed, sizeof t->seed, 0) == (ssize_t)sizeof t->seed)
    return t;
  turns_free(t);
  return NULL;
}

void turns_free(turns_t *t)
{
  if (t == NULL)
    return;
  free(t->lines);
  free(t->buckets);
  free(t->lengths);
  free(t);
}

/* ---- coming and going ---- */

static void pull_out(turns_t *t, turns_item_t *item)
{
  list_remove(&item->link);
  item->line->waiting--;
  t->waiting--;
}

void turns_leave(turns_t *t, turns_item_t *item)
{
  pull_out(t, item);
  settle(t, item->line);
}

/* A place for one more in a line that has own of them: the newest item of the longest line, which is longer
 * by two. NULL: none. */
static turns_item_t *displace(turns_t *t, size_t own)
{
  if (own + 1 >= t->longest)
    return NULL;
  line_t *line = LIST_LAST(&t->lengths[t->longest], line_t, length);
  turns_item_t *newest = LIST_LAST(&line->items, turns_item_t, link);
  turns_leave(t, newest);
  return newest;
}

int turns_join(turns_t *t, const turns_key_t *key, uint64_t cost, turns_item_t *item,
               turns_item_t **displaced)
{
  line_t *line = find(t, key);
  size_t own = line != NULL ? line->waiting : 0;
  *displaced = NULL;
  if (own == t->conf.line_places)
    return SMPL_ELIMIT;
  if (t->waiting == t->conf.places && (*displaced = displace(t, own)) == NULL)
    return SMPL_ELIMIT;
  if (line == NULL)
    line = begin_line(t, key);
  item->line = line;
  item->cost = cost > 0 ? cost : 1;
  list_add_last(&line->items, &item->link);
  line->waiting++;
  t->waiting++;
  settle(t, line);
  return SMPL_OK;
}

/* The line whose turn it is. Lines that have had their turn are passed over; each time that happens pays for
 * a cost that was taken before, so that it takes constant time on average. If due: NULL if all must be passed
 * over again. */
static line_t *next_line(turns_t *t, bool due)
{
  line_t *line = LIST_FIRST(&t->ring, line_t, turn), *first = line;
  bool paid = false; /* one that was passed over may be served now */
  while (line->credit <= 0) {
    go_last(t, line);
    paid = paid || line->credit > 0;
    line = LIST_FIRST(&t->ring, line_t, turn);
    if (due && line == first && !paid)
      return NULL;
  }
  return line;
}

static turns_item_t *take(turns_t *t, bool due)
{
  if (list_empty(&t->ring) || (t->conf.out > 0 && t->out == t->conf.out))
    return NULL;
  line_t *line = next_line(t, due);
  if (line == NULL)
    return NULL;
  turns_item_t *item = LIST_FIRST(&line->items, turns_item_t, link);
  line->credit -= (int64_t)item->cost;
  pull_out(t, item);
  if (t->conf.out > 0) {
    line->out++;
    t->out++;
  }
  settle(t, line);
  return item;
}

turns_item_t *turns_take(turns_t *t)
{
  return take(t, false);
}

turns_item_t *turns_take_due(turns_t *t)
{
  return take(t, true);
}

void turns_give_back(turns_t *t, turns_item_t *item, uint64_t extra)
{
  line_t *line = item->line;
  line->credit -= (int64_t)extra;
  line->out--;
  t->out--;
  settle(t, line);
}

size_t turns_waiting(const turns_t *t)
{
  return t->waiting;
}

size_t turns_length(const turns_t *t, const turns_key_t *key)
{
  const line_t *line = find(t, key);
  return line != NULL ? line->waiting : 0;
}

size_t turns_out(const turns_t *t)
{
  return t->out;
}
