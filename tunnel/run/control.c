/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/run/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/net/control.h"
#include "common/base/error.h"
#include "common/base/text.h"

struct control {
  control_server_t *server;
  control_of_t of;
};

int control_folder(char *path, size_t cap, bool make, diag_t *diag)
{
  const char *run = getenv("XDG_RUNTIME_DIR");
  struct stat st;
  int n = run && run[0] == '/' && access(run, W_OK) == 0
              ? snprintf(path, cap, "%s/smpl-tunnel", run)
              : snprintf(path, cap, "/tmp/smpl-tunnel-%u", (unsigned)geteuid());
  if (n < 0 || (size_t)n + sizeof "/4294967295.sock" > cap)
    return diag_fail(diag, SMPL_ELIMIT, "%s: too long for a socket", run);
  if (make && mkdir(path, 0700) < 0 && errno != EEXIST)
    return diag_fail_errno(diag, "%s", path);
  if (lstat(path, &st) < 0)
    return errno == ENOENT ? SMPL_ENOENT : diag_fail_errno(diag, "%s", path);
  if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077))
    return diag_fail(diag, SMPL_EDENIED, "%s must be a folder of yours that nobody else can enter", path);
  return SMPL_OK;
}

static json_t *describe_route(const route_t *r)
{
  char at[FORWARD_PATH_MAX + 8];
  route_local(r, at, sizeof at);
  if (r->forward->kind == FORWARD_SOCKET)
    return json_pack("{s:s, s:s, s:i}", "local", at, "target", r->name, "target_port", (int)r->port);
  if (r->forward->kind == FORWARD_SOCKS)
    return json_pack("{s:s, s:i, s:s}", "local", at, "port", (int)r->local_port, "kind", "socks5");
  return json_pack("{s:s, s:i, s:s, s:i}", "local", at, "port", (int)r->local_port, "target", r->name,
                   "target_port", (int)r->port);
}

static json_t *describe(const control_of_t *of)
{
  const life_t *life = of->life;
  uint64_t up;
  uint64_t down;
  uint64_t since = life->state == LIFE_UP ? life->up_at : life->lost_at;
  json_t *forwards = json_array();
  for (size_t i = 0; i < of->routes->count; i++)
    json_array_append_new(forwards, describe_route(&of->routes->items[i]));
  carry_bytes(of->carry, &up, &down);
  return json_pack("{s:b, s:i, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "ok", 1, "pid", (int)getpid(),
                   "state", life_name(life->state), "bastion", life->bastion, "since_s",
                   (json_int_t)((clock_mono_ms() - since) / 1000), "open",
                   (json_int_t)carry_count_in(of->carry, CONNECTION_CARRIED), "held",
                   (json_int_t)carry_count_in(of->carry, CONNECTION_HELD), "carried",
                   (json_int_t)carry_connections(of->carry), "bytes_up", (json_int_t)up, "bytes_down",
                   (json_int_t)down, "forwards", forwards);
}

static void on_request(void *ctx, control_request_t *request, const control_peer_t *peer, json_t *body)
{
  const control_of_t *of = ctx;
  const char *cmd = json_string_value(json_object_get(body, "cmd"));
  if (peer->uid != geteuid() && peer->uid != 0) {
    control_reply_error(request, "this tunnel is another user's");
  } else if (cmd && strcmp(cmd, "status") == 0) {
    control_reply(request, describe(of));
  } else if (cmd && strcmp(cmd, "stop") == 0) {
    say_step(of->life->say, "told to stop");
    control_reply(request, json_pack("{s:b}", "ok", 1));
    of->stop(of->ctx); /* after the answer is written */
  } else {
    control_reply_error(request, "unknown cmd: status and stop are known");
  }
}

control_t *control_start(uv_loop_t *loop, const control_of_t *of)
{
  char path[FORWARD_PATH_MAX];
  diag_t diag = {0};
  control_t *c = calloc(1, sizeof *c);
  int err = control_folder(path, sizeof path, true, &diag);
  if (!c || err) {
    say_note(of->life->say, "status and stop will not find this tunnel: %s", diag.text);
    free(c);
    return NULL;
  }
  c->of = *of;
  size_t used = strlen(path);
  snprintf(path + used, sizeof path - used, "/%d.sock", (int)getpid());
  if (control_server_open(loop, path, on_request, &c->of, &c->server, &diag) == SMPL_OK)
    return c;
  say_note(of->life->say, "status and stop will not find this tunnel: %s", diag.text);
  free(c);
  return NULL;
}

void control_stop(control_t *control)
{
  if (!control)
    return;
  control_server_close(control->server);
  free(control);
}
