/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/broker/broker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bastion/broker/admin.h"
#include "bastion/audit/audit_kept.h"
#include "bastion/broker/broker_state.h"
#include "bastion/spawn/launcher.h"
#include "bastion/broker/library.h"
#include "bastion/broker/listener.h"
#include "bastion/broker/metrics.h"
#include "bastion/broker/reload.h"
#include "bastion/broker/writable.h"
#include "bastion/session/events.h"
#include "bastion/session/life.h"
#include "bastion/session/record.h"
#include "bastion/session/space.h"
#include "bastion/session/sweep.h"
#include "common/base/clock.h"
#include "common/conf/account.h"
#include "common/base/count.h"
#include "common/base/error.h"
#include "common/process/harden.h"
#include "common/base/log.h"
#include "common/net/loop.h"
#include "common/base/text.h"

enum { PATH_CAP = 4096 };

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
  if (b->sessions.stopping)
    return;
  listener_accept(b, ready);
  if (ready && !b->ready_said)
    say_ready(b);
}

static void on_spawned(void *ctx, uint64_t session, int pid)
{
  life_spawned(&((broker_t *)ctx)->sessions, session, pid);
}

static void on_exited(void *ctx, uint64_t session, int status)
{
  life_exited(&((broker_t *)ctx)->sessions, session, status);
}

