/* SPDX-License-Identifier: Apache-2.0 */
#include "app/program/run.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "app/limits.h"
#include "app/program/admin.h"
#include "app/program/certificates.h"
#include "app/program/reload.h"
#include "app/program/settings.h"
#include "app/http/text_out.h"
#include "app/program/walls.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/process/harden.h"
#include "common/base/log.h"
#include "common/net/loop.h"
#include "common/dns/lookup.h"
#include "common/process/notify.h"
#include "common/base/text.h"

enum { SIGNAL_COUNT = 3 };

static const int signals[SIGNAL_COUNT] = {SIGTERM, SIGINT, SIGHUP};

/* Everything that lives while the service runs. */
typedef struct runner {
  uv_loop_t loop;
  settings_t settings;
  built_in_t *built_in;
  const char *path;
  const service_t *const *services;
  const command_set_t *commands; /* of the control socket */
  internal_keys_t *internal_keys;
  listener_conf_t *listeners;
  access_log_t *access;
  lookup_t *lookup;
  walls_t walls;
  program_t program;
  bool open; /* service->open succeeded */
  front_t *front;
  reload_t *reload;
  admin_t admin;
  control_server_t *control; /* NULL: none is configured */
  uv_signal_t signals[SIGNAL_COUNT];
  uv_timer_t tls_timer, alive_timer;
  notify_t *notify; /* NULL: nobody asked to be told */
  uint64_t files;   /* that may be open */
  int status;
} runner_t;

/* Ending: listeners first, then the service, then what it worked with; the loop ends when nothing is left on
 * it. */

static void on_service_closed(void *ctx)
{
  runner_t *r = ctx;
  r->open = false;
  reload_stop(r->reload);
  control_server_close(r->control);
  r->control = NULL;
  lookup_free(r->lookup);
  r->lookup = NULL;
  for (size_t i = 0; i < SIGNAL_COUNT; i++)
    uv_close((uv_handle_t *)&r->signals[i], NULL);
  uv_close((uv_handle_t *)&r->tls_timer, NULL);
  uv_close((uv_handle_t *)&r->alive_timer, NULL);
}

static void on_drained(void *ctx, size_t abandoned)
{
  runner_t *r = ctx;
  if (abandoned > 0) {
    log_error("%zu requests were not answered in time; ending without them", abandoned);
    access_flush(r->access);
    _exit(1);
  }
  if (r->open)
    r->settings.service->close(r->program.service, on_service_closed, r);
  else
    on_service_closed(r);
}

static void end(runner_t *r, int status, uint64_t lag_ms)
{
  r->program.leaving = true;
  r->status = status;
  reload_stop(r->reload);
  if (r->front != NULL)
    front_drain(r->front, lag_ms, on_drained, r);
  else
    on_drained(r, 0);
}

/* Certificates */

static void on_tls_timer(uv_timer_t *timer)
{
  const runner_t *r = timer->data;
  certificates_refresh(r->listeners, r->settings.file->listeners.count);
}

static void watch_certificates(runner_t *r)
{
  for (size_t i = 0; i < r->settings.file->listeners.count; i++) {
    if (r->listeners[i].tls == NULL)
      continue;
    certificates_tell(&r->listeners[i], false);
    uv_timer_start(&r->tls_timer, on_tls_timer, LIMIT_TLS_LOOK_MS, LIMIT_TLS_LOOK_MS);
  }
}

static void log_warning(void *ctx, const char *text)
{
  (void)ctx;
  log_warn("%s", text);
}

static void on_signal(uv_signal_t *handle, int signum)
{
  runner_t *r = handle->data;
  if (signum == SIGHUP) {
    log_info("reload: asked for by SIGHUP");
    if (r->reload != NULL) /* the start went well */
      reload_ask(r->reload, NULL);
    return;
  }
  if (r->program.leaving) {
    log_warn("asked again to end: ending at once");
    access_flush(r->access);
    _exit(1);
  }
  notify_stopping(r->notify);
  char lag[32];
  uint64_t lag_ms = reload_settings(r->reload)->file->drain.lag;
  if (lag_ms > 0)
    log_info("ending: still serving for %s, then finishing open connections (%zu now)",
             text_format_duration(lag, sizeof lag, lag_ms), front_connections(r->front));
  else
    log_info("ending: finishing %zu open connections", front_connections(r->front));
  end(r, 0, lag_ms);
}

/* Starting */

