/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/control/server.h"

#include <malloc.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <uv.h>

#include "common/base/clock.h"
#include "common/net/control.h"
#include "common/base/error.h"
#include "common/process/harden.h"
#include "common/base/log.h"
#include "common/net/loop.h"
#include "common/process/notify.h"
#include "resolver/control/admin.h"
#include "resolver/control/explain.h"
#include "resolver/limits.h"
#include "resolver/control/matrix.h"
#include "resolver/control/metrics.h"
#include "resolver/control/saver.h"
#include "resolver/io/sockets.h"
#include "resolver/control/watch.h"
#include "resolver/io/worker.h"

enum {
  SIGNALS = 3,
  WAITING_MAX = CONTROL_CLIENTS_MAX, /* requests that wait for a reload: one a connection */
  READY_MAX = 1024,
  FILES_KEPT = 128,     /* descriptors left for everything but TCP connections and listeners */
  MMAP_MIN = 256 << 10, /* allocations from this size on are mappings of their own */
  CONNS_MIN = 16,       /* of a worker, whatever the limit of descriptors says */
};

typedef struct waiting {
  control_request_t *requests[WAITING_MAX];
  size_t count;
} waiting_t;

struct server {
  const char *config;
  const command_set_t *commands;
  uv_loop_t loop;
  uv_signal_t signals[SIGNALS];
  bool stopping;
  uv_timer_t drain, watchdog;
  uint64_t drain_until_ms;
  notify_t *notify;
  walls_t walls;
  query_log_t *query_log; /* NULL: not asked for */
  uv_timer_t log_timer;
  uv_work_t pool;
  watch_t *watch; /* NULL: not asked for */
  control_server_t *control;
  metrics_server_t *metrics;
  worker_shared_t shared;
  dns_worker_t **workers;
  unsigned worker_count;
  admin_totals_t *totals;
  saver_t *saver; /* of the last good copies of zones */
  uint64_t started_mono_ms;
  prom_program_t about;

  /* the reload under way: `fresh` and `diag` are the loading thread's until it is done */
  uv_work_t work;
  bool loading;
  bool again; /* asked for once more meanwhile: what was read may be old */
  snapshot_t *fresh;
  diag_t diag;
  waiting_t now, next;
};

static void log_warning(void *ctx, const char *text)
{
  (void)ctx;
  log_warn("%s", text);
}

static void log_warnings(const snapshot_t *s)
{
  settings_warnings(snapshot_settings(s), log_warning, NULL);
  for (size_t i = 0; i < snapshot_zone_count(s); i++) {
    zone_facts_t f = zone_facts(snapshot_zone(s, i));
    if (f.warnings > 0)
      log_warn("zone %s: %u rrsets have records of different TTLs: the lowest of each is used",
               zone_name(snapshot_zone(s, i)), f.warnings);
  }
}

/* Beside the copies that are there: what a restart does not remember they do. */
static void log_serials_of_copies(const snapshot_t *s)
{
  const char *state = snapshot_settings(s)->state;
  for (size_t i = 0; state != NULL && i < snapshot_zone_count(s); i++)
    snapshot_warn_of_copy(s, i, log_warning, NULL);
}

/* A start with bad zones is not to be overlooked. */
static void log_bad_zones(const snapshot_t *s)
{
  for (size_t i = 0; i < snapshot_zone_count(s); i++) {
    const snapshot_origin_t *o = snapshot_zone_origin(s, i);
    char made[CLOCK_ISO_MAX];
    if (o->source == SNAPSHOT_COPY)
      log_error("zone '%s' is served from its last good copy (serial %u, of %s): %s",
                zone_name(snapshot_zone(s, i)), (unsigned)o->copy.serial,
                clock_format_iso(made, o->copy.made_ms), o->why);
    else if (o->source == SNAPSHOT_NOWHERE)
      log_error("zone '%s' is not available, its names are SERVFAIL: %s", zone_name(snapshot_zone(s, i)),
                o->why);
  }
}