static void on_died(void *ctx, int pid, int status, int signal)
{
  broker_t *b = ctx;
  audit_append(b->host.audit,
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
  b->sessions.stopping = true;
  uv_stop(b->loop);
}

static void on_stop_timeout(uv_timer_t *timer)
{
  stop_now(timer->data);
}

/* drain_ms: what open connections are left to finish. */
static void begin_stop(broker_t *b, const char *why, uint64_t drain_ms)
{
  if (b->sessions.stopping) { /* asked twice: no more patience */
    b->sessions.drained_by = 0;
    stop_now(b);
    return;
  }
  b->sessions.stopping = true;
  b->sessions.drained_by = clock_mono_ms() + drain_ms;
  log_info("%s: ending %zu connections", why, b->sessions.count);
  notify_stopping(b->notify);
  listener_accept(b, false);
  listener_close_others(b, NULL);
  LIST_EACH(session_t, s, &b->sessions.list, link)
    if (s->state == STATE_OPEN && s->traffic.count > 0 && drain_ms > 0)
      events_stopping(s, drain_ms); /* the sweep ends it when its connections have, or the time is over */
    else
      session_end(s, REASON_SHUTDOWN, NULL);
  if (list_empty(&b->sessions.list))
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
  reload_now(b, &ended, &diag);
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
  if (b->config == NULL || b->config->state == NULL || b->host.blocks == NULL || b->host.audit == NULL ||
      (!sync && now - b->kept_at < AUDIT_KEPT_MS))
    return;
  audit_status(b->host.audit, &a);
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
  sweep_all(&b->sessions);
  keep_head(b, false);
  headsink_tell(b->sink, b->host.audit, false);
  blocks_retry(b->host.blocks, clock_mono_ms());
  tell_alive(b);
  uint64_t age = clock_mono_ms() - b->started_at;
  if (!b->ready_said && age > BROKER_READY_MS && !b->sessions.stopping) {
    log_error("%s does not get ready; see its messages above", worker_name);
    b->exit_status = 1;
    stop_now(b);
    return;
  }
  spawner_status_t status;
  spawner_status(b->host.spawner, &status);
  if (!b->sessions.stopping)
    listener_accept(b, status.ready);
  else if (list_empty(&b->sessions.list))
    stop_now(b);
}

static void on_soon(uv_timer_t *timer)
{
  sweep_all(&((broker_t *)timer->data)->sessions);
}

static void sweep_soon(void *ctx)
{
  broker_t *b = ctx;
  uv_timer_start(&b->soon, on_soon, 0, 0);
}

static void on_gave_way(void *ctx, const endpoint_t *newcomer, door_rule_t rule, const char *text)
{
  listener_log_door(ctx, newcomer, rule, text);
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
  for (size_t i = 0; i < COUNT_OF(numbers); i++) {
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
    err = account_become(&(account_conf_t){first->conf, &first->user}, ACCOUNT_KEEP_PORTS, NULL, diag);
  if (!err)
    err = config_load(b->config_path, &b->config, diag);
  if (!err)
    err = writable_check(b->config, diag);
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
  return audit_open(b->loop, b->config->audit, &b->kept, &b->host.audit, diag);
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
  b->host.world = (finder_world_t){.loop = b->loop, .config = b->config};
  if (!err)
    err = library_check(library, &b->config->libssh, b->config_path, diag);
  if (!err)
    err = reload_check_limits(b, b->config, diag);
  if (!err) /* the audit makes a thread */
    walls_fence(b->config, b->config_path, &b->walls);
  if (!err)
    err = open_audit(b, diag);
  if (!err)
    audit_watch_space(b->host.audit, space_judge, &b->sessions);
  if (!err && b->config->state != NULL)
    err = blocks_open(b->config->state, &b->host.blocks, diag);
  if (!err)
    err = reload_lookup(b, b->config, &b->host.world.lookup, diag);
  if (!err)
    err = control_server_open(b->loop, b->config->control, admin_handle, b, &b->control, diag);
  if (!err && b->config->metrics.address.port != 0)
    err = metrics_server_open(b->loop, &b->config->metrics, on_metrics, b, &b->metrics, diag);
  if (!err)
    err = spawner_new(b->loop, worker, launcher, b->config, &events, &b->host.spawner, diag);
  else if (launcher >= 0)
    close(launcher);
  if (err)
    return err;
  faults_log(&b->config->faults);
  if (b->host.blocks != NULL)
    log_info("%zu users and keys are blocked (%s)", blocks_count(b->host.blocks), b->config->state);
  b->sink = headsink_new(&b->config->audit_sink, b->config->audit);
  if (catalog_new(&b->host.world, &b->host.catalog))
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
  life_force_all(&b->sessions);
  if (b->host.audit != NULL)
    record_tell_repeats(&b->sessions, true);
  spawner_close(b->host.spawner);
  if (b->host.audit != NULL) {
    audit_finish(b->host.audit);
    keep_head(b, true);
    headsink_tell(b->sink, b->host.audit, true);
  }
  audit_close(b->host.audit);
  blocks_close(b->host.blocks);
  headsink_free(b->sink);
  notify_close(b->notify);
  catalog_free(b->host.catalog);
  lookup_free(b->host.world.lookup);
  if (b->watching) {
    for (size_t i = 0; i < COUNT_OF(b->signals); i++)
      uv_close((uv_handle_t *)&b->signals[i], NULL);
    uv_close((uv_handle_t *)&b->sweep, NULL);
    uv_close((uv_handle_t *)&b->soon, NULL);
  }
  uv_timer_init(b->loop, &patience); /* handles of dying processes may never close by themselves */
  patience.data = b;
  uv_timer_start(&patience, on_stop_timeout, 500, 0);
  uv_unref((uv_handle_t *)&patience);
  uv_run(b->loop, UV_RUN_DEFAULT);
  penalty_free(b->host.penalties);
  usage_free(b->host.usage);
  known_free(b->host.known);
  door_free(b->host.door);
  config_free(b->config);
}

int broker_run(const char *config_path, const command_set_t *commands)
{
  static uv_loop_t loop;
  broker_t *b = calloc(1, sizeof *b);
  diag_t diag = {""};
  if (b == NULL || loop_init(&loop) != SMPL_OK) {
    free(b);
    log_error("out of memory");
    return 1;
  }
  b->host.descriptors = raise_descriptors();
  signal(SIGXFSZ, SIG_IGN); /* a full audit file is an error to handle, not an end */
  b->loop = &loop;
  b->config_path = config_path;
  b->commands = commands;
  b->started_at = clock_mono_ms();
  b->about = (prom_program_t){.prefix = "smpl_bastion", .started_ms = clock_wall_ms()};
  b->host.ctx = b;
  b->host.sweep_soon = sweep_soon;
  b->host.on_gave_way = on_gave_way;
  list_init(&b->listeners);
  life_init(&b->sessions, &b->host);
  b->host.penalties = penalty_new();
  b->host.usage = usage_new();
  b->host.known = known_new();
  b->host.door = door_new();
  bool memory =
      b->host.penalties != NULL && b->host.usage != NULL && b->host.known != NULL && b->host.door != NULL;
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
