/* SPDX-License-Identifier: Apache-2.0 */
#include "app/services/answers.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/net/crowd.h"

enum {
  BUCKETS = 4096, /* a power of two */
  WEIGHT_OF_ONE =
      ANSWERS_BYTES_MAX / ANSWERS_MAX, /* beside its bytes: so a full share of either weighs the same */
  WEIGHT_MAX = ANSWERS_BYTES_MAX,
};

typedef struct entry {
  struct entry *chain;         /* of the bucket */
  struct entry *newer, *older; /* by use */
  crowd_member_t place;        /* of its account; its weight has count and bytes in it */
  shared_t *body;
  uint32_t hash;
  char account[UUID_TEXT_MAX];
  size_t target_len;
  char target[];
} entry_t;

struct answers {
  store_change_t change; /* of the state that all entries are of */
  entry_t *newest, *oldest;
  crowd_t *accounts;
  answers_counts_t counts;
  entry_t *buckets[BUCKETS];
};

/* FNV-1a. Who finds targets of one hash is stopped by the chain's bound. */
static uint32_t hash_of(const answers_key_t *key)
{
  uint32_t h = 2166136261u;
  for (const char *c = key->account; *c != '\0'; c++)
    h = (h ^ (uint8_t)*c) * 16777619u;
  for (size_t i = 0; i < key->target_len; i++)
    h = (h ^ (uint8_t)key->target[i]) * 16777619u;
  return h;
}

static bool is_for(const entry_t *e, uint32_t hash, const answers_key_t *key)
{
  return e->hash == hash && e->target_len == key->target_len &&
         memcmp(e->target, key->target, key->target_len) == 0 && strcmp(e->account, key->account) == 0;
}

static void unlink_entry(answers_t *a, entry_t *e)
{
  *(e->newer != NULL ? &e->newer->older : &a->newest) = e->older;
  *(e->older != NULL ? &e->older->newer : &a->oldest) = e->newer;
}

static void push_newest(answers_t *a, entry_t *e)
{
  e->newer = NULL;
  e->older = a->newest;
  *(e->older != NULL ? &e->older->newer : &a->oldest) = e;
  a->newest = e;
}

static void drop(answers_t *a, entry_t *e)
{
  entry_t **at = &a->buckets[e->hash & (BUCKETS - 1)];
  while (*at != e)
    at = &(*at)->chain;
  *at = e->chain;
  unlink_entry(a, e);
  crowd_leave(a->accounts, &e->place);
  a->counts.kept--;
  a->counts.bytes -= e->body->len;
  shared_drop(e->body);
  free(e);
}

/* Drops everything if the database is not as it was. As many are dropped as were kept, so that costs keeping
 * them no more than a constant each. */
static void move_to(answers_t *a, const store_change_t *change)
{
  if (store_change_equal(&a->change, change))
    return;
  while (a->oldest != NULL)
    drop(a, a->oldest); /* NOLINT(clang-analyzer-unix.Malloc): it leaves the list */
  a->change = *change;
}

answers_t *answers_new(void)
{
  answers_t *a = calloc(1, sizeof *a);
  if (a == NULL)
    return NULL;
  a->accounts = crowd_new_flat();
  if (a->accounts == NULL) {
    free(a);
    return NULL;
  }
  return a;
}

void answers_free(answers_t *a)
{
  if (a == NULL)
    return;
  while (a->oldest != NULL)
    drop(a, a->oldest);
  crowd_free(a->accounts);
  free(a);
}

shared_t *answers_find(answers_t *a, const store_change_t *now, const answers_key_t *key)
{
  uint32_t hash = hash_of(key);
  move_to(a, now);
  for (entry_t *e = a->buckets[hash & (BUCKETS - 1)]; e != NULL; e = e->chain) {
    if (!is_for(e, hash, key))
      continue;
    if (e != a->newest) {
      unlink_entry(a, e);
      push_newest(a, e);
      crowd_renew(&e->place);
    }
    a->counts.used++;
    return e->body;
  }
  return NULL;
}

/* Makes room in the bucket: the same question's older answer goes, and the last of a chain that is full. */
static void make_room(answers_t *a, uint32_t hash, const answers_key_t *key)
{
  size_t length = 0;
  for (entry_t *e = a->buckets[hash & (BUCKETS - 1)], *next; e != NULL; e = next) {
    next = e->chain;
    if (is_for(e, hash, key) || ++length == ANSWERS_CHAIN_MAX)
      drop(a, e);
  }
}

static entry_t *gives_way(const answers_t *a)
{
  crowd_member_t *most = crowd_heaviest(a->accounts);
  if (most != NULL && crowd_of_network(most) > WEIGHT_MAX / ANSWERS_SHARE)
    return (entry_t *)(void *)((char *)most - offsetof(entry_t, place));
  return a->oldest;
}

void answers_keep(answers_t *a, const store_change_t *change, const answers_key_t *key, shared_t *body)
{
  size_t account_len = strlen(key->account);
  if (body->len > ANSWERS_ONE_MAX || key->target_len > ANSWERS_TARGET_MAX || account_len >= UUID_TEXT_MAX)
    return;
  uint32_t hash = hash_of(key);
  move_to(a, change);
  make_room(a, hash, key);
  while (a->counts.kept >= ANSWERS_MAX ||
         (a->oldest != NULL && a->counts.bytes > ANSWERS_BYTES_MAX - body->len))
    drop(a, gives_way(a));
  entry_t *e = malloc(sizeof *e + key->target_len);
  if (e == NULL)
    return; /* it is only not kept */
  entry_t **bucket = &a->buckets[hash & (BUCKETS - 1)];
  *e = (entry_t){.chain = *bucket, .body = shared_take(body), .hash = hash, .target_len = key->target_len};
  ip_t account = uuid_place(key->account);
  if (crowd_add(a->accounts, &e->place, &account, WEIGHT_OF_ONE + body->len)) {
    shared_drop(body);
    free(e);
    return;
  }
  memcpy(e->account, key->account, account_len + 1);
  memcpy(e->target, key->target, key->target_len);
  *bucket = e;
  push_newest(a, e);
  a->counts.kept++;
  a->counts.bytes += body->len;
}

answers_counts_t answers_counts(const answers_t *a)
{
  return a->counts;
}