static void log_sizes(const char *what, const snapshot_t *s)
{
  unsigned long long names = 0;
  for (size_t i = 0; i < snapshot_zone_count(s); i++)
    names += zone_facts(snapshot_zone(s, i)).names;
  log_info("%s: %zu views, %zu zones, %llu names", what, snapshot_view_count(s), snapshot_zone_count(s),
           names);
}

/* ---- reload ---- */

static void load_in_thread(uv_work_t *work)
{
  server_t *s = work->data;
  s->diag.text[0] = '\0';
  if (snapshot_load(s->config, s->worker_count, &s->fresh, &s->diag) == SMPL_OK)
    snapshot_serial_warnings(s->fresh, s->shared.snapshot, log_warning, NULL);
}

static void start_reload(server_t *s);

static void tell_ready(server_t *s)
{
  char text[200];
  snprintf(text, sizeof text, "serving %zu zones to %zu views%s", snapshot_zone_count(s->shared.snapshot),
           snapshot_view_count(s->shared.snapshot),
           s->diag.text[0] != '\0' ? "; the last reload failed" : "");
  notify_ready(s->notify, text);
}

static void on_files_changed(void *ctx)
{
  server_t *s = ctx;
  if (s->stopping)
    return;
  log_info("reload: a file changed");
  start_reload(s);
}

/* As the configuration in force says. */
static int set_watch(server_t *s, diag_t *diag)
{
  int err = SMPL_OK;
  if (!snapshot_settings(s->shared.snapshot)->watch) {
    watch_close(s->watch);
    s->watch = NULL;
    return err;
  }
  if (s->watch == NULL)
    err = watch_open(&s->loop, on_files_changed, s, &s->watch, diag);
  return err ? err : watch_set(s->watch, s->config, s->shared.snapshot, diag);
}

static void reply_waiting(server_t *s, int err)
{
  for (size_t i = 0; i < s->now.count; i++) {
    if (err)
      control_reply_error(s->now.requests[i], "%s; the old data stays in force", s->diag.text);
    else
      control_reply(s->now.requests[i],
                    json_pack("{s:b, s:o}", "ok", 1, "data", admin_sizes(s->shared.snapshot)));
  }
  s->now.count = 0;
}

static void on_loaded(uv_work_t *work, int status)
{
  server_t *s = work->data;
  snapshot_t *fresh = s->fresh;
  int err = fresh == NULL || status != 0 ? SMPL_EINVAL : SMPL_OK;
  s->fresh = NULL;
  s->loading = false;
  if (!err)
    err = settings_check_fixed(snapshot_settings(s->shared.snapshot), snapshot_settings(fresh), &s->diag);
  if (err) {
    diag_fail(&s->diag, err, "%s: the reload was cut short", s->config);
    prom_reloaded(&s->about, false, clock_wall_ms());
    log_error("reload: %s; the old data stays in force", s->diag.text);
    watch_all(s->watch);
    snapshot_free(fresh);
  } else {
    snapshot_t *old = worker_swap(&s->shared, fresh);
    snapshot_inherit(fresh, old);
    if (admin_totals_fold(s->totals, old))
      log_error("reload: out of memory: counters start anew");
    saver_retire(s->saver, old);
    saver_save(s->saver, fresh);
    malloc_trim(0);
    prom_reloaded(&s->about, true, clock_wall_ms());
    log_warnings(fresh);
    log_sizes("reloaded", fresh);
    diag_t diag = {""};
    if (!s->stopping && set_watch(s, &diag))
      log_error("%s: changes of some files will not be noticed", diag.text);
  }
  if (!s->stopping)
    tell_ready(s);
  reply_waiting(s, err);
  if (s->again && !s->stopping)
    start_reload(s);
}

static void start_reload(server_t *s)
{
  if (s->loading) {
    s->again = true;
    return;
  }
  s->again = false;
  s->now = s->next;
  s->next.count = 0;
  s->loading = true;
  s->work.data = s;
  notify_reloading(s->notify);
  if (uv_queue_work(&s->loop, &s->work, load_in_thread, on_loaded) != 0) {
    s->loading = false;
    diag_fail(&s->diag, SMPL_ESYS, "%s: no thread to load with", s->config);
    tell_ready(s);
    reply_waiting(s, SMPL_ESYS);
  }
}

