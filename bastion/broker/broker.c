/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/broker/broker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bastion/broker/account.h"
#include "bastion/audit/audit_file.h"
#include "bastion/audit/audit_kept.h"
#include "bastion/broker/broker_state.h"
#include "bastion/worker/worker_seal.h"
#include "bastion/spawn/launcher.h"
#include "bastion/broker/library.h"
#include "bastion/broker/listener.h"
#include "bastion/broker/metrics.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/process/harden.h"
#include "common/base/log.h"
#include "common/net/loop.h"
#include "common/base/text.h"

enum {
  READY_MS = 15000,   /* for the first template to be ready */
  RETIRED_MS = 60000, /* how long lookups of the configuration before may still be answered */
  PATH_CAP = 4096,
};

static const char worker_name[] = "smpl-bastion-worker";

/* ---- template ---- */

static void say_ready(broker_t *b)
{
  char list[512] = "", text[ENDPOINT_TEXT_MAX];
  const endpoint_t *listen = b->config->listen.items;
  for (size_t i = 0; i < b->config->listen.count; i++) {
    size_t used = strlen(list);
    snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "", endpoint_format(&listen[i], text));
  }
  char keys[HOSTKEY_TEXT_MAX];
  log_info("ready: ssh on %s, host key %s", list, hostkeys_describe(b->config->keys, keys, sizeof keys));
  b->ready_said = true;
  notify_ready(b->notify, list);
}

static void on_template(void *ctx, bool ready)
{
  broker_t *b = ctx;
  if (b->stopping)
    return;
  listener_accept(b, ready);
  if (ready && !b->ready_said)
    say_ready(b);
}

static void on_spawned(void *ctx, uint64_t session, int pid)
{
  session_spawned(ctx, session, pid);
}

static void on_exited(void *ctx, uint64_t session, int status)
{
  session_exited(ctx, session, status);
}

static void on_died(void *ctx, int pid, int status, int signal)
{
  broker_t *b = ctx;
  audit_append(b->audit,
               json_pack("{s:s, s:i, s:i, s:i}", "event", "template-died", "pid", pid, "status", status,
                         "signal", signal),
               NULL, NULL);
}

static void stop_now(broker_t *b);

/* Without the launcher a template that dies is not replaced, and no worker can be killed: better begun anew.
 */
static void on_lost(void *ctx)
{
  broker_t *b = ctx;
  b->exit_status = 1;
  stop_now(b);
}

int broker_find_worker(char *path, size_t cap, diag_t *diag)
{
  ssize_t n = readlink("/proc/self/exe", path, cap - sizeof worker_name - 1);
  if (n <= 0)
    return diag_fail_errno(diag, "/proc/self/exe: cannot be read");
  path[n] = '\0';
  char *slash = strrchr(path, '/');
  if (slash == NULL)
    return diag_fail(diag, SMPL_EINVAL, "%s: no folder", path);
  memcpy(slash + 1, worker_name, sizeof worker_name);
  if (access(path, X_OK) < 0)
    return diag_fail_errno(diag, "%s: cannot be executed", path);
  return SMPL_OK;
}

/* ---- stopping ---- */

static void stop_now(broker_t *b)
{
  b->stopping = true;
  uv_stop(b->loop);
}

static void on_stop_timeout(uv_timer_t *timer)
{
  stop_now(timer->data);
}

/* drain_ms: what open connections are left to finish. */
static void begin_stop(broker_t *b, const char *why, uint64_t drain_ms)
{
  if (b->stopping) { /* asked twice: no more patience */
    b->drained_by = 0;
    stop_now(b);
    return;
  }
  b->stopping = true;
  b->drained_by = clock_mono_ms() + drain_ms;
  log_info("%s: ending %zu connections", why, b->connections);
  notify_stopping(b->notify);
  listener_accept(b, false);
  listener_close_others(b, NULL);
  for (session_t *s = b->sessions; s != NULL; s = s->next)
    if (s->state == STATE_OPEN && s->channel_count > 0 && drain_ms > 0)
      events_stopping(s, drain_ms); /* the sweep ends it when its connections have, or the time is over */
    else
      session_end(s, REASON_SHUTDOWN, NULL);
  if (b->sessions == NULL)
    stop_now(b);
}

static void on_signal(uv_signal_t *handle, int signum)
{
  broker_t *b = handle->data;
  if (signum != SIGHUP) {
    if (signum == SIGINT)
      begin_stop(b, "interrupted", 0);
    else
      begin_stop(b, "told to stop", b->config->limits.drain_ms);
    return;
  }
  diag_t diag = {""};
  size_t ended;
  log_info("reload asked for by SIGHUP");
  broker_reload(b, &ended, &diag);
}