/* As many descriptors as we are allowed: connections are bounded by limits of our own. Returns how many that
 * is. */
static uint64_t raise_descriptor_limit(void)
{
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
    return 0;
  rlim_t before = limit.rlim_cur;
  limit.rlim_cur = limit.rlim_max;
  return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_max : before;
}

/* Without descriptors the system would stop accepting, idle connections or not: our own bound must come
 * first. */
static int bound_connections(front_limits_t *limits, uint64_t files, size_t listeners, diag_t *diag)
{
  if (files < LIMIT_FILES_MIN + LIMIT_FILES_LISTENER * listeners)
    return diag_fail(
        diag, SMPL_ELIMIT,
        "%zu http listeners need %zu open files, and this process may have %llu: raise its limit "
        "(LimitNOFILE=, ulimit -n)",
        listeners, LIMIT_FILES_MIN + LIMIT_FILES_LISTENER * listeners, (unsigned long long)files);
  limits->connections = front_connections_for(files, listeners);
  if (limits->connections < LIMIT_CONNECTIONS)
    log_warn(
        "%zu connections for each http listener instead of %d: only %llu open files are allowed (ulimit -n)",
        limits->connections, LIMIT_CONNECTIONS, (unsigned long long)files);
  return SMPL_OK;
}

static int open_lookup(runner_t *r, diag_t *diag)
{
  if (r->settings.file->resolver.servers.count == 0)
    return SMPL_OK;
  lookup_conf_t conf = resolver_conf_lookup(&r->settings.file->resolver);
  return lookup_new(&r->loop, &conf, &r->lookup, diag);
}

static int open_service(runner_t *r, diag_t *diag)
{
  service_env_t env = settings_env(&r->settings);
  env.loop = &r->loop;
  env.lookup = r->lookup;
  int err = r->settings.service->open(&env, &r->program.service, diag);
  r->open = err == SMPL_OK;
  return err;
}

/* What the configuration says is judged before anything is opened. */
static int prepare(runner_t *r, const char *path, const service_t *const *services, diag_t *diag)
{
  route_source_t sources[SERVICE_SOURCES];
  int err = settings_load(path, services, &r->settings, diag);
  if (err)
    return err;
  harden_core_dumps(r->settings.file->core_dumps);
  err = built_in_new(r->settings.service, &r->program, &r->built_in, diag);
  if (err)
    return err;
  built_in_sources(r->built_in, r->settings.service, NULL, sources);
  err = settings_listeners(&r->settings, sources, SERVICE_SOURCES, &r->listeners, diag);
  if (!err)
    err = settings_check_database(&r->settings, diag);
  if (!err)
    err = settings_check_control(&r->settings, diag);
  if (!err) {
    r->internal_keys = internal_keys_new(r->settings.internal_keys, r->settings.internal_key_count);
    err = r->internal_keys == NULL ? diag_fail(diag, SMPL_ENOMEM, "out of memory") : SMPL_OK;
  }
  if (!err)
    err = access_open(r->settings.file->access_log, &r->access, diag);
  r->program.statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (!err)
    walls_fence(&r->settings, path, &r->walls);
  return err;
}

/* The tables again, now with the service's state for its handlers, and the sockets. */
static int open_front(runner_t *r, diag_t *diag)
{
  route_source_t sources[SERVICE_SOURCES];
  settings_listeners_free(r->listeners, &r->settings);
  built_in_sources(r->built_in, r->settings.service, r->program.service, sources);
  int err = settings_listeners(&r->settings, sources, SERVICE_SOURCES, &r->listeners, diag);
  if (err)
    return err;
  front_conf_t conf = {.listeners = r->listeners,
                       .listener_count = r->settings.file->listeners.count,
                       .free_bind = r->settings.file->free_bind,
                       .access = r->access,
                       .balancers = r->settings.file->balancers.items,
                       .balancer_count = r->settings.file->balancers.count,
                       .internal_keys = r->internal_keys,
                       .limits = front_limits_default};
  conf.limits.drain_ms = r->settings.file->drain.finish;
  err = bound_connections(&conf.limits, r->files, conf.listener_count, diag);
  if (err)
    return err;
  err = front_open(&r->loop, &conf, &r->front, diag);
  r->program.front = r->front;
  return err;
}

