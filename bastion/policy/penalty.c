/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/policy/penalty.h"

#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/count.h"

enum { BUCKETS = 8192, BUCKETS_LOOK = 128, MS_US = 1000, SECOND_US = 1000000 };

/* Who is counted: a network, for one of the two causes. */
typedef struct key {
  penalty_cause_t cause;
  ip_net_t net;
} who_t;

typedef struct entry {
  struct entry *next;
  who_t key;
  bool is_source;
  uint64_t until; /* us */
  bool refused;   /* reached PENALTY_MIN_MS since it was last free */
} entry_t;

struct penalty {
  entry_t *buckets[BUCKETS];
  size_t count, sources;
  size_t cursor; /* the bucket that was looked at last to make room */
  uint64_t seed; /* so that nobody chooses the bucket */
};

/* ---- the networks that a deed counts for ---- */

typedef struct level {
  uint8_t prefix; /* in the 128-bit form, ending with a byte */
  uint8_t share;  /* it counts one of so many parts of a deed */
} level_t;

/* The source first. */
static const level_t v4_levels[] = {{128, 1}, {120, PENALTY_WIDE_SHARE}};
static const level_t v6_levels[] = {{64, 1}, {56, PENALTY_NARROW_SHARE}, {48, PENALTY_WIDE_SHARE}};

static const level_t *levels_of(const ip_t *ip, size_t *count)
{
  bool v4 = ip_is_v4(ip);
  *count = v4 ? COUNT_OF(v4_levels) : COUNT_OF(v6_levels);
  return v4 ? v4_levels : v6_levels;
}

static who_t key_of(penalty_cause_t cause, const ip_t *ip, uint8_t prefix)
{
  who_t key = {.cause = cause, .net = {.prefix = prefix}};
  memcpy(key.net.base.b, ip->b, prefix / 8u);
  return key;
}

static bool same(const who_t *a, const who_t *b)
{
  return a->cause == b->cause && a->net.prefix == b->net.prefix && ip_equal(&a->net.base, &b->net.base);
}

/* ---- the table ---- */

penalty_t *penalty_new(void)
{
  penalty_t *p = calloc(1, sizeof *p);
  if (p != NULL)
    RAND_bytes((unsigned char *)&p->seed, sizeof p->seed);
  return p;
}

void penalty_free(penalty_t *p)
{
  for (size_t i = 0; p != NULL && i < BUCKETS; i++)
    for (entry_t *e = p->buckets[i], *next; e != NULL; e = next) {
      next = e->next;
      free(e);
    }
  free(p);
}

static size_t bucket_of(const penalty_t *p, const who_t *key)
{
  uint64_t h = p->seed ^ key->net.prefix ^ (uint64_t)key->cause << 8;
  for (size_t i = 0; i < sizeof key->net.base.b; i++)
    h = (h ^ key->net.base.b[i]) * 0x100000001b3u;
  return (size_t)(h ^ h >> 32) % BUCKETS;
}

static void drop(penalty_t *p, entry_t **at)
{
  entry_t *e = *at;
  *at = e->next;
  p->sources -= e->is_source;
  p->count--;
  free(e);
}

/* Where the key's entry is linked, or would be. Those that are over go on the way. */
static entry_t **find(penalty_t *p, const who_t *key, uint64_t now_us)
{
  entry_t **at = &p->buckets[bucket_of(p, key)];
  while (*at != NULL) {
    if (now_us >= (*at)->until)
      drop(p, at);
    else if (same(&(*at)->key, key))
      return at;
    else
      at = &(*at)->next;
  }
  return at;
}

/* Makes room: what is over, else the one that would be over first, among a part of the table, each time the
 * next. */
static void make_room(penalty_t *p, uint64_t now_us)
{
  size_t full = p->count;
  entry_t **soonest = NULL;
  for (size_t i = 0; i < BUCKETS_LOOK || (soonest == NULL && p->count == full); i++) {
    p->cursor = (p->cursor + 1) % BUCKETS;
    for (entry_t **at = &p->buckets[p->cursor]; *at != NULL;) {
      if (now_us >= (*at)->until) {
        drop(p, at);
        continue;
      }
      if (soonest == NULL || (*at)->until < (*soonest)->until)
        soonest = at;
      at = &(*at)->next;
    }
  }
  if (p->count == full)
    drop(p, soonest);
}

/* NULL when out of memory. */
static entry_t *reach(penalty_t *p, const who_t *key, bool is_source, uint64_t now_us)
{
  entry_t **at = find(p, key, now_us);
  if (*at != NULL)
    return *at;
  if (p->count >= PENALTY_ENTRIES_MAX) {
    make_room(p, now_us);
    at = find(p, key, now_us);
  }
  entry_t *e = calloc(1, sizeof *e);
  if (e == NULL)
    return NULL;
  *e = (entry_t){.key = *key, .is_source = is_source, .until = now_us};
  *at = e;
  p->sources += is_source;
  p->count++;
  return e;
}

