/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/view/stats.h"

#include <stdio.h>

static const char *const rcode_names[STATS_RCODES] = {
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP",  "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET",
    "NOTAUTH", "NOTZONE", "RCODE11",  "RCODE12",  "RCODE13", "RCODE14", "RCODE15",  "BADVERS", "BADCOOKIE",
};

void stats_sum_add(stats_sum_t *sum, const stats_t *s)
{
  for (unsigned i = 0; i < STATS_COUNTS; i++)
    sum->n[i] += atomic_load_explicit(&s->n[i], memory_order_relaxed);
}

void stats_sum_merge(stats_sum_t *sum, const stats_sum_t *other)
{
  for (unsigned i = 0; i < STATS_COUNTS; i++)
    sum->n[i] += other->n[i];
}

json_t *stats_json(const stats_sum_t *sum)
{
  json_t *rcodes = json_object();
  if (rcodes == NULL)
    return NULL;
  for (unsigned i = 0; i < STATS_RCODES; i++)
    if (sum->n[STATS_RCODE0 + i] > 0)
      json_object_set_new(rcodes, rcode_names[i], json_integer((json_int_t)sum->n[STATS_RCODE0 + i]));
  return json_pack("{s:I, s:I, s:I, s:I, s:I, s:o}", "udp", (json_int_t)sum->n[STATS_UDP], "tcp",
                   (json_int_t)sum->n[STATS_TCP], "dropped", (json_int_t)sum->n[STATS_DROPPED], "truncated",
                   (json_int_t)sum->n[STATS_TRUNCATED], "limited", (json_int_t)sum->n[STATS_LIMITED],
                   "rcodes", rcodes);
}

const char *stats_rcode_name(unsigned rcode)
{
  return rcode_names[rcode < STATS_RCODES ? rcode : STATS_RCODES - 1];
}

const uint64_t latency_bounds_ns[LATENCY_BUCKETS - 1] = {10000,  25000,   50000,   100000,  250000,
                                                         500000, 1000000, 2500000, 5000000, 10000000};

static void bump(_Atomic uint64_t *at, uint64_t by)
{
  atomic_store_explicit(at, atomic_load_explicit(at, memory_order_relaxed) + by, memory_order_relaxed);
}

void latency_note(latency_t *l, uint64_t ns, uint64_t count)
{
  unsigned i = 0;
  while (i < LATENCY_BUCKETS - 1 && ns > latency_bounds_ns[i])
    i++;
  bump(&l->n[i], count);
  bump(&l->sum_ns, ns * count);
}

void latency_sum_add(latency_sum_t *sum, const latency_t *l)
{
  for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
    sum->n[i] += atomic_load_explicit(&l->n[i], memory_order_relaxed);
  sum->sum_ns += atomic_load_explicit(&l->sum_ns, memory_order_relaxed);
}