/* ---- time ---- */

static void tell_alive(broker_t *b)
{
  uint64_t every = notify_watchdog_ms(b->notify) / 4, now = clock_mono_ms();
  if (every == 0 || now - b->alive_at < every)
    return;
  b->alive_at = now;
  notify_alive(b->notify);
}

/* Behind the file, never before it. */
static void keep_head(broker_t *b, bool sync)
{
  audit_status_t a;
  uint64_t now = clock_mono_ms();
  if (b->config == NULL || b->config->state == NULL || b->blocks == NULL || b->audit == NULL ||
      (!sync && now - b->kept_at < AUDIT_KEPT_MS))
    return;
  audit_status(b->audit, &a);
  if (a.written == b->kept.seq)
    return;
  b->kept_at = now;
  b->kept.seq = a.written;
  memcpy(b->kept.head, a.head, sizeof b->kept.head);
  bool failed = audit_kept_write(b->config->state, &b->kept, sync) != SMPL_OK;
  if (failed && !b->keep_failing)
    log_error("state: the audit's head cannot be kept: %s", strerror(errno));
  b->keep_failing = failed;
}

static void on_sweep(uv_timer_t *timer)
{
  broker_t *b = timer->data;
  session_sweep(b);
  keep_head(b, false);
  headsink_tell(b->sink, b->audit, false);
  blocks_retry(b->blocks, clock_mono_ms());
  tell_alive(b);
  uint64_t age = clock_mono_ms() - b->started_at;
  if (!b->ready_said && age > READY_MS && !b->stopping) {
    log_error("%s does not get ready; see its messages above", worker_name);
    b->exit_status = 1;
    stop_now(b);
    return;
  }
  spawner_status_t status;
  spawner_status(b->spawner, &status);
  if (!b->stopping)
    listener_accept(b, status.ready);
  else if (b->sessions == NULL)
    stop_now(b);
}

static void on_soon(uv_timer_t *timer)
{
  session_sweep(timer->data);
}

void broker_sweep_soon(broker_t *b)
{
  uv_timer_start(&b->soon, on_soon, 0, 0);
}

/* ---- lookups ---- */

static int new_lookup(broker_t *b, const config_t *c, lookup_t **out, diag_t *diag)
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
  uv_timer_start(&r->timer, on_retired, RETIRED_MS, 0);
  uv_unref((uv_handle_t *)&r->timer);
}

/* ---- reload ---- */

static int check_fixed(const config_t *now, const config_t *next, diag_t *diag)
{
  if (strcmp(now->audit, next->audit) != 0)
    return conf_fail(next->conf, diag, &next->audit, "audit: another file needs a restart");
  if (strcmp(now->control, next->control) != 0)
    return conf_fail(next->conf, diag, &next->control, "control: another socket needs a restart");
  if (memcmp(&now->audit_sink, &next->audit_sink, sizeof now->audit_sink) != 0)
    return conf_fail(next->conf, diag, &next->audit_sink, "audit_sink: another sink needs a restart");
  if ((now->state == NULL) != (next->state == NULL) ||
      (now->state != NULL && strcmp(now->state, next->state) != 0))
    return conf_fail(next->conf, diag, &next->state, "state: another folder needs a restart");
  if ((now->user == NULL) != (next->user == NULL) ||
      (now->user != NULL && strcmp(now->user, next->user) != 0))
    return conf_fail(next->conf, diag, &next->user, "user: another account needs a restart");
  if (now->core_dumps != next->core_dumps)
    return conf_fail(next->conf, diag, &next->core_dumps, "core_dumps: a change needs a restart");
  if (!metrics_conf_same(&now->metrics, &next->metrics))
    return conf_fail(next->conf, diag, &next->metrics,
                     "metrics: another address or other hosts need a restart");
  return SMPL_OK;
}

static void put_in_force(broker_t *b, config_t *next, lookup_t *lookup)
{
  config_t *old = b->config;
  b->config = next;
  b->world.config = next;
  if (lookup != NULL) {
    retire_lookup(b, b->lookup);
    b->lookup = lookup;
    b->world.lookup = lookup;
    catalog_forget(b->catalog);
  }
  listener_close_others(b, next);
  spawner_renew(b->spawner, next, !hostkeys_same(old->keys, next->keys));
  config_free(old);
}

/* A file that was renamed away is left, whatever the configuration says. The new one names the sessions that
 * are open, so that each has a start and an end in it. */