/* ---- control socket ---- */

static admin_state_t state_of(const server_t *s)
{
  admin_state_t a = {.config = s->config,
                     .snapshot = s->shared.snapshot,
                     .totals = s->totals,
                     .about = s->about,
                     .uptime_ms = clock_mono_ms() - s->started_mono_ms,
                     .walls = s->walls,
                     .query_log = s->query_log,
                     .copies_kept = saver_works(s->saver),
                     .last_error = s->loading ? "" : s->diag.text};
  for (unsigned i = 0; i < s->worker_count; i++) {
    a.tcp_connections += worker_tcp_count(s->workers[i]);
    worker_latency_add(s->workers[i], &a.latency);
  }
  return a;
}

static char *current_metrics(void *ctx, size_t *len)
{
  admin_state_t state = state_of(ctx);
  return metrics_text(&state, len);
}

static int open_metrics(server_t *s, diag_t *diag)
{
  const metrics_conf_t *metrics = &snapshot_settings(s->shared.snapshot)->metrics;
  return metrics->address.port == 0
             ? SMPL_OK
             : metrics_server_open(&s->loop, metrics, current_metrics, s, &s->metrics, diag);
}

void server_answer_status(server_t *s, control_request_t *request, const json_t *body)
{
  admin_state_t state = state_of(s);
  (void)body;
  control_reply(request, admin_status(&state));
}

void server_answer_zones(server_t *s, control_request_t *request, const json_t *body)
{
  admin_state_t state = state_of(s);
  (void)body;
  control_reply(request, admin_zones(&state));
}

void server_answer_stats(server_t *s, control_request_t *request, const json_t *body)
{
  admin_state_t state = state_of(s);
  (void)body;
  control_reply(request, admin_stats(&state));
}

/* Takes over reply; NULL: diag says why there is none. */
static void reply_or_error(control_request_t *request, json_t *reply, const diag_t *diag)
{
  if (reply != NULL)
    control_reply(request, reply);
  else
    control_reply_error(request, "%s", diag->text);
}

void server_answer_explain(server_t *s, control_request_t *request, const json_t *body)
{
  explain_question_t q;
  diag_t diag = {""};
  json_t *reply = NULL;
  if (explain_read(json_string_value(json_object_get(body, "name")),
                   json_string_value(json_object_get(body, "type")),
                   json_string_value(json_object_get(body, "from")),
                   json_string_value(json_object_get(body, "listener")), &q, &diag) == SMPL_OK)
    reply = explain(s->shared.snapshot, &q, &diag);
  reply_or_error(request, reply, &diag);
}

void server_answer_matrix(server_t *s, control_request_t *request, const json_t *body)
{
  diag_t diag = {""};
  json_t *reply = matrix(s->shared.snapshot, &diag);
  (void)body;
  reply_or_error(request, reply, &diag);
}

void server_answer_reload(server_t *s, control_request_t *request, const json_t *body)
{
  (void)body;
  if (s->next.count == WAITING_MAX) {
    control_reply_error(request, "too many wait for a reload");
    return;
  }
  s->next.requests[s->next.count++] = request;
  start_reload(s);
}

/* Whoever the socket's file mode lets in may ask all there is to ask. */
static void on_request(void *ctx, control_request_t *request, const control_peer_t *peer, json_t *body)
{
  server_t *s = ctx;
  const void *row;
  diag_t diag = {""};
  (void)peer;
  if (command_take(s->commands, SERVER_ROLE, json_string_value(json_object_get(body, "cmd")), &row, &diag))
    control_reply_error(request, "%s", diag.text);
  else
    ((const server_command_t *)row)->answer(s, request, body);
}

/* ---- start and end ---- */

/* Before the control socket closes: afterwards nobody would hear it. */
static void reply_stopping(waiting_t *w)
{
  for (size_t i = 0; i < w->count; i++)
    control_reply_error(w->requests[i], "the resolver is stopping: it did not reload");
  w->count = 0;
}

