/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/cli/manage.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/net/control.h"
#include "tunnel/run/control.h"
#include "tunnel/run/live.h"

typedef struct found {
  pid_t pid;
  char path[FORWARD_PATH_MAX];
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
  char folder[FORWARD_PATH_MAX];
  int err = control_folder(folder, sizeof folder, false, diag);
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