static int open_reload(runner_t *r, diag_t *diag)
{
  reload_conf_t conf = {.loop = &r->loop,
                        .path = r->path,
                        .services = r->services,
                        .start = &r->settings,
                        .listeners = r->listeners,
                        .built_in = r->built_in,
                        .walls = &r->walls,
                        .access = r->access,
                        .front = r->front,
                        .program = &r->program,
                        .lookup = &r->lookup,
                        .notify = r->notify};
  r->reload = reload_new(&conf);
  return r->reload == NULL ? diag_fail(diag, SMPL_ENOMEM, "out of memory") : SMPL_OK;
}

static int open_control(runner_t *r, diag_t *diag)
{
  r->admin = (admin_t){r->path, r->settings.service, &r->program, r->reload, r->commands};
  return r->settings.file->control == NULL
             ? SMPL_OK
             : admin_open(&r->loop, r->settings.file->control, &r->admin, &r->control, diag);
}

static int start(runner_t *r, diag_t *diag)
{
  for (size_t i = 0; i < SIGNAL_COUNT; i++) {
    uv_signal_init(&r->loop, &r->signals[i]);
    r->signals[i].data = r;
    uv_signal_start(&r->signals[i], on_signal, signals[i]);
  }
  uv_timer_init(&r->loop, &r->tls_timer);
  r->tls_timer.data = r;
  uv_timer_init(&r->loop, &r->alive_timer);
  r->alive_timer.data = r;
  int err = open_lookup(r, diag);
  if (!err)
    err = open_service(r, diag);
  if (!err)
    err = open_front(r, diag);
  if (!err)
    err = open_reload(r, diag);
  return err ? err : open_control(r, diag);
}

static void on_alive(uv_timer_t *timer)
{
  const runner_t *r = timer->data;
  notify_alive(r->notify);
}

/* The service manager hears that we serve, and from now on, if it asked for it, that the loop still turns. */
static void tell_manager(runner_t *r, const char *status)
{
  notify_ready(r->notify, status);
  uint64_t watchdog = notify_watchdog_ms(r->notify);
  if (watchdog > 0)
    uv_timer_start(&r->alive_timer, on_alive, watchdog / 2, watchdog / 2);
}

static void say_ready(runner_t *r)
{
  char text[LOG_LINE_MAX / 2];
  char address[ENDPOINT_TEXT_MAX];
  text_out_t out = {.buf = text, .cap = sizeof text - 1};
  for (size_t i = 0; i < r->settings.file->listeners.count; i++) {
    if (r->listeners[i].tls != NULL)
      OUT_LITERAL(&out, ", https ");
    else
      OUT_LITERAL(&out, ", http ");
    out_text(&out, r->listeners[i].name);
    OUT_LITERAL(&out, " on ");
    out_text(&out, endpoint_format(&r->listeners[i].address, address));
  }
  text[out.len] = '\0';
  log_info("ready: %s service%s", r->settings.service->name, text);
  tell_manager(r, text + 2);
}

static void release(runner_t *r)
{
  reload_free(r->reload);
  notify_close(r->notify);
  front_free(r->front);
  settings_listeners_free(r->listeners, &r->settings);
  access_close(r->access);
  internal_keys_free(r->internal_keys);
  built_in_free(r->built_in);
  settings_free(&r->settings);
}

int run(const char *path, const service_t *const *services, const command_set_t *commands)
{
  diag_t diag = {.text = ""};
  runner_t r = {.path = path, .services = services, .commands = commands, .status = 0};
  json_object_seed(0); /* before there are threads */
  r.files = raise_descriptor_limit();
  r.notify = notify_open();
  int err = prepare(&r, path, services, &diag);
  if (!err && loop_init(&r.loop) != SMPL_OK)
    err = diag_fail(&diag, SMPL_ESYS, "no event loop");
  if (err) {
    log_failure("smpl-app", diag.text);
    release(&r);
    return 1;
  }
  if (start(&r, &diag)) {
    log_failure("smpl-app", diag.text);
    end(&r, 1, 0);
  } else {
    settings_each_warning(&r.settings, log_warning, NULL);
    watch_certificates(&r);
    walls_seal();
    r.program.about = (prom_program_t){.prefix = "smpl_app",
                                       .label = "service",
                                       .value = r.settings.service->name,
                                       .started_ms = clock_wall_ms()};
    say_ready(&r);
  }
  uv_run(&r.loop, UV_RUN_DEFAULT);
  if (uv_loop_close(&r.loop) < 0)
    log_warn("the event loop still had handles at the end");
  release(&r);
  return r.status;
}