static void end(server_t *s)
{
  if (uv_is_closing((uv_handle_t *)&s->drain))
    return;
  uv_close((uv_handle_t *)&s->drain, NULL);
  saver_close(s->saver);
  for (size_t i = 0; i < SIGNALS; i++)
    uv_close((uv_handle_t *)&s->signals[i], NULL);
}

static void on_drain(uv_timer_t *timer)
{
  server_t *s = timer->data;
  size_t left = 0;
  for (unsigned i = 0; i < s->worker_count; i++)
    left +=
        worker_draining(s->workers[i]) ? worker_tcp_count(s->workers[i]) + worker_waiting(s->workers[i]) : 1;
  if (left > 0 && clock_mono_ms() < s->drain_until_ms)
    return;
  if (left > 0)
    log_warn("stopping: %zu tcp connections with unfinished queries are cut off", left);
  end(s);
}

/* Unfinished TCP queries get their answers first; a second signal does not wait for them. */
static void stop(server_t *s)
{
  if (s->stopping) {
    end(s);
    return;
  }
  s->stopping = true;
  notify_stopping(s->notify);
  reply_stopping(&s->now);
  reply_stopping(&s->next);
  control_server_close(s->control);
  s->control = NULL;
  metrics_server_close(s->metrics);
  s->metrics = NULL;
  watch_close(s->watch);
  s->watch = NULL;
  uv_close((uv_handle_t *)&s->watchdog, NULL);
  uv_close((uv_handle_t *)&s->log_timer, NULL);
  s->drain_until_ms = clock_mono_ms() + DRAIN_MAX_MS;
  for (unsigned i = 0; i < s->worker_count; i++)
    worker_drain(s->workers[i]);
  uv_timer_start(&s->drain, on_drain, 0, DRAIN_STEP_MS);
}

/* The service manager hears of us only if every worker has answered since the last time. */
static void on_watchdog(uv_timer_t *timer)
{
  server_t *s = timer->data;
  bool all = true;
  for (unsigned i = 0; i < s->worker_count; i++)
    all = worker_ping(s->workers[i]) && all;
  if (all)
    notify_alive(s->notify);
}

static void on_log_timer(uv_timer_t *timer)
{
  server_t *s = timer->data;
  query_log_drain(s->query_log);
}

static int open_query_log(server_t *s, diag_t *diag)
{
  const snapshot_t *snapshot = s->shared.snapshot;
  endpoint_t listeners[LISTENERS_MAX];
  size_t count = snapshot_listener_count(snapshot);
  if (snapshot_settings(snapshot)->query_log.file == NULL)
    return SMPL_OK;
  for (size_t i = 0; i < count; i++)
    listeners[i] = snapshot_listener(snapshot, i);
  int err =
      query_log_open(snapshot_settings(snapshot), s->worker_count, listeners, count, &s->query_log, diag);
  for (unsigned i = 0; !err && i < s->worker_count; i++)
    worker_log(s->workers[i], query_log_ring(s->query_log, i));
  return err;
}

static void start_timers(server_t *s)
{
  if (s->query_log != NULL)
    uv_timer_start(&s->log_timer, on_log_timer, QUERY_LOG_STEP_MS, QUERY_LOG_STEP_MS);
  uint64_t watchdog_ms = notify_watchdog_ms(s->notify);
  if (watchdog_ms >= WATCHDOG_SIGNS)
    uv_timer_start(&s->watchdog, on_watchdog, 0, watchdog_ms / WATCHDOG_SIGNS);
}

static void on_signal(uv_signal_t *handle, int number)
{
  server_t *s = handle->data;
  if (number == SIGHUP && s->stopping)
    return;
  if (number == SIGHUP) {
    log_info("reload: asked for by SIGHUP");
    start_reload(s);
    return;
  }
  log_info("stopping");
  stop(s);
}

static int watch_signals(server_t *s)
{
  static const int numbers[SIGNALS] = {SIGTERM, SIGINT, SIGHUP};
  for (size_t i = 0; i < SIGNALS; i++) {
    uv_signal_init(&s->loop, &s->signals[i]);
    s->signals[i].data = s;
    if (uv_signal_start(&s->signals[i], on_signal, numbers[i]) != 0)
      return SMPL_ESYS;
  }
  return SMPL_OK;
}

