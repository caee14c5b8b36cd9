/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/broker/metrics.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/net/prom_text.h"

enum { NAME_MAX_BYTES = 96 };

static void put(FILE *f, const char *name, const char *type, const char *help, uint64_t value)
{
  char whole[NAME_MAX_BYTES];
  snprintf(whole, sizeof whole, "smpl_bastion_%s", name);
  prom_count(f, whole, type, help, value);
}

static void put_by_rule(FILE *f, const char *name, const char *help, const uint64_t *counts)
{
  prom_head(f, name, "counter", help);
  for (door_rule_t rule = DOOR_OPEN + 1; rule < DOOR_RULES; rule++)
    prom_sample(f, name, counts[rule], "reason", door_rule_name(rule), NULL);
}

static void put_door(FILE *f, const broker_t *b)
{
  put_by_rule(f, "smpl_bastion_connections_dropped_total",
              "Connections that were closed before a worker had them.", b->dropped);
  put_by_rule(f, "smpl_bastion_connections_gave_way_total",
              "Connections that were closed before their login, for another one's sake.",
              b->sessions.counts.gave_way);
}

static void put_bytes(FILE *f, const broker_t *b)
{
  static const char name[] = "smpl_bastion_forwarded_bytes_total";
  prom_head(f, name, "counter", "Bytes forwarded; up is from the client to the target.");
  prom_sample(f, name, b->sessions.counts.bytes_up, "direction", "up", NULL);
  prom_sample(f, name, b->sessions.counts.bytes_down, "direction", "down", NULL);
}

static void put_sessions(FILE *f, const broker_t *b)
{
  uint64_t sessions = 0, channels = 0;
  LIST_EACH(const session_t, s, &b->sessions.list, link) {
    sessions += s->started;
    LIST_EACH(const channel_t, c, &s->traffic.channels, link)
      channels += c->state == CHANNEL_LIVE;
  }
  put(f, "sessions", "gauge", "Sessions that are signed in.", sessions);
  put(f, "connections", "gauge", "Connections, those included that have not signed in.", b->sessions.count);
  put(f, "channels", "gauge", "Forwarded connections that are open.", channels);
}

static void put_audit(FILE *f, broker_t *b)
{
  static const char head[] = "smpl_bastion_audit_head";
  audit_status_t a;
  audit_status(b->host.audit, &a);
  put(f, "audit_writable", "gauge", "1 while records can be written; at 0 nobody gets in.", !a.failing);
  put(f, "audit_lost", "gauge", "1 when at the start records were missing that had been written.", a.lost);
  put(f, "audit_waiting", "gauge", "Records that wait for the disk.", a.waiting);
  put(f, "audit_records_total", "counter", "Number of the last record.", a.written);
  prom_head(f, head, "gauge",
            "Number of the last record, its SHA-256 in the label: for audit verify --head.");
  prom_sample(f, head, a.written, "hash", a.head, NULL);
  if (a.free_bytes != UINT64_MAX)
    put(f, "audit_free_bytes", "gauge", "Free on the audit's disk.", a.free_bytes);
  put(f, "audit_reserve_bytes", "gauge", "Below so much free the greediest user gives way.",
      b->config->audit_reserve);
  put(f, "audit_low", "gauge", "1 while the reserve is in use.", usage_is_low(b->host.usage));
  if (b->sink != NULL)
    put(f, "audit_sink_works", "gauge", "1 while the second sink takes the audit's head.",
        headsink_works(b->sink));
}

static void put_all(FILE *f, broker_t *b)
{
  spawner_status_t t;
  spawner_status(b->host.spawner, &t);
  prom_program(f, &b->about);
  put_sessions(f, b);
  put(f, "connections_accepted_total", "counter", "Connections that were accepted.", b->accepted);
  put_door(f, b);
  put(f, "logins_total", "counter", "Sessions that started.", b->sessions.counts.logins);
  put(f, "login_failures_total", "counter", "Keys and signatures that were refused.",
      b->sessions.counts.login_failures);
  put(f, "channels_opened_total", "counter", "Forwarded connections that were opened.",
      b->sessions.counts.channels);
  put(f, "channels_refused_total", "counter", "Forwarded connections that were refused.",
      b->sessions.counts.channel_refusals);
  put(f, "connection_rate_refused_total", "counter",
      "Forwarded connections and logins above a user's connection_rate.", b->sessions.counts.rate_limited);
  put(f, "requests_refused_total", "counter", "Shells, commands and the like that were refused.",
      b->sessions.counts.refused);
  put(f, "workers_misbehaved_total", "counter", "Workers that broke their contract, and were killed.",
      b->sessions.counts.misbehaved);
  put(f, "workers_died_total", "counter", "Workers that died by themselves.",
      b->sessions.counts.workers_died);
  put_bytes(f, b);
  put(f, "template_ready", "gauge", "1 while connections can be taken.", t.ready);
  put(f, "templates_started_total", "counter", "Template processes that were started.", t.started);
  put(f, "templates_renewed_total", "counter",
      "Template processes that were given up because a worker crashed or misbehaved.", t.renewed);
  put(f, "penalised_sources", "gauge", "Sources with a penalty.", penalty_count(b->host.penalties));
  put(f, "blocks", "gauge", "Users and keys that are blocked.", blocks_count(b->host.blocks));
  put(f, "config_absent", "gauge", "Lines, files and accounts that cannot be read and count as absent.",
      b->config->faults.errors);
  put(f, "config_warnings", "gauge", "What may be meant: empty groups, grants for nobody.",
      b->config->faults.warnings);
  put_audit(f, b);
}

char *metrics_text(broker_t *b, size_t *len)
{
  char *text = NULL;
  FILE *f = open_memstream(&text, len);
  if (f == NULL)
    return NULL;
  put_all(f, b);
  if (fclose(f) == 0)
    return text;
  free(text);
  return NULL;
}