static void rotate_audit(broker_t *b)
{
  diag_t diag = {""};
  bool reopened;
  if (audit_reopen(b->audit, &reopened, &diag))
    log_error("the audit is not reopened: %s", diag.text);
  if (!reopened)
    return;
  log_info("audit: goes on in a new file, %s", b->config->audit);
  for (session_t *s = b->sessions; s != NULL; s = s->next) {
    if (!s->started)
      continue;
    json_t *r = session_record(s, AUDIT_SESSION_CONTINUED);
    json_object_set_new(r, "key", json_string(s->fingerprint));
    session_append(s, r);
  }
}

static uint64_t hard_limit(__rlimit_resource_t what)
{
  struct rlimit limit;
  return getrlimit(what, &limit) < 0 || limit.rlim_max == RLIM_INFINITY ? UINT64_MAX : limit.rlim_max;
}

/* What the system does not let this process or its workers have would otherwise end one session after the
 * other. */
static int check_limits_hold(const broker_t *b, const config_t *c, diag_t *diag)
{
  uint64_t channels = c->limits.channels;
  uint64_t worker_files = WORKER_OWN_FDS + channels, files = session_descriptors_needed(c);
  uint64_t memory = WORKER_MEMORY_BASE + WORKER_MEMORY_CHANNEL * channels;
  if (worker_files > files)
    files = worker_files;
  if (b->descriptors < files)
    return diag_fail(diag, SMPL_ELIMIT,
                     "%s: limits: %llu connections and %llu channels need %llu open files, and this process "
                     "may have %llu: "
                     "raise its limit (LimitNOFILE=, ulimit -Hn) or lower these",
                     b->config_path, (unsigned long long)c->limits.connections, (unsigned long long)channels,
                     (unsigned long long)files, (unsigned long long)b->descriptors);
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
  err = check_fixed(b->config, next, diag);
  if (!err)
    err = check_limits_hold(b, next, diag);
  if (!err && !resolver_conf_same(&b->config->resolver, &next->resolver))
    err = new_lookup(b, next, &lookup, diag);
  if (!err)
    err = listener_open_all(b, next, diag);
  if (err) {
    lookup_free(lookup);
    config_free(next);
    return err;
  }
  put_in_force(b, next, lookup);
  *ended = session_judge_all(b);
  log_info("reloaded %s: %zu users, %zu grants; %zu sessions ended by it", b->config_path, next->users.count,
           config_grant_count(next), *ended);
  faults_log(&next->faults);
  audit_append(b->audit,
               json_pack("{s:s, s:I, s:I}", "event", "reload", "ended", (json_int_t)*ended, "absent",
                         (json_int_t)next->faults.errors),
               NULL, NULL);
  return SMPL_OK;
}

