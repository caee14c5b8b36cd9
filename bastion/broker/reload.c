/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/broker/reload.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "bastion/audit/audit_file.h"
#include "bastion/broker/listener.h"
#include "bastion/session/record.h"
#include "bastion/session/shares.h"
#include "bastion/session/sweep.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"

/* ---- lookups ---- */

int reload_lookup(broker_t *b, const config_t *c, lookup_t **out, diag_t *diag)
{
  lookup_conf_t conf = resolver_conf_lookup(&c->resolver);
  return lookup_new(b->loop, &conf, out, diag);
}

typedef struct retired {
  uv_timer_t timer;
  lookup_t *lookup;
} retired_t;

static void on_retired_closed(uv_handle_t *handle)
{
  free(handle->data);
}

static void on_retired(uv_timer_t *timer)
{
  retired_t *r = timer->data;
  lookup_free(r->lookup);
  uv_close((uv_handle_t *)timer, on_retired_closed);
}

/* Questions under way get their answers from the servers they were asked of. */
static void retire_lookup(broker_t *b, lookup_t *old)
{
  retired_t *r = calloc(1, sizeof *r);
  if (r == NULL)
    return; /* kept for good rather than pulled from under its questions */
  r->lookup = old;
  r->timer.data = r;
  uv_timer_init(b->loop, &r->timer);
  uv_timer_start(&r->timer, on_retired, RELOAD_RETIRED_MS, 0);
  uv_unref((uv_handle_t *)&r->timer);
}

/* ---- reload ---- */

static void put_in_force(broker_t *b, config_t *next, lookup_t *lookup)
{
  config_t *old = b->config;
  b->config = next;
  b->host.world.config = next;
  if (lookup != NULL) {
    retire_lookup(b, b->host.world.lookup);
    b->host.world.lookup = lookup;
    catalog_forget(b->host.catalog);
  }
  listener_close_others(b, next);
  spawner_renew(b->host.spawner, next, !hostkeys_same(old->keys, next->keys));
  config_free(old);
}

/* A file that was renamed away is left, whatever the configuration says. The new one names the sessions that
 * are open, so that each has a start and an end in it. */
static void rotate_audit(broker_t *b)
{
  diag_t diag = {""};
  bool reopened;
  if (audit_reopen(b->host.audit, &reopened, &diag))
    log_error("the audit is not reopened: %s", diag.text);
  if (!reopened)
    return;
  log_info("audit: goes on in a new file, %s", b->config->audit);
  LIST_EACH(session_t, s, &b->sessions.list, link) {
    if (!s->started)
      continue;
    json_t *r = record_of(s, AUDIT_SESSION_CONTINUED);
    json_object_set_new(r, "key", json_string(s->who.fingerprint));
    record_append(s, r);
  }
}

static uint64_t hard_limit(__rlimit_resource_t what)
{
  struct rlimit limit;
  return getrlimit(what, &limit) < 0 || limit.rlim_max == RLIM_INFINITY ? UINT64_MAX : limit.rlim_max;
}

/* What the system does not let this process or its workers have would otherwise end one session after the
 * other. */
int reload_check_limits(const broker_t *b, const config_t *c, diag_t *diag)
{
  uint64_t channels = c->limits.channels;
  uint64_t worker_files = WORKER_OWN_FDS + channels, files = shares_descriptors_needed(c);
  uint64_t memory = WORKER_MEMORY_BASE + WORKER_MEMORY_CHANNEL * channels;
  if (worker_files > files)
    files = worker_files;
  if (b->host.descriptors < files)
    return diag_fail(diag, SMPL_ELIMIT,
                     "%s: limits: %llu connections and %llu channels need %llu open files, and this process "
                     "may have %llu: "
                     "raise its limit (LimitNOFILE=, ulimit -Hn) or lower these",
                     b->config_path, (unsigned long long)c->limits.connections, (unsigned long long)channels,
                     (unsigned long long)files, (unsigned long long)b->host.descriptors);
  if (hard_limit(RLIMIT_AS) < memory)
    return diag_fail(diag, SMPL_ELIMIT,
                     "%s: limits: a session of %llu channels needs %llu MiB of address space, and a process "
                     "may have %llu: "
                     "raise its limit (LimitAS=, ulimit -Hv) or lower channels",
                     b->config_path, (unsigned long long)channels, (unsigned long long)(memory >> 20),
                     (unsigned long long)(hard_limit(RLIMIT_AS) >> 20));
  return SMPL_OK;
}

static int reload(broker_t *b, size_t *ended, diag_t *diag)
{
  config_t *next;
  lookup_t *lookup = NULL;
  *ended = 0;
  rotate_audit(b);
  int err = config_load(b->config_path, &next, diag);
  if (err)
    return err;
  err = config_check_fixed(b->config, next, diag);
  if (!err)
    err = reload_check_limits(b, next, diag);
  if (!err && !resolver_conf_same(&b->config->resolver, &next->resolver))
    err = reload_lookup(b, next, &lookup, diag);
  if (!err)
    err = listener_open_all(b, next, diag);
  if (err) {
    lookup_free(lookup);
    config_free(next);
    return err;
  }
  put_in_force(b, next, lookup);
  *ended = sweep_judge_all(&b->sessions);
  log_info("reloaded %s: %zu users, %zu grants; %zu sessions ended by it", b->config_path, next->users.count,
           config_grant_count(next), *ended);
  faults_log(&next->faults);
  audit_append(b->host.audit,
               json_pack("{s:s, s:I, s:I}", "event", "reload", "ended", (json_int_t)*ended, "absent",
                         (json_int_t)next->faults.errors),
               NULL, NULL);
  return SMPL_OK;
}

int reload_now(broker_t *b, size_t *ended, diag_t *diag)
{
  *ended = 0;
  if (b->sessions.stopping) {
    log_warn("not reloaded: the bastion is stopping");
    return diag_fail(diag, SMPL_ECLOSED, "the bastion is stopping");
  }
  notify_reloading(b->notify);
  int err = reload(b, ended, diag);
  notify_ready(b->notify, err ? "the configuration before is in force: the new one has an error"
                          : b->config->faults.errors > 0 ? "reloaded; what could not be read counts as absent"
                                                         : "reloaded");
  b->reload_error[0] = '\0';
  if (err) {
    text_copy(b->reload_error, sizeof b->reload_error, diag->text);
    log_error("not reloaded, the configuration before stays in force: %s", diag->text);
  }
  prom_reloaded(&b->about, err == SMPL_OK, clock_wall_ms());
  return err;
}
