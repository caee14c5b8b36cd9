/* SPDX-License-Identifier: Apache-2.0 */
#include "app/http/metrics.h"

#include <stdint.h>

#include "app/http/front_state.h"
#include "common/net/prom_text.h"

enum { STATUS_TEXT_MAX = 12 }; /* bytes of a status as text, with NUL */

static void put_status(FILE *f, const conn_listener_t *listener, int status)
{
  char code[STATUS_TEXT_MAX];
  snprintf(code, sizeof code, "%d", status);
  prom_sample(f, "smpl_app_requests_total", listener->stats.statuses[status], "listener",
              listener->conf->name, "code", code, NULL);
}

static void put_statuses(FILE *f, const conn_listener_t *listener)
{
  for (int i = 0; i < STATS_STATUSES; i++)
    if (listener->stats.statuses[i] > 0)
      put_status(f, listener, i);
}

static void put_refusal(FILE *f, const conn_listener_t *listener, const admit_t *why, uint64_t count)
{
  if (count > 0)
    prom_sample(f, "smpl_app_refused_total", count, "listener", listener->conf->name, "class",
                admit_class(why), "reason", admit_reason(why), NULL);
}

static void put_refusals(FILE *f, const conn_listener_t *listener)
{
  for (unsigned i = ADMIT_GATE + 1; i < ADMIT_COUNT; i++)
    put_refusal(f, listener, &(admit_t){.verdict = (admit_verdict_t)i}, listener->stats.refused[i]);
  for (unsigned i = 0; i < GATE_COUNT; i++)
    put_refusal(f, listener, &(admit_t){.verdict = ADMIT_GATE, .gate = (gate_verdict_t)i},
                listener->stats.malformed[i]);
}

static void put_closed(FILE *f, const conn_listener_t *listener)
{
  for (size_t i = 0; i < STATS_CLOSED_MAX && listener->stats.closed[i].reason != NULL; i++)
    prom_sample(f, "smpl_app_closed_total", listener->stats.closed[i].count, "listener", listener->conf->name,
                "reason", listener->stats.closed[i].reason, NULL);
}

static void put_times(FILE *f, const conn_listener_t *listener)
{
  const listener_stats_t *s = &listener->stats;
  prom_histogram_t h = {stats_bounds, s->buckets, STATS_BUCKETS + 1, 1e6, s->us};
  prom_histogram(f, "smpl_app_request_seconds", "listener", listener->conf->name, &h);
}

static void put_one(FILE *f, const conn_listener_t *listener, const char *name, uint64_t value)
{
  prom_sample(f, name, value, "listener", listener->conf->name, NULL);
}

static void put_accepted(FILE *f, const conn_listener_t *listener)
{
  put_one(f, listener, "smpl_app_accepted_total", listener->stats.accepted);
}

static void put_connections(FILE *f, const conn_listener_t *listener)
{
  put_one(f, listener, "smpl_app_connections", listener->connections);
}

/* Only where there are balancers. */
static void put_unnamed(FILE *f, const conn_listener_t *listener)
{
  static const char *const reasons[] = {"missing", "malformed"};
  for (size_t i = 0; i < 2 && listener->env->balancer_count > 0; i++)
    prom_sample(f, "smpl_app_unnamed_sources_total", listener->stats.unnamed[i], "listener",
                listener->conf->name, "reason", reasons[i], NULL);
}

static void put_bytes(FILE *f, const conn_listener_t *listener)
{
  put_one(f, listener, "smpl_app_sent_bytes_total", listener->stats.bytes);
}

static void put_handshakes(FILE *f, const conn_listener_t *listener)
{
  if (listener->conf->tls != NULL)
    put_one(f, listener, "smpl_app_handshakes", listener->places.shaking);
}

static void put_certificate(FILE *f, const conn_listener_t *listener)
{
  if (listener->conf->tls != NULL)
    prom_sample_real(f, "smpl_app_certificate_expiry_timestamp_seconds",
                     (double)tls_ends(listener->conf->tls), "listener", listener->conf->name, NULL);
}

typedef struct family {
  const char *name, *type, *help;
  void (*put)(FILE *f, const conn_listener_t *listener);
} family_t;

static const family_t families[] = {
    {"smpl_app_requests_total", "counter", "Requests answered, by http listener and status.", put_statuses},
    {"smpl_app_refused_total", "counter", "Requests refused before a handler had them, by class and reason.",
     put_refusals},
    {"smpl_app_closed_total", "counter", "Connections closed without an answer, by reason.", put_closed},
    {"smpl_app_request_seconds", "histogram", "From the end of a head to the answer, of admitted requests.",
     put_times},
    {"smpl_app_sent_bytes_total", "counter", "Bytes of bodies of answers.", put_bytes},
    {"smpl_app_unnamed_sources_total", "counter",
     "Requests of balancers whose X-Forwarded-For names no source: counted as the balancer's own.",
     put_unnamed},
    {"smpl_app_accepted_total", "counter", "Connections accepted.", put_accepted},
    {"smpl_app_connections", "gauge", "Connections open.", put_connections},
    {"smpl_app_handshakes", "gauge", "TLS handshakes under way.", put_handshakes},
    {"smpl_app_certificate_expiry_timestamp_seconds", "gauge", "When the certificate expires.",
     put_certificate},
};

static void put_bodies(FILE *f, parse_counts_t bodies)
{
  prom_head(f, "smpl_app_bodies_parsed_total", "counter",
            "Bodies parsed, small ones on the loop and others by threads.");
  prom_sample(f, "smpl_app_bodies_parsed_total", bodies.here, "by", "loop", NULL);
  prom_sample(f, "smpl_app_bodies_parsed_total", bodies.there, "by", "thread", NULL);
  prom_number(f, "smpl_app_bodies_waiting", "gauge", "Bodies that wait for their turn to be parsed.",
              (double)bodies.waiting);
  prom_number(f, "smpl_app_bodies_held", "gauge", "Bodies parsed by threads and not freed.",
              (double)bodies.parsed);
}

void metrics_put(FILE *f, const front_t *front)
{
  const conn_env_t *env = &front->env;
  for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
    prom_head(f, families[i].name, families[i].type, families[i].help);
    for (size_t j = 0; j < front->listener_count; j++)
      families[i].put(f, &front->listeners[j].conns);
  }
  prom_number(f, "smpl_app_connections_max", "gauge", "Connections that each http listener may have.",
              (double)env->limits.connections);
  prom_number(f, "smpl_app_requests_under_way", "gauge", "Requests that a handler has not answered yet.",
              (double)env->requests.owed);
  prom_head(f, "smpl_app_held_bytes", "gauge",
            "Bytes held for slow peers: unfinished heads and bodies, answers not taken.");
  prom_sample(f, "smpl_app_held_bytes", room_held(env->room, ROOM_HEADS), "kind", "heads", NULL);
  prom_sample(f, "smpl_app_held_bytes", room_held(env->room, ROOM_BODIES), "kind", "bodies", NULL);
  prom_sample(f, "smpl_app_held_bytes", room_held(env->room, ROOM_REPLIES), "kind", "answers", NULL);
  prom_number(f, "smpl_app_json_values", "gauge",
              "Parsed JSON values of all small bodies of requests under way.", (double)env->requests.values);
  put_bodies(f, parse_counts(env->parse));
  prom_number(f, "smpl_app_access_log_lost_bytes", "gauge",
              "Bytes that the access log has lost since it was written last.",
              (double)access_lost(env->access));
}
