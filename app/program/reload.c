/* SPDX-License-Identifier: Apache-2.0 */
#include "app/program/reload.h"

#include <stdlib.h>
#include <string.h>

#include "app/program/certificates.h"
#include "app/program/loaded.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"

typedef struct waiting {
  control_request_t *requests[RELOAD_WAITING_MAX];
  size_t count;
} waiting_t;

struct reload {
  reload_conf_t conf;
  size_t listener_count;
  loaded_t *live;           /* NULL: that of the start */
  loaded_t **owners;        /* of each http listener: where its clients and hosts are; NULL: of the start */
  listener_conf_t *present; /* what the front decides by; NULL: conf.listeners */
  json_t *restart;          /* what needs one */
  char error[DIAG_TEXT_MAX];
  bool stopping;

  /* the one under way: `fresh`, `err` and `diag` are the thread's until it is done */
  uv_work_t work;
  bool loading;
  bool again; /* asked for once more meanwhile: what was read may be old */
  loaded_t *fresh;
  int err;
  diag_t diag;
  waiting_t now, next;
};

/* All that is made before anything takes effect. */
typedef struct step {
  lookup_t *lookup;
  access_file_t access;
  listener_conf_t *listeners;
  loaded_t **owners;
  json_t *restart;
} step_t;

const settings_t *reload_settings(const reload_t *r)
{
  return r->live != NULL ? &r->live->settings : r->conf.start;
}

const char *reload_error(const reload_t *r)
{
  return r->error;
}

const json_t *reload_restart(const reload_t *r)
{
  return r->restart;
}

/* What is made */

/* One that is as it was keeps what it has learnt of its servers. */
static int make_lookup(const reload_t *r, const settings_t *fresh, lookup_t **out, diag_t *diag)
{
  *out = NULL;
  if (fresh->file->resolver.servers.count == 0)
    return SMPL_OK;
  if (*r->conf.lookup != NULL &&
      resolver_conf_same(&reload_settings(r)->file->resolver, &fresh->file->resolver)) {
    *out = lookup_hold(*r->conf.lookup);
    return SMPL_OK;
  }
  lookup_conf_t conf = resolver_conf_lookup(&fresh->file->resolver);
  return lookup_new(r->conf.loop, &conf, out, diag);
}

/* A listener that is another one in the file (of address, rules or kind) stays as it is, clients and hosts
 * too: what was written for the other one does not fit it. */