/* ---- deeds ---- */

static uint64_t cost_of(const penalty_silent_t *limit)
{
  return SECOND_US / limit->rate;
}

static void lengthen(entry_t *e, uint64_t us, uint64_t max_us, uint64_t now_us)
{
  e->until += us;
  if (e->until - now_us > max_us)
    e->until = now_us + max_us;
  e->refused = e->refused || e->until - now_us >= (uint64_t)PENALTY_MIN_MS * MS_US;
}

static void charge(penalty_t *p, penalty_cause_t cause, const ip_t *address, uint64_t us, uint64_t max_us,
                   uint64_t now_us)
{
  size_t count;
  const level_t *levels = levels_of(address, &count);
  for (size_t i = 0; i < count; i++) {
    who_t key = key_of(cause, address, levels[i].prefix);
    entry_t *e = reach(p, &key, i == 0 && cause == PENALTY_FAILED, now_us);
    if (e == NULL)
      return;
    lengthen(e, us / levels[i].share, max_us, now_us);
  }
}

void penalty_add(penalty_t *p, const ip_t *address, uint64_t ms, uint64_t now)
{
  charge(p, PENALTY_FAILED, address, ms * MS_US, (uint64_t)PENALTY_MAX_MS * MS_US, now * MS_US);
}

/* Beside all networks: no prefix is as long. */
static who_t user_of(const char *user)
{
  enum { USER_PREFIX = 255 };
  uint8_t digest[SHA256_DIGEST_LENGTH];
  who_t who = {.cause = PENALTY_FAILED, .net = {.prefix = USER_PREFIX}};
  SHA256((const uint8_t *)user, strlen(user), digest);
  memcpy(who.net.base.b, digest, sizeof who.net.base.b);
  return who;
}

void penalty_add_user(penalty_t *p, const char *user, uint64_t ms, uint64_t now)
{
  who_t who = user_of(user);
  entry_t *e = reach(p, &who, false, now * MS_US);
  if (e != NULL)
    lengthen(e, ms * MS_US, (uint64_t)PENALTY_MAX_MS * MS_US, now * MS_US);
}

void penalty_add_silent(penalty_t *p, const ip_t *address, const penalty_silent_t *limit, uint64_t now)
{
  uint64_t cost = cost_of(limit);
  charge(p, PENALTY_SILENT, address, cost, cost * limit->burst, now * MS_US);
}

/* ---- judging ---- */

static uint64_t left_of(penalty_t *p, const who_t *who, uint64_t now_us)
{
  const entry_t *e = *find(p, who, now_us);
  return e != NULL && e->refused ? e->until - now_us : 0;
}

static uint64_t failed_left(penalty_t *p, const ip_t *address, uint8_t prefix, uint64_t now_us)
{
  who_t who = key_of(PENALTY_FAILED, address, prefix);
  return left_of(p, &who, now_us);
}

static bool is_silent_too_often(penalty_t *p, const ip_t *address, uint8_t prefix,
                                const penalty_silent_t *limit, uint64_t now_us)
{
  who_t key = key_of(PENALTY_SILENT, address, prefix);
  const entry_t *e = *find(p, &key, now_us);
  return e != NULL && e->until - now_us > cost_of(limit) * (limit->burst - 1);
}

penalty_cause_t penalty_judge(penalty_t *p, const ip_t *address, bool known, const penalty_silent_t *limit,
                              uint64_t now, ip_net_t *network)
{
  size_t count;
  const level_t *levels = levels_of(address, &count);
  for (size_t i = 0; i < (known ? 1 : count); i++) {
    *network = key_of(PENALTY_NONE, address, levels[i].prefix).net;
    if (failed_left(p, address, levels[i].prefix, now * MS_US) > 0)
      return PENALTY_FAILED;
    if (is_silent_too_often(p, address, levels[i].prefix, limit, now * MS_US))
      return PENALTY_SILENT;
  }
  return PENALTY_NONE;
}

uint64_t penalty_left_user(penalty_t *p, const char *user, uint64_t now)
{
  who_t who = user_of(user);
  return (left_of(p, &who, now * MS_US) + MS_US - 1) / MS_US;
}

uint64_t penalty_left(penalty_t *p, const ip_t *address, uint64_t now)
{
  size_t count;
  return (failed_left(p, address, levels_of(address, &count)->prefix, now * MS_US) + MS_US - 1) / MS_US;
}

size_t penalty_count(const penalty_t *p)
{
  return p->sources;
}
