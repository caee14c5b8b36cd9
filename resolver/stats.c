#include "resolver/stats.h"

#include <stdio.h>

static const char *const rcode_names[STATS_RCODES] = {
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP",  "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET",
    "NOTAUTH", "NOTZONE", "RCODE11",  "RCODE12",  "RCODE13", "RCODE14", "RCODE15",  "BADVERS",
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
  return json_pack("{s:I, s:I, s:I, s:I, s:o}", "udp", (json_int_t)sum->n[STATS_UDP], "tcp",
                   (json_int_t)sum->n[STATS_TCP], "dropped", (json_int_t)sum->n[STATS_DROPPED], "truncated",
                   (json_int_t)sum->n[STATS_TRUNCATED], "rcodes", rcodes);
}

const char *stats_rcode_name(unsigned rcode)
{
  return rcode_names[rcode < STATS_RCODES ? rcode : STATS_RCODES - 1];
}