static int make_listeners(const reload_t *r, step_t *step, diag_t *diag)
{
  const listener_settings_t *start = r->conf.start->file->listeners.items;
  const listener_conf_t *present = r->present != NULL ? r->present : r->conf.listeners;
  step->listeners = calloc(r->listener_count, sizeof *step->listeners);
  step->owners = calloc(r->listener_count, sizeof(loaded_t *));
  if (step->listeners == NULL || step->owners == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  for (size_t i = 0; i < r->listener_count; i++) {
    int at = loaded_listener(&start[i], &r->fresh->settings);
    step->listeners[i] = present[i];
    if (at < 0) {
      step->owners[i] = r->owners[i] != NULL ? loaded_hold(r->owners[i]) : NULL;
      continue;
    }
    step->owners[i] = loaded_hold(r->fresh);
    const listener_conf_t *fresh = &r->fresh->listeners[at];
    step->listeners[i].clients = fresh->clients;
    step->listeners[i].client_count = fresh->client_count;
    step->listeners[i].admit.hosts = fresh->admit.hosts;
    step->listeners[i].admit.host_count = fresh->admit.host_count;
  }
  return SMPL_OK;
}

static void undo(const reload_t *r, step_t *step)
{
  lookup_free(step->lookup);
  access_file_close(&step->access);
  for (size_t i = 0; step->owners != NULL && i < r->listener_count; i++)
    loaded_free(step->owners[i]);
  free(step->owners);
  free(step->listeners);
  json_decref(step->restart);
}

static int tell_service(const reload_t *r, const step_t *step, diag_t *diag)
{
  const settings_t *s = &r->fresh->settings;
  if (s->service->reload == NULL)
    return SMPL_OK;
  service_env_t env = settings_env(s);
  env.loop = r->conf.loop;
  env.lookup = step->lookup;
  return s->service->reload(r->conf.program->service, &env, diag);
}

static int reach(const reload_t *r, diag_t *diag)
{
  diag_t wall = {.text = ""};
  int err = walls_reach(r->conf.walls, &r->fresh->settings, &wall);
  return err ? diag_fail(diag, err, "%s: %s", r->conf.path, wall.text) : SMPL_OK;
}

/* Everything that can fail; the service is the last to be asked, and with its word it is done. */
static int make(reload_t *r, step_t *step, diag_t *diag)
{
  const settings_t *fresh = &r->fresh->settings;
  int err = loaded_check(r->conf.start, fresh, diag);
  if (!err)
    err = reach(r, diag);
  if (!err && (step->restart = loaded_restart(r->conf.start, fresh)) == NULL)
    err = diag_fail(diag, SMPL_ENOMEM, "out of memory");
  if (!err)
    err = make_lookup(r, fresh, &step->lookup, diag);
  if (!err)
    err = make_listeners(r, step, diag);
  if (!err)
    err = access_file_open(fresh->file->access_log, &step->access, diag);
  return err ? err : tell_service(r, step, diag);
}

/* What takes effect */

static void adopt_certificates(const reload_t *r)
{
  const listener_settings_t *start = r->conf.start->file->listeners.items;
  for (size_t i = 0; i < r->listener_count; i++) {
    int at = loaded_listener(&start[i], &r->fresh->settings);
    if (at < 0 || r->conf.listeners[i].tls == NULL)
      continue;
    if (tls_adopt(r->conf.listeners[i].tls, r->fresh->listeners[at].tls))
      certificates_tell(&r->conf.listeners[i], true);
    r->fresh->listeners[at].tls = NULL;
  }
}

static size_t put_in_force(reload_t *r, step_t *step)
{
  const settings_t *s = &r->fresh->settings;
  front_live_t live = {.listeners = step->listeners,
                       .balancers = s->file->balancers.items,
                       .balancer_count = s->file->balancers.count,
                       .internal_keys = r->fresh->internal_keys,
                       .drain_ms = s->file->drain.finish};
  access_use(r->conf.access, &step->access);
  lookup_free(*r->conf.lookup);
  *r->conf.lookup = step->lookup;
  adopt_certificates(r);
  size_t cut = front_set(r->conf.front, &live);
  for (size_t i = 0; i < r->listener_count; i++)
    loaded_free(r->owners[i]);
  free(r->owners);
  free(r->present);
  loaded_free(r->live);
  json_decref(r->restart);
  r->owners = step->owners;
  r->present = step->listeners;
  r->live = r->fresh;
  r->restart = step->restart;
  return cut;
}

/* What is said */

static void log_warning(void *ctx, const char *text)
{
  (void)ctx;
  log_warn("%s", text);
}

static void collect_warning(void *ctx, const char *text)
{
  json_array_append_new(ctx, json_string(text));
}

static void log_outcome(const reload_t *r, size_t cut)
{
  size_t i;
  json_t *what;
  log_info("reloaded %s: %zu internal keys accepted, %zu connections ended by it", r->conf.path,
           reload_settings(r)->internal_key_count, cut);
  log_info("access log opened anew");
  settings_each_warning(reload_settings(r), log_warning, NULL);
  json_array_foreach(r->restart, i, what)
  {
    log_warn("%s: needs a restart; until then it stays as it was", json_string_value(what));
  }
}

static void reply_waiting(reload_t *r, int err, size_t cut)
{
  for (size_t i = 0; i < r->now.count; i++) {
    json_t *warnings = json_array();
    if (err) {
      control_reply_error(r->now.requests[i], "%s; the configuration before stays in force", r->error);
      json_decref(warnings);
      continue;
    }
    settings_each_warning(reload_settings(r), collect_warning, warnings);
    control_reply(r->now.requests[i], json_pack("{s:b, s:I, s:O, s:o}", "ok", 1, "ended", (json_int_t)cut,
                                                "restart", r->restart, "warnings", warnings));
  }
  r->now.count = 0;
}

/* The log file was moved away, whatever is wrong with the configuration. */
static void reopen_log(const reload_t *r)
{
  diag_t diag = {.text = ""};
  if (access_reopen(r->conf.access, &diag))
    log_error("%s", diag.text);
  else
    log_info("access log opened anew");
}

static int finish(reload_t *r, size_t *cut)
{
  step_t step = {.lookup = NULL, .access = {.fd = -1}};
  int err = r->err;
  if (!err)
    err = make(r, &step, &r->diag);
  if (!err) {
    *cut = put_in_force(r, &step);
    return SMPL_OK;
  }
  undo(r, &step);
  loaded_free(r->fresh);
  return err;
}

static void begin(reload_t *r);

static void on_loaded(uv_work_t *work, int status)
{
  reload_t *r = work->data;
  size_t cut = 0;
  r->loading = false;
  if (status != 0 || r->stopping) {
    loaded_free(r->fresh);
    r->fresh = NULL;
    return;
  }
  int err = finish(r, &cut);
  r->fresh = NULL;
  r->error[0] = '\0';
  prom_reloaded(&r->conf.program->about, err == SMPL_OK, clock_wall_ms());
  if (err) {
    text_copy(r->error, sizeof r->error, r->diag.text);
    log_error("not reloaded, the configuration before stays in force: %s", r->error);
    reopen_log(r);
  } else {
    r->conf.program->restart = json_array_size(r->restart) > 0;
    log_outcome(r, cut);
  }
  notify_ready(r->conf.notify, err ? "serving; the last reload failed" : "serving; reloaded");
  reply_waiting(r, err, cut);
  if (r->again)
    begin(r);
}

static void load_in_thread(uv_work_t *work)
{
  reload_t *r = work->data;
  r->diag.text[0] = '\0';
  r->err = loaded_new(r->conf.path, r->conf.services, r->conf.built_in, &r->fresh, &r->diag);
}

static void begin(reload_t *r)
{
  r->again = r->loading;
  if (r->loading)
    return;
  r->now = r->next;
  r->next.count = 0;
  r->loading = true;
  r->work.data = r;
  notify_reloading(r->conf.notify);
  uv_queue_work(r->conf.loop, &r->work, load_in_thread, on_loaded); /* fails for want of a function alone */
}

void reload_ask(reload_t *r, control_request_t *request)
{
  if (r->stopping || (request != NULL && r->next.count == RELOAD_WAITING_MAX)) {
    if (request != NULL)
      control_reply_error(request, r->stopping ? "the service is ending: it does not reload"
                                               : "too many wait for a reload; try again");
    return;
  }
  if (request != NULL)
    r->next.requests[r->next.count++] = request;
  begin(r);
}

/* Beginning and end */

reload_t *reload_new(const reload_conf_t *conf)
{
  reload_t *r = calloc(1, sizeof *r);
  if (r == NULL)
    return NULL;
  r->conf = *conf;
  r->listener_count = conf->start->file->listeners.count;
  r->owners = calloc(r->listener_count, sizeof(loaded_t *));
  r->restart = json_array();
  if (r->owners != NULL && r->restart != NULL)
    return r;
  reload_free(r);
  return NULL;
}

static void refuse(waiting_t *w)
{
  for (size_t i = 0; i < w->count; i++)
    control_reply_error(w->requests[i], "the service is ending: it did not reload");
  w->count = 0;
}

void reload_stop(reload_t *r)
{
  if (r == NULL || r->stopping)
    return;
  r->stopping = true;
  refuse(&r->now);
  refuse(&r->next);
}

void reload_free(reload_t *r)
{
  if (r == NULL)
    return;
  for (size_t i = 0; r->owners != NULL && i < r->listener_count; i++)
    loaded_free(r->owners[i]);
  free(r->owners);
  free(r->present);
  loaded_free(r->live);
  json_decref(r->restart);
  free(r);
}