int broker_reload(broker_t *b, size_t *ended, diag_t *diag)
{
  *ended = 0;
  if (b->stopping) {
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

/* ---- start and end ---- */

/* Each session holds three descriptors, each forwarded connection one. */
static uint64_t raise_descriptors(void)
{
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 0;
}

static void watch_signals(broker_t *b)
{
  static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    uv_signal_init(b->loop, &b->signals[i]);
    b->signals[i].data = b;
    uv_signal_start(&b->signals[i], on_signal, numbers[i]);
  }
  uv_timer_init(b->loop, &b->soon);
  b->soon.data = b;
  uv_timer_init(b->loop, &b->sweep);
  b->sweep.data = b;
  uv_timer_start(&b->sweep, on_sweep, BROKER_SWEEP_MS, BROKER_SWEEP_MS);
  b->watching = true;
}

static char *on_metrics(void *ctx, size_t *len)
{
  return metrics_text(ctx, len);
}

/* As root with `user`: binds, becomes that user, and only then reads keys and all that is secret, as every
 * reload will. */
static int load_as_user(broker_t *b, diag_t *diag)
{
  config_t *first;
  int err = config_load_paths(b->config_path, &first, diag);
  if (err)
    return err;
  harden_core_dumps(first->core_dumps);
  if (first->user != NULL)
    err = listener_open_all(b, first, diag);
  if (!err)
    err = account_become(first, diag);
  if (!err)
    err = config_load(b->config_path, &b->config, diag);
  if (!err)
    err = account_can_write(b->config, diag);
  if (!err)
    err = listener_open_all(b, b->config, diag);
  if (!err)
    listener_close_others(b, b->config);
  config_free(first);
  return err;
}

/* What was kept of the head says whether the file is still the one that was written. */
static int open_audit(broker_t *b, diag_t *diag)
{
  audit_kept_read(b->config->state, &b->kept);
  return audit_open(b->loop, b->config->audit, &b->kept, &b->audit, diag);
}

static int start(broker_t *b, diag_t *diag)
{
  char worker[PATH_CAP];
  int launcher = -1;
  spawner_events_t events = {on_template, on_spawned, on_exited, on_died, on_lost, b};
  char library[LIBSSH_VERSION_MAX] = "";
  b->notify = notify_open();
  int err = broker_find_worker(worker, sizeof worker, diag);
  if (!err)
    library_ask(worker, library);
  if (!err)
    err = launcher_fork(worker, &launcher, diag);
  if (!err)
    err = load_as_user(b, diag);
  if (!err)
    err = library_check(library, &b->config->libssh, b->config_path, diag);
  if (!err)
    err = check_limits_hold(b, b->config, diag);
  if (!err) /* the audit makes a thread */
    walls_fence(b->config, b->config_path, &b->walls);
  if (!err)
    err = open_audit(b, diag);
  if (!err)
    audit_watch_space(b->audit, space_judge, b);
  if (!err && b->config->state != NULL)
    err = blocks_open(b->config->state, &b->blocks, diag);
  if (!err)
    err = new_lookup(b, b->config, &b->lookup, diag);
  if (!err)
    err = control_server_open(b->loop, b->config->control, admin_handle, b, &b->control, diag);
  if (!err && b->config->metrics.address.port != 0)
    err = metrics_server_open(b->loop, &b->config->metrics, on_metrics, b, &b->metrics, diag);
  if (!err)
    err = spawner_new(b->loop, worker, launcher, b->config, &events, &b->spawner, diag);
  else if (launcher >= 0)
    close(launcher);
  if (err)
    return err;
  faults_log(&b->config->faults);
  if (b->blocks != NULL)
    log_info("%zu users and keys are blocked (%s)", blocks_count(b->blocks), b->config->state);
  b->sink = headsink_new(&b->config->audit_sink, b->config->audit);
  b->world = (finder_world_t){b->loop, b->config, b->lookup};
  if (catalog_new(&b->world, &b->catalog))
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  watch_signals(b);
  walls_seal(b->config, &b->walls);
  return SMPL_OK;
}

/* Sessions that did not end in time are cut; their records are written. */
static void stop(broker_t *b)
{
  uv_timer_t patience;
  listener_close_others(b, NULL);
  control_server_close(b->control);
  metrics_server_close(b->metrics);
  session_force_all(b);
  if (b->audit != NULL)
    session_tell_repeats(b, true);
  spawner_close(b->spawner);
  if (b->audit != NULL) {
    audit_finish(b->audit);
    keep_head(b, true);
    headsink_tell(b->sink, b->audit, true);
  }
  audit_close(b->audit);
  blocks_close(b->blocks);
  headsink_free(b->sink);
  notify_close(b->notify);
  catalog_free(b->catalog);
  lookup_free(b->lookup);
  if (b->watching) {
    for (size_t i = 0; i < sizeof b->signals / sizeof *b->signals; i++)
      uv_close((uv_handle_t *)&b->signals[i], NULL);
    uv_close((uv_handle_t *)&b->sweep, NULL);
    uv_close((uv_handle_t *)&b->soon, NULL);
  }
  uv_timer_init(b->loop, &patience); /* handles of dying processes may never close by themselves */
  patience.data = b;
  uv_timer_start(&patience, on_stop_timeout, 500, 0);
  uv_unref((uv_handle_t *)&patience);
  uv_run(b->loop, UV_RUN_DEFAULT);
  penalty_free(b->penalties);
  usage_free(b->usage);
  known_free(b->known);
  door_free(b->door);
  config_free(b->config);
}

int broker_run(const char *config_path)
{
  static uv_loop_t loop;
  broker_t *b = calloc(1, sizeof *b);
  diag_t diag = {""};
  if (b == NULL || loop_init(&loop) != SMPL_OK) {
    free(b);
    log_error("out of memory");
    return 1;
  }
  b->descriptors = raise_descriptors();
  signal(SIGXFSZ, SIG_IGN); /* a full audit file is an error to handle, not an end */
  b->loop = &loop;
  b->config_path = config_path;
  b->started_at = clock_mono_ms();
  b->about = (prom_program_t){.prefix = "smpl_bastion", .started_ms = clock_wall_ms()};
  b->penalties = penalty_new();
  b->usage = usage_new();
  b->known = known_new();
  b->door = door_new();
  bool memory = b->penalties != NULL && b->usage != NULL && b->known != NULL && b->door != NULL;
  if (!memory)
    diag_fail(&diag, SMPL_ENOMEM, "out of memory");
  if (!memory || start(b, &diag)) {
    log_failure("smpl-bastion", diag.text);
    b->exit_status = 1;
  } else {
    uv_run(&loop, UV_RUN_DEFAULT);
    if (b->exit_status == 0)
      log_info("stopped");
  }
  int status = b->exit_status;
  stop(b);
  uv_loop_close(&loop);
  free(b);
  return status;
}
