/* SPDX-License-Identifier: Apache-2.0 */
/* Counters. Each worker writes its own, without locks or atomic read-modify-write; others may read at any
 * time. */
#pragma once

#include <jansson.h>
#include <stdatomic.h>
#include <stdint.h>

#include "common/dns/dns_wire.h"

enum {
  STATS_RCODES = 18, /* 0 to 15, BADVERS, BADCOOKIE */
};

typedef enum stats_count {
  STATS_UDP, /* queries by transport */
  STATS_TCP,
  STATS_DROPPED,   /* messages that got no answer: no header, or an answer themselves */
  STATS_TRUNCATED, /* answers with TC */
  STATS_LIMITED,   /* questions above a public view's rate: dropped or answered with a short answer */
  STATS_RCODE0,    /* answers by rcode */
  STATS_COUNTS = STATS_RCODE0 + STATS_RCODES,
} stats_count_t;

/* Of one worker and one view. */
typedef struct stats {
  _Alignas(64) _Atomic uint64_t n[STATS_COUNTS];
} stats_t;

/* Questions for names of one zone, of one worker. */
typedef _Atomic uint64_t zone_stats_t;

static inline void zone_stats_add(zone_stats_t *s)
{
  atomic_store_explicit(s, atomic_load_explicit(s, memory_order_relaxed) + 1, memory_order_relaxed);
}

static inline void stats_add(stats_t *s, unsigned which)
{
  uint64_t v = atomic_load_explicit(&s->n[which], memory_order_relaxed);
  atomic_store_explicit(&s->n[which], v + 1, memory_order_relaxed);
}

/* How long datagrams took, of one worker. The last bucket is for everything longer. */
enum { LATENCY_BUCKETS = 11 };
extern const uint64_t latency_bounds_ns[LATENCY_BUCKETS - 1];

typedef struct latency {
  _Alignas(64) _Atomic uint64_t n[LATENCY_BUCKETS];
  _Atomic uint64_t sum_ns;
} latency_t;

typedef struct latency_sum {
  uint64_t n[LATENCY_BUCKETS];
  uint64_t sum_ns;
} latency_sum_t;

/* count datagrams took ns each. By the worker alone. */
void latency_note(latency_t *l, uint64_t ns, uint64_t count);
/* Any thread. */
void latency_sum_add(latency_sum_t *sum, const latency_t *l);

/* Where answers with this rcode of twelve bits are counted. */
static inline unsigned stats_rcode(unsigned rcode)
{
  unsigned known = rcode <= DNS_RCODE_BADVERS ? rcode : STATS_RCODES - 1u;
  return STATS_RCODE0 + known;
}

/* Sums, by the thread that asks. */
typedef struct stats_sum {
  uint64_t n[STATS_COUNTS];
} stats_sum_t;

void stats_sum_add(stats_sum_t *sum, const stats_t *s);
void stats_sum_merge(stats_sum_t *sum, const stats_sum_t *other);

/* {"udp": 1, "tcp": 0, "dropped": 0, "truncated": 0, "rcodes": {"NOERROR": 1}}; rcodes that are 0 are left
 * out. NULL when out of memory. */
json_t *stats_json(const stats_sum_t *sum);

/* "NXDOMAIN"; never NULL. */
const char *stats_rcode_name(unsigned rcode);