/* TCP connections need descriptors: takes as many as it may have, says how many connections that allows a
 * worker. */
static int limits_for(const server_t *s, worker_limits_t *out, diag_t *diag)
{
  size_t conns = TCP_CONNS_MAX;
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    size_t taken = FILES_KEPT + s->worker_count * (2 * snapshot_listener_count(s->shared.snapshot) + 2);
    size_t left = files.rlim_max > taken ? (size_t)files.rlim_max - taken : 0;
    if (left < CONNS_MIN)
      return diag_fail(diag, SMPL_ELIMIT,
                       "%s: %u workers need %zu open files, and this process may have %llu: raise its limit "
                       "(LimitNOFILE=, "
                       "ulimit -Hn) or lower workers",
                       s->config, s->worker_count, taken + CONNS_MIN, (unsigned long long)files.rlim_max);
    if (left < conns)
      conns = left;
  }
  conns /= s->worker_count;
  *out = (worker_limits_t){conns < CONNS_MIN ? CONNS_MIN : conns, TCP_BUFFERS_MAX / s->worker_count,
                           LATER_PLACES_MAX / s->worker_count};
  return SMPL_OK;
}

static int open_workers(server_t *s, diag_t *diag)
{
  s->worker_count = snapshot_workers(s->shared.snapshot);
  s->workers = calloc(s->worker_count, sizeof(dns_worker_t *));
  if (s->workers == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  int err = SMPL_OK;
  for (size_t i = 0; !err && i < snapshot_listener_count(s->shared.snapshot); i++) {
    endpoint_t at = snapshot_listener(s->shared.snapshot, i);
    err = sockets_probe(&at, snapshot_settings(s->shared.snapshot)->free_bind, diag);
  }
  worker_limits_t limits = {0};
  if (!err)
    err = limits_for(s, &limits, diag);
  if (!err && cookie_secret_make(&s->shared.secret))
    err = diag_fail(diag, SMPL_ESYS, "no random bytes for the secret of DNS cookies");
  for (unsigned i = 0; !err && i < s->worker_count; i++)
    err = worker_new(i, &s->shared, &limits, &s->workers[i], diag);
  return err;
}

static void log_ready(const server_t *s)
{
  char line[READY_MAX];
  size_t used = 0;
  for (size_t i = 0; i < snapshot_listener_count(s->shared.snapshot); i++) {
    char text[ENDPOINT_TEXT_MAX];
    endpoint_t at = snapshot_listener(s->shared.snapshot, i);
    int n = snprintf(line + used, sizeof line - used, "%s%s (udp, tcp)", i > 0 ? ", " : "",
                     endpoint_format(&at, text));
    if (n < 0 || (size_t)n >= sizeof line - used)
      break;
    used += (size_t)n;
  }
  const endpoint_t *metrics = &snapshot_settings(s->shared.snapshot)->metrics.address;
  char text[ENDPOINT_TEXT_MAX];
  if (metrics->port != 0)
    log_info("ready: dns on %.*s; http on %s (metrics)", (int)used, line, endpoint_format(metrics, text));
  else
    log_info("ready: dns on %.*s", (int)used, line);
}

static void do_nothing(uv_work_t *work)
{
  (void)work;
}

static void nothing_done(uv_work_t *work, int status)
{
  (void)work;
  (void)status;
}

/* The process that writes copies is made while there is little that it would inherit. */
static int start_saver(server_t *s, diag_t *diag)
{
  settings_t settings;
  keeper_t *keeper = NULL;
  int err = settings_load(s->config, &settings, diag);
  if (err)
    return err;
  harden_core_dumps(settings.core_dumps);
  err = keeper_start(&settings, &keeper, diag);
  settings_free(&settings);
  s->saver = saver_new(&s->loop, keeper);
  if (!err && s->saver == NULL)
    err = diag_fail(diag, SMPL_ENOMEM, "out of memory");
  return err;
}

static int start(server_t *s, diag_t *diag)
{
  /* A zone's big buffers go back to the system when a reload frees them; left alone, malloc would raise
   * this bound to the size of the zone and keep them. */
  mallopt(M_MMAP_THRESHOLD, MMAP_MIN);
  int err = start_saver(s, diag);
  if (!err)
    err = snapshot_load_start(s->config, 0, &s->shared.snapshot, diag);
  if (err)
    return err;
  log_serials_of_copies(s->shared.snapshot);
  log_warnings(s->shared.snapshot);
  log_bad_zones(s->shared.snapshot);
  s->totals = admin_totals_new();
  if (s->totals == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  err = open_workers(s, diag);
  if (!err)
    err = control_server_open(&s->loop, snapshot_settings(s->shared.snapshot)->control, on_request, s,
                              &s->control, diag);
  if (!err)
    err = open_query_log(s, diag);
  if (!err)
    err = open_metrics(s, diag);
  if (!err)
    err = set_watch(s, diag);
  if (!err && !snapshot_all_from_files(s->shared.snapshot))
    watch_all(s->watch); /* what would mend them may be any file */
  if (!err && watch_signals(s))
    err = diag_fail(diag, SMPL_ESYS, "cannot watch for signals");
  if (!err)
    err = walls_drop(s->shared.snapshot, s->config, &s->walls, diag);
  if (!err)
    walls_fence(s->shared.snapshot, s->config, &s->walls);
  for (unsigned i = 0; !err && i < s->worker_count; i++)
    err = worker_start(s->workers[i], snapshot_settings(s->shared.snapshot)->pin, diag);
  if (err)
    return err;
  /* The threads that will read files exist from now on: none is made behind the walls. */
  uv_queue_work(&s->loop, &s->pool, do_nothing, nothing_done);
  walls_seal(&s->walls, saver_socket(s->saver));
  s->started_mono_ms = clock_mono_ms();
  s->about = (prom_program_t){.prefix = "smpl_resolver", .started_ms = clock_wall_ms()};
  s->about.loaded_ms = s->about.started_ms;
  log_sizes("loaded", s->shared.snapshot);
  start_timers(s);
  log_ready(s);
  tell_ready(s);
  saver_save(s->saver, s->shared.snapshot);
  return SMPL_OK;
}

/* What a start that failed leaves on the loop. */
static void abandon(server_t *s)
{
  control_server_close(s->control);
  metrics_server_close(s->metrics);
  watch_close(s->watch);
  saver_close(s->saver);
  uv_close((uv_handle_t *)&s->drain, NULL);
  uv_close((uv_handle_t *)&s->watchdog, NULL);
  uv_close((uv_handle_t *)&s->log_timer, NULL);
}

static void close_any(uv_handle_t *handle, void *ctx)
{
  (void)ctx;
  if (!uv_is_closing(handle))
    uv_close(handle, NULL);
}

int server_run(const char *config, const command_set_t *commands, diag_t *diag)
{
  server_t *s = calloc(1, sizeof *s);
  if (s == NULL || loop_init(&s->loop) != SMPL_OK) {
    free(s);
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  }
  s->config = config;
  s->commands = commands;
  uv_timer_init(&s->loop, &s->drain);
  uv_timer_init(&s->loop, &s->watchdog);
  uv_timer_init(&s->loop, &s->log_timer);
  s->log_timer.data = s;
  s->drain.data = s;
  s->watchdog.data = s;
  s->notify = notify_open();
  int err = start(s, diag);
  if (err) {
    abandon(s);
    uv_walk(&s->loop, close_any, NULL);
  }
  uv_run(&s->loop, UV_RUN_DEFAULT);
  for (unsigned i = 0; s->workers != NULL && i < s->worker_count; i++)
    worker_stop(s->workers[i]);
  free(s->workers);
  if (s->query_log != NULL)
    query_log_drain(s->query_log);
  query_log_free(s->query_log);
  uv_loop_close(&s->loop);
  saver_free(s->saver);
  snapshot_free(s->shared.snapshot);
  admin_totals_free(s->totals);
  notify_close(s->notify);
  free(s);
  return err;
}
