/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/control/metrics.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/net/prom_text.h"

static void put_queries(void *ctx, const char *view, const stats_sum_t *sum)
{
  static const char name[] = "smpl_resolver_queries_total";
  prom_sample(ctx, name, sum->n[STATS_UDP], "view", view, "transport", "udp", NULL);
  prom_sample(ctx, name, sum->n[STATS_TCP], "view", view, "transport", "tcp", NULL);
}

static void put_answers(void *ctx, const char *view, const stats_sum_t *sum)
{
  for (unsigned i = 0; i < STATS_RCODES; i++)
    if (sum->n[STATS_RCODE0 + i] > 0)
      prom_sample(ctx, "smpl_resolver_answers_total", sum->n[STATS_RCODE0 + i], "view", view, "rcode",
                  stats_rcode_name(i), NULL);
}

static void put_dropped(void *ctx, const char *view, const stats_sum_t *sum)
{
  prom_sample(ctx, "smpl_resolver_dropped_total", sum->n[STATS_DROPPED], "view", view, NULL);
}

static void put_truncated(void *ctx, const char *view, const stats_sum_t *sum)
{
  prom_sample(ctx, "smpl_resolver_truncated_total", sum->n[STATS_TRUNCATED], "view", view, NULL);
}

static void put_limited(void *ctx, const char *view, const stats_sum_t *sum)
{
  prom_sample(ctx, "smpl_resolver_limited_total", sum->n[STATS_LIMITED], "view", view, NULL);
}

static void put_views(FILE *f, const admin_state_t *a)
{
  prom_head(f, "smpl_resolver_queries_total", "counter",
            "Queries answered, by view (empty: clients without one) and transport.");
  admin_each_view(a, put_queries, f);
  prom_head(f, "smpl_resolver_answers_total", "counter", "Answers by view and rcode.");
  admin_each_view(a, put_answers, f);
  prom_head(f, "smpl_resolver_dropped_total", "counter", "Messages that got no answer.");
  admin_each_view(a, put_dropped, f);
  prom_head(f, "smpl_resolver_truncated_total", "counter", "Answers with the TC bit.");
  admin_each_view(a, put_truncated, f);
  prom_head(f, "smpl_resolver_limited_total", "counter",
            "Queries above a public view's rate: dropped or answered short.");
  admin_each_view(a, put_limited, f);
}

static void put_zones(FILE *f, const snapshot_t *s)
{
  prom_number(f, "smpl_resolver_views", "gauge", "Views.", (double)snapshot_view_count(s));
  prom_number(f, "smpl_resolver_zones", "gauge", "Zones.", (double)snapshot_zone_count(s));
  prom_head(f, "smpl_resolver_zone_serial", "gauge", "The serial of each zone's SOA record.");
  double records = 0;
  double bytes = 0;
  for (size_t i = 0; i < snapshot_zone_count(s); i++) {
    const zone_t *z = snapshot_zone(s, i);
    zone_facts_t facts = zone_facts(z);
    records += facts.records;
    bytes += (double)facts.bytes;
    if (!zone_is_available(z))
      continue;
    prom_sample(f, "smpl_resolver_zone_serial", facts.serial, "zone", zone_name(z), NULL);
  }
  prom_head(f, "smpl_resolver_zone_queries_total", "counter",
            "Queries for names of each zone, by any view; an overlay counts what it takes from its base.");
  for (size_t i = 0; i < snapshot_zone_count(s); i++)
    prom_sample(f, "smpl_resolver_zone_queries_total", snapshot_zone_queries(s, i), "zone",
                zone_name(snapshot_zone(s, i)), NULL);
  prom_number(f, "smpl_resolver_zones_from_copy", "gauge",
              "Zones whose file could not be read at the start: their last good copy is served.",
              (double)snapshot_count_from(s, SNAPSHOT_COPY));
  prom_number(f, "smpl_resolver_zones_unavailable", "gauge",
              "Zones whose file could not be read at the start, without a good copy: SERVFAIL.",
              (double)snapshot_count_from(s, SNAPSHOT_NOWHERE));
  prom_number(f, "smpl_resolver_records", "gauge", "Records of all zones.", records);
  prom_number(f, "smpl_resolver_zone_bytes", "gauge", "Memory of all zones.", bytes);
}

static void put_latency(FILE *f, const latency_sum_t *l)
{
  static const char name[] = "smpl_resolver_udp_batch_seconds";
  prom_head(f, name, "histogram",
            "For each datagram, the time from taking its batch to the batch's answers being sent.");
  prom_histogram(f, name, NULL, NULL,
                 &(prom_histogram_t){latency_bounds_ns, l->n, LATENCY_BUCKETS, 1e9, l->sum_ns});
}

char *metrics_text(const admin_state_t *a, size_t *len)
{
  char *text = NULL;
  FILE *f = open_memstream(&text, len);
  if (f == NULL)
    return NULL;
  put_views(f, a);
  put_zones(f, a->snapshot);
  prom_program(f, &a->about);
  prom_number(f, "smpl_resolver_tcp_connections", "gauge", "Open TCP connections.",
              (double)a->tcp_connections);
  prom_number(f, "smpl_resolver_workers", "gauge", "Worker threads.", (double)snapshot_workers(a->snapshot));
  if (a->query_log != NULL) {
    prom_number(f, "smpl_resolver_query_log_lines_total", "counter", "Lines of the query log written.",
                (double)query_log_written(a->query_log));
    prom_number(f, "smpl_resolver_query_log_dropped_total", "counter",
                "Lines of the query log that found no room.", (double)query_log_dropped(a->query_log));
  }
  if (snapshot_settings(a->snapshot)->state != NULL)
    prom_number(f, "smpl_resolver_copies_kept", "gauge",
                "1 when the last good copies of all zones could be kept under state.", a->copies_kept);
  put_latency(f, &a->latency);
  bool bad = ferror(f) != 0;
  if (fclose(f) != 0 || bad) {
    free(text);
    return NULL;
  }
  return text;
}
