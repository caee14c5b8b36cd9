/* SPDX-License-Identifier: Apache-2.0 */
#include "app/program/admin.h"

#include <unistd.h>

#include "app/http/front.h"
#include "common/base/clock.h"

static json_t *iso(uint64_t wall_ms)
{
  char text[CLOCK_ISO_MAX];
  clock_format_iso(text, wall_ms);
  return json_string(text);
}

static json_t *describe(const admin_t *a)
{
  const prom_program_t *about = &a->program->about;
  uint64_t loaded = about->loaded_ms != 0 ? about->loaded_ms : about->started_ms;
  return json_pack("{s:b, s:s, s:s, s:s, s:I, s:o, s:o, s:I, s:I, s:s, s:O, s:I, s:b}", "ok", 1, "version",
                   SMPL_VERSION, "service", a->service->name, "config", a->config, "pid",
                   (json_int_t)getpid(), "started", iso(about->started_ms), "loaded", iso(loaded), "reloads",
                   (json_int_t)about->reloads, "failed_reloads", (json_int_t)about->failures, "last_error",
                   reload_error(a->reload), "restart", reload_restart(a->reload), "connections",
                   (json_int_t)front_connections(a->program->front), "ending", a->program->leaving);
}

void admin_status(const admin_t *a, control_request_t *request)
{
  control_reply(request, describe(a));
}

void admin_reload(const admin_t *a, control_request_t *request)
{
  reload_ask(a->reload, request);
}

static void on_request(void *ctx, control_request_t *request, const control_peer_t *peer, json_t *body)
{
  const admin_t *a = ctx;
  const char *cmd = json_string_value(json_object_get(body, "cmd"));
  const void *row = NULL;
  diag_t diag = {.text = ""};
  (void)peer;
  if (command_take(a->commands, ADMIN_ROLE, cmd, &row, &diag))
    control_reply_error(request, "%s", diag.text);
  else
    ((const admin_command_t *)row)->answer(a, request);
}

int admin_open(uv_loop_t *loop, const char *path, admin_t *admin, control_server_t **out, diag_t *diag)
{
  return control_server_open(loop, path, on_request, admin, out, diag);
}
