/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/answer/limiter.h"

#include <stdlib.h>
#include <string.h>

#include "resolver/limits.h"
#include "resolver/zone/name_hash.h"

enum {
  WAYS = 4,   /* entries of a set: one cache line */
  ONE = 1000, /* an answer's share of tokens, so that a millisecond brings `rate` of them */
  FULL_MS = 1000,
  V4_AT = 12,
  V4_NET = 3, /* bytes: /24 */
  V6_NET = 7, /* /56 */
};

typedef struct entry {
  uint32_t tag;   /* of the hash; 0: free */
  uint32_t at_ms; /* when tokens were counted; wraps round */
  uint32_t tokens;
  uint32_t over; /* answers above the rate since it was last kept */
} entry_t;

struct limiter {
  uint64_t seed;
  entry_t (*sets)[WAYS];
};

_Static_assert((RATE_SETS & (RATE_SETS - 1)) == 0, "a power of two");
_Static_assert((uint64_t)RATE_MAX *ONE <= UINT32_MAX, "tokens fit");

limiter_t *limiter_new(uint64_t seed)
{
  limiter_t *l = calloc(1, sizeof *l);
  if (l == NULL)
    return NULL;
  l->seed = seed;
  l->sets = aligned_alloc(64, RATE_SETS * sizeof *l->sets);
  if (l->sets == NULL) {
    free(l);
    return NULL;
  }
  memset(l->sets, 0, RATE_SETS * sizeof *l->sets);
  return l;
}

void limiter_free(limiter_t *limiter)
{
  if (limiter == NULL)
    return;
  free(limiter->sets);
  free(limiter);
}

static uint64_t hash(const limiter_t *l, const ip_t *peer, uint32_t view, limiter_kind_t kind)
{
  uint64_t net = 0;
  bool v4 = ip_is_v4(peer);
  memcpy(&net, peer->b + (v4 ? V4_AT : 0), v4 ? V4_NET : V6_NET);
  uint64_t who = (uint64_t)view << 8 | (uint64_t)kind << 1 | v4;
  return name_hash_mix(name_hash_mix(net ^ l->seed, 0xa0761d6478bd642fULL) ^ who, l->seed | 1);
}

/* The entry of this tag; if there is none, the oldest of its set, made anew with all its tokens. */
static entry_t *entry_of(limiter_t *l, uint64_t h, uint32_t now, uint32_t full)
{
  entry_t *set = l->sets[h & (RATE_SETS - 1)];
  uint32_t tag = (uint32_t)(h >> 32) | 1;
  entry_t *oldest = &set[0];
  for (unsigned i = 0; i < WAYS; i++) {
    if (set[i].tag == tag)
      return &set[i];
    if (oldest->tag != 0 && (set[i].tag == 0 || now - set[i].at_ms > now - oldest->at_ms))
      oldest = &set[i];
  }
  *oldest = (entry_t){.tag = tag, .at_ms = now, .tokens = full};
  return oldest;
}

limiter_verdict_t limiter_take(limiter_t *limiter, const ip_t *peer, uint32_t view, limiter_kind_t kind,
                               uint32_t rate, uint64_t now_ms)
{
  uint32_t now = (uint32_t)now_ms;
  uint32_t full = rate * ONE;
  entry_t *e = entry_of(limiter, hash(limiter, peer, view, kind), now, full);
  uint32_t passed = now - e->at_ms;
  e->at_ms = now;
  uint64_t tokens = e->tokens + (uint64_t)(passed < FULL_MS ? passed : FULL_MS) * rate;
  e->tokens = (uint32_t)(tokens < full ? tokens : full);
  if (e->tokens >= ONE) {
    e->tokens -= ONE;
    e->over = 0;
    return LIMITER_PASS;
  }
  return ++e->over % RATE_SLIP == 0 ? LIMITER_SLIP : LIMITER_DROP;
}
