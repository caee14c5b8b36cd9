/* SPDX-License-Identifier: Apache-2.0 */
#include "app/services/rates.h"

#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = RATES_KEYS_MAX, NONE = 0, SECOND_NS = 1000000000 }; /* BUCKETS: a power of two */

/* When the bucket will be full, if nothing comes meanwhile: that alone says how full it is now (the
 * generic cell rate algorithm). */
typedef struct bucket {
  char key_id[UUID_TEXT_MAX];
  uint32_t chain; /* index of the next one, NONE at the end */
  uint64_t full_ns;
} bucket_t;

struct rates {
  uint64_t seed;           /* so that nobody can look for ids that share a chain */
  uint64_t burst, each_ns; /* requests in a full bucket; time in which one comes back, 0: no limit */
  uint32_t used, hand;
  uint32_t heads[BUCKETS];
  bucket_t buckets[RATES_KEYS_MAX + 1]; /* the first is NONE */
};

static uint64_t time_of_one(uint64_t requests)
{
  if (requests == 0)
    return 0;
  return SECOND_NS / requests > 0 ? SECOND_NS / requests : 1;
}

rates_t *rates_new(uint64_t requests, uint64_t burst)
{
  rates_t *r = calloc(1, sizeof *r);
  if (r == NULL)
    return NULL;
  r->burst = burst;
  r->each_ns = time_of_one(requests);
  if (RAND_bytes((unsigned char *)&r->seed, sizeof r->seed) != 1) {
    free(r);
    return NULL;
  }
  return r;
}

void rates_free(rates_t *r)
{
  free(r);
}

static void rescale(bucket_t *b, uint64_t old_ns, uint64_t each_ns, uint64_t burst, uint64_t now_ns)
{
  uint64_t missing = b->full_ns > now_ns ? (b->full_ns - now_ns + old_ns - 1) / old_ns : 0;
  b->full_ns = now_ns + (missing < burst ? missing : burst) * each_ns;
}

void rates_set(rates_t *r, uint64_t requests, uint64_t burst, uint64_t now_us)
{
  uint64_t old_ns = r->each_ns;
  r->each_ns = time_of_one(requests);
  r->burst = burst;
  if (old_ns == 0 || r->each_ns == 0) { /* nothing was counted, or nothing will be */
    memset(r->heads, 0, sizeof r->heads);
    r->used = r->hand = 0;
    return;
  }
  for (uint32_t i = 1; i <= r->used; i++)
    rescale(&r->buckets[i], old_ns, r->each_ns, burst, now_us * 1000);
}

bool rates_limit(const rates_t *r)
{
  return r->each_ns > 0;
}

static uint32_t *head_of(rates_t *r, const char *key_id)
{
  uint64_t parts[4], hash = r->seed; /* 32 of the 36 characters */
  memcpy(parts, key_id, sizeof parts);
  for (size_t i = 0; i < 4; i++) {
    hash = (hash ^ parts[i]) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 29;
  }
  return &r->heads[(hash ^ hash >> 32) & (BUCKETS - 1)];
}

static void unchain(rates_t *r, uint32_t index)
{
  uint32_t *at = head_of(r, r->buckets[index].key_id);
  while (*at != index)
    at = &r->buckets[*at].chain;
  *at = r->buckets[index].chain;
}

/* A bucket for a key that has none. */
static uint32_t free_bucket(rates_t *r, uint64_t now_ns)
{
  if (r->used < RATES_KEYS_MAX)
    return ++r->used;
  uint32_t best = NONE;
  for (size_t i = 0; i < RATES_LOOK; i++) {
    r->hand = r->hand % RATES_KEYS_MAX + 1;
    if (best == NONE || r->buckets[r->hand].full_ns < r->buckets[best].full_ns)
      best = r->hand;
    if (r->buckets[best].full_ns <= now_ns)
      break;
  }
  unchain(r, best);
  return best;
}

static bucket_t *bucket_of(rates_t *r, const char *key_id, uint64_t now_ns)
{
  uint32_t *head = head_of(r, key_id), index = *head;
  while (index != NONE && memcmp(r->buckets[index].key_id, key_id, UUID_TEXT_MAX) != 0)
    index = r->buckets[index].chain;
  if (index == NONE) {
    index = free_bucket(r, now_ns);
    bucket_t *b = &r->buckets[index];
    *b = (bucket_t){.chain = *head}; /* read after free_bucket, which may have changed it */
    memcpy(b->key_id, key_id, UUID_TEXT_MAX);
    *head = index;
  }
  return &r->buckets[index];
}

static uint32_t seconds(uint64_t ns)
{
  return (uint32_t)((ns + SECOND_NS - 1) / SECOND_NS);
}

bool rates_take(rates_t *r, const char *key_id, uint64_t now_us, rate_t *out)
{
  uint64_t now_ns = now_us * 1000;
  bucket_t *b = bucket_of(r, key_id, now_ns);
  uint64_t missing_ns = b->full_ns > now_ns ? b->full_ns - now_ns : 0, whole_ns = r->burst * r->each_ns;
  bool within = missing_ns + r->each_ns <= whole_ns;
  uint64_t wait_ns = within ? 0 : missing_ns + r->each_ns - whole_ns;
  if (within) {
    missing_ns += r->each_ns;
    b->full_ns = now_ns + missing_ns;
  }
  *out = (rate_t){.limit = (uint32_t)r->burst,
                  .left = (uint32_t)((whole_ns - missing_ns) / r->each_ns),
                  .reset_s = seconds(missing_ns),
                  .wait_s = seconds(wait_ns)};
  return within;
}
