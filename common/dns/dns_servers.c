/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/dns_servers.h"

void dns_servers_answered(dns_servers_t *s, size_t server, uint64_t took_ms, uint64_t now)
{
  dns_server_past_t *p = &s->past[server];
  uint64_t took = took_ms > 0 ? took_ms : 1; /* 0 is for what is not known */
  p->time_ms = p->late || p->time_ms == 0 ? took : (p->time_ms + took) / 2;
  p->late = p->failing = false;
  p->probe_at = now + DNS_SERVERS_PROBE_MS;
}

void dns_servers_outrun(dns_servers_t *s, size_t server, uint64_t waited_ms, uint64_t now)
{
  dns_server_past_t *p = &s->past[server];
  if (waited_ms <= p->time_ms)
    return;
  p->time_ms = waited_ms;
  p->late = true;
  p->probe_at = now + DNS_SERVERS_PROBE_MS;
}

void dns_servers_failed(dns_servers_t *s, size_t server, uint64_t now)
{
  s->past[server].failing = true;
  s->past[server].probe_at = now + DNS_SERVERS_PROBE_MS;
}

/* 0 for the quick ones, one more for each doubling. */
static unsigned rank(const dns_server_past_t *p)
{
  uint64_t time = p->time_ms > 0 ? p->time_ms : DNS_SERVERS_UNKNOWN_MS;
  unsigned steps = 0;
  if (p->failing && time < DNS_SERVERS_FAILED_MS)
    time = DNS_SERVERS_FAILED_MS;
  while (time > DNS_SERVERS_STEP_MS) {
    time = (time + 1) / 2;
    steps++;
  }
  return steps;
}

size_t dns_servers_best(const dns_servers_t *s, unsigned but_not)
{
  size_t best = s->count;
  for (size_t i = 0; i < s->count; i++)
    if (!(but_not & 1u << i) && (best == s->count || rank(&s->past[i]) < rank(&s->past[best])))
      best = i;
  return best;
}

size_t dns_servers_probe(dns_servers_t *s, size_t server, uint64_t now)
{
  for (size_t i = 0; i < s->count; i++) {
    const dns_server_past_t *p = &s->past[i];
    if ((p->time_ms > 0 || p->failing) && rank(p) > rank(&s->past[server]) && now >= p->probe_at) {
      s->past[i].probe_at = now + DNS_SERVERS_PROBE_MS;
      return i;
    }
  }
  return s->count;
}
