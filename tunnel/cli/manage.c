/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/cli/manage.h"

#include <dirent.h>
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
#include "tunnel/run/live.h"

enum { PATH_BYTES = 108 }; /* of a unix socket, with NUL */

struct manage {
  control_server_t *server;
};

/* The folder, made if wanted; it must be ours and ours alone. */
static int folder_path(char *path, size_t cap, bool make, diag_t *diag)
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

/* ---- the tunnel's side ---- */

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

void manage_start(tunnel_t *t)
{
  char path[PATH_BYTES];
  diag_t diag = {0};
  int err = folder_path(path, sizeof path, true, &diag);
  t->manage = !err ? calloc(1, sizeof *t->manage) : NULL;
  if (t->manage) {
    size_t used = strlen(path);
    snprintf(path + used, sizeof path - used, "/%d.sock", (int)getpid());
    err = control_server_open(&t->loop, path, on_request, t, &t->manage->server, &diag);
  }
  if (err)
    say_note(t->say, "status and stop will not find this tunnel: %s", diag.text);
}

void manage_stop(tunnel_t *t)
{
  if (!t->manage)
    return;
  control_server_close(t->manage->server);
  free(t->manage);
  t->manage = NULL;
}

/* ---- the commands' side ---- */

typedef struct found {
  pid_t pid;
  char path[PATH_BYTES];
  json_t *status; /* NULL: it does not answer */
} found_t;

typedef struct all {
  found_t items[MANAGE_TUNNELS_MAX];
  size_t count;
} all_t;

static void look_at(all_t *all, const char *folder, const char *name)
{
  uint64_t pid;
  size_t digits = strspn(name, "0123456789");
  if (strcmp(name + digits, ".sock") != 0 || text_parse_u64(name, digits, INT32_MAX, &pid) != SMPL_OK ||
      all->count == MANAGE_TUNNELS_MAX)
    return;
  found_t *f = &all->items[all->count];
  *f = (found_t){.pid = (pid_t)pid};
  int n = snprintf(f->path, sizeof f->path, "%s/%s", folder, name);
  json_t *question = json_pack("{s:s}", "cmd", "status");
  diag_t diag = {0};
  if (n > 0 && (size_t)n < sizeof f->path) {
    int err = control_call(f->path, question, MANAGE_ASK_MS, &f->status, &diag);
    if (err == SMPL_ECLOSED)
      unlink(f->path); /* left behind by kill -9 */
    else
      all->count++;
  }
  json_decref(question);
}

static int look(all_t *all, diag_t *diag)
{
  char folder[PATH_BYTES];
  int err = folder_path(folder, sizeof folder, false, diag);
  if (err == SMPL_ENOENT)
    return SMPL_OK;
  DIR *dir = err ? NULL : opendir(folder);
  struct dirent *e;
  while (dir && (e = readdir(dir)))
    look_at(all, folder, e->d_name);
  if (dir)
    closedir(dir);
  return err;
}

static void forget(all_t *all)
{
  for (size_t i = 0; i < all->count; i++)
    json_decref(all->items[i].status);
  free(all);
}

static json_int_t number(const json_t *object, const char *key)
{
  return json_integer_value(json_object_get(object, key));
}

static void print_one(const options_t *o, say_t *say, const found_t *f)
{
  char since[48];
  if (!f->status) {
    say_answer(say, "pid %-8d does not answer", (int)f->pid);
    return;
  }
  if (o->json) {
    say_answer_json(say, f->status);
    return;
  }
  const char *state = json_string_value(json_object_get(f->status, "state"));
  say_answer(say, "pid %-8d %s for %s, %s, %lld open, %lld held, %lld carried, %lld bytes up, %lld down",
             (int)f->pid, state ? state : "?", live_time(number(f->status, "since_s"), since, sizeof since),
             json_string_value(json_object_get(f->status, "bastion")), (long long)number(f->status, "open"),
             (long long)number(f->status, "held"), (long long)number(f->status, "carried"),
             (long long)number(f->status, "bytes_up"), (long long)number(f->status, "bytes_down"));
  const json_t *forwards = json_object_get(f->status, "forwards");
  for (size_t i = 0; i < json_array_size(forwards); i++) {
    const json_t *row = json_array_get(forwards, i);
    const char *local = json_string_value(json_object_get(row, "local"));
    const char *target = json_string_value(json_object_get(row, "target"));
    if (target)
      say_answer(say, "  %s -> %s:%lld", local ? local : "?", target, (long long)number(row, "target_port"));
    else
      say_answer(say, "  %s -> SOCKS5", local ? local : "?");
  }
}

int manage_print_status(const options_t *options, say_t *say)
{
  diag_t diag = {0};
  all_t *all = calloc(1, sizeof *all);
  if (!all || look(all, &diag) != SMPL_OK) {
    say_end(say, EXIT_OTHER, NULL, all ? diag.text : "out of memory");
    free(all);
    return EXIT_OTHER;
  }
  if (all->count == 0 && !options->json)
    say_answer(say, "no tunnel of yours runs");
  for (size_t i = 0; i < all->count; i++)
    print_one(options, say, &all->items[i]);
  forget(all);
  return EXIT_ENDED;
}

static bool has_port(const json_t *status, json_int_t port)
{
  const json_t *forwards = json_object_get(status, "forwards");
  for (size_t i = 0; i < json_array_size(forwards); i++) {
    if (number(json_array_get(forwards, i), "port") == port)
      return true;
  }
  return false;
}

static bool is_meant(const found_t *f, const char *word)
{
  uint64_t n;
  if (!word || strcmp(word, "all") == 0)
    return true;
  return text_parse_u64(word, strlen(word), INT32_MAX, &n) == SMPL_OK &&
         ((pid_t)n == f->pid || (n > 0 && has_port(f->status, (json_int_t)n)));
}

static bool stop_one(const found_t *f, say_t *say)
{
  json_t *question = json_pack("{s:s}", "cmd", "stop");
  json_t *reply = NULL;
  diag_t diag = {0};
  int err = control_call(f->path, question, MANAGE_ASK_MS, &reply, &diag);
  json_decref(question);
  json_decref(reply);
  if (err)
    say_note(say, "pid %d was not stopped: %s", (int)f->pid, diag.text);
  else
    say_answer(say, "stopped pid %d", (int)f->pid);
  return err == SMPL_OK;
}

int manage_stop_others(const options_t *options, say_t *say)
{
  const char *word = options->word_count ? options->words[0] : NULL;
  diag_t diag = {0};
  all_t *all = calloc(1, sizeof *all);
  exit_code_t code = EXIT_ENDED;
  size_t stopped = 0;
  if (!all || look(all, &diag) != SMPL_OK) {
    code = EXIT_OTHER;
  } else if (!word && all->count > 1) {
    code = EXIT_USAGE;
    diag_fail(&diag, SMPL_EINVAL,
              "%zu tunnels of yours run: say which by PID or PORT (smpl-tunnel status), or all", all->count);
  } else {
    for (size_t i = 0; i < all->count; i++) {
      if (is_meant(&all->items[i], word))
        stopped += stop_one(&all->items[i], say);
    }
    if (stopped == 0) {
      code = EXIT_OTHER;
      diag_fail(&diag, SMPL_ENOENT,
                word && strcmp(word, "all") != 0 ? "no tunnel of yours has pid or port %s"
                                                 : "no tunnel of yours runs",
                word);
    }
  }
  if (code)
    say_end(say, code, NULL, diag.text);
  if (all)
    forget(all);
  return code;
}
