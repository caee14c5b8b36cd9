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
  char at[ENDPOINT_TEXT_MAX];
  const forward_t *f = r->forward;
  if (f->kind == FORWARD_SOCKET)
    return json_pack("{s:s, s:s, s:i}", "local", f->path, "target", r->name, "target_port", (int)r->port);
  if (f->bind_given)
    endpoint_format(&(endpoint_t){f->bind, r->sockets.port}, at);
  else
    snprintf(at, sizeof at, "localhost:%u", r->sockets.port);
  if (f->kind == FORWARD_SOCKS)
    return json_pack("{s:s, s:i, s:s}", "local", at, "port", (int)r->sockets.port, "kind", "socks5");
  return json_pack("{s:s, s:i, s:s, s:i}", "local", at, "port", (int)r->sockets.port, "target", r->name,
                   "target_port", (int)r->port);
}

static json_t *describe(const tunnel_t *t)
{
  static const char *const states[] = {"connecting", "learning", "up", "waiting", "over"};
  uint64_t up;
  uint64_t down;
  json_t *forwards = json_array();
  for (size_t i = 0; i < t->route_count; i++)
    json_array_append_new(forwards, describe_route(&t->routes[i]));
  carry_bytes(t, &up, &down);
  return json_pack("{s:b, s:i, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "ok", 1, "pid", (int)getpid(),
                   "state", states[t->state], "bastion", t->bastion, "since_s",
                   (json_int_t)((clock_mono_ms() - (t->state == TUNNEL_UP ? t->up_at : t->lost_at)) / 1000),
                   "open", (json_int_t)t->lists[CONNECTION_CARRIED].count, "held",
                   (json_int_t)t->lists[CONNECTION_HELD].count, "carried", (json_int_t)t->connections,
                   "bytes_up", (json_int_t)up, "bytes_down", (json_int_t)down, "forwards", forwards);
}

static void on_request(void *ctx, control_request_t *request, const control_peer_t *peer, json_t *body)
{
  tunnel_t *t = ctx;
  const char *cmd = json_string_value(json_object_get(body, "cmd"));
  if (peer->uid != geteuid() && peer->uid != 0) {
    control_reply_error(request, "this tunnel is another user's");
  } else if (cmd && strcmp(cmd, "status") == 0) {
    control_reply(request, describe(t));
  } else if (cmd && strcmp(cmd, "stop") == 0) {
    say_step(t->say, "told to stop");
    control_reply(request, json_pack("{s:b}", "ok", 1));
    t->stop_soon = true; /* after the answer is written */
  } else {
    control_reply_error(request, "unknown cmd: status and stop are known");
  }
}

void control_start(tunnel_t *t)
{
  char path[FORWARD_PATH_MAX];
  diag_t diag = {0};
  int err = control_folder(path, sizeof path, true, &diag);
  t->control = !err ? calloc(1, sizeof *t->control) : NULL;
  if (t->control) {
    size_t used = strlen(path);
    snprintf(path + used, sizeof path - used, "/%d.sock", (int)getpid());
    err = control_server_open(&t->loop, path, on_request, t, &t->control->server, &diag);
  }
  if (err)
    say_note(t->say, "status and stop will not find this tunnel: %s", diag.text);
}

void control_stop(tunnel_t *t)
{
  if (!t->control)
    return;
  control_server_close(t->control->server);
  free(t->control);
  t->control = NULL;
}
