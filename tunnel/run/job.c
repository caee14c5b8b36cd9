/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/run/job.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/process/file.h"
#include "common/ssh/reason.h"
#include "common/base/text.h"

struct job {
  const char *question;
  bool goes_on; /* once it has printed: with another question */
  void (*print)(const job_of_t *of, const json_t *reply);
};

static const char *text_of(const json_t *object, const char *key)
{
  const char *text = json_string_value(json_object_get(object, key));
  return text ? text : "";
}

/* "20m", for people: the shortest exact form. */
static const char *duration(const json_t *seconds, char *buf, size_t cap)
{
  if (!json_is_integer(seconds) || json_integer_value(seconds) < 0)
    return "none";
  return text_format_duration(buf, cap, (uint64_t)json_integer_value(seconds) * 1000);
}

/* ---- ls ---- */

static void print_target(const job_of_t *of, const char *name, const char *ports, const json_t *row)
{
  char idle[32];
  char session[32];
  const char *hours = text_of(row, "hours");
  say_answer(of->life->say, "%-40s %-12s idle %s, session %s%s%s%s%s", name, ports,
             duration(json_object_get(row, "idle_s"), idle, sizeof idle),
             duration(json_object_get(row, "session_s"), session, sizeof session), hours[0] ? ", " : "",
             hours, text_of(row, "description")[0] ? "  " : "", text_of(row, "description"));
}

static void list_ports(const json_t *row, char *buf, size_t cap)
{
  const json_t *ports = json_object_get(row, "ports");
  size_t used = 0;
  snprintf(buf, cap, json_is_true(json_object_get(row, "any_port")) ? "any port" : "");
  for (size_t i = 0; i < json_array_size(ports) && used < cap; i++) {
    int n = snprintf(buf + used, cap - used, "%s%lld", i ? "," : "",
                     (long long)json_integer_value(json_array_get(ports, i)));
    used += n > 0 ? (size_t)n : 0;
  }
}

static void print_row(const job_of_t *of, const json_t *row)
{
  char ports[128];
  const json_t *names = json_object_get(row, "names");
  if (of->life->say->json) {
    say_answer_json(of->life->say, row);
    return;
  }
  list_ports(row, ports, sizeof ports);
  for (size_t i = 0; i < json_array_size(names); i++) {
    const json_t *name = json_array_get(names, i);
    char port[16];
    snprintf(port, sizeof port, "%lld", (long long)json_integer_value(json_object_get(name, "port")));
    print_target(of, text_of(name, "name"), json_integer_value(json_object_get(name, "port")) ? port : ports,
                 row);
  }
  if (json_array_size(names) == 0)
    print_target(of, text_of(row, "target"), ports, row);
}

static void save_targets(const json_t *reply);

static void print_ls(const job_of_t *of, const json_t *reply)
{
  const json_t *rows = json_object_get(reply, "targets");
  save_targets(reply);
  if (json_array_size(rows) == 0 && !of->life->say->json)
    say_answer(of->life->say, "nothing is granted to you at %s", of->life->bastion);
  for (size_t i = 0; i < json_array_size(rows); i++)
    print_row(of, json_array_get(rows, i));
}

/* ---- whoami ---- */

static void on_limits(void *ctx, const json_t *reply)
{
  const job_of_t *of = ctx;
  char idle[32];
  char session[32];
  if (of->life->state == LIFE_OVER)
    return;
  if (json_is_true(json_object_get(reply, "ok")) && of->life->say->json)
    say_answer_json(of->life->say, reply);
  else if (json_is_true(json_object_get(reply, "ok")))
    say_answer(of->life->say,
               "limits    session %s, idle %s; %lld of %lld sessions, %lld connections in each",
               duration(json_object_get(reply, "session_s"), session, sizeof session),
               duration(json_object_get(reply, "idle_s"), idle, sizeof idle),
               (long long)json_integer_value(json_object_get(reply, "sessions_open")),
               (long long)json_integer_value(json_object_get(reply, "sessions_max")),
               (long long)json_integer_value(json_object_get(reply, "channels_max")));
  life_stop(of->life);
}

static void print_whoami(const job_of_t *of, const json_t *reply)
{
  if (of->life->say->json) {
    say_answer_json(of->life->say, reply);
  } else {
    const json_t *groups = json_object_get(reply, "groups");
    char list[512] = "";
    size_t used = 0;
    for (size_t i = 0; i < json_array_size(groups) && used < sizeof list; i++) {
      int n = snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "",
                       json_string_value(json_array_get(groups, i)));
      used += n > 0 ? (size_t)n : 0;
    }
    say_answer(of->life->say, "user      %s", text_of(reply, "user"));
    say_answer(of->life->say, "groups    %s", list[0] ? list : "none");
    say_answer(of->life->say, "key       %s", text_of(reply, "key"));
    say_answer(of->life->say, "seen from %s", text_of(reply, "source"));
    say_answer(of->life->say, "bastion   %s", of->life->bastion);
  }
  if (ask_question(of->link->ask, json_pack("{s:s}", "cmd", "limits"), on_limits, (void *)of) != SMPL_OK)
    life_stop(of->life);
}

/* ---- why ---- */

static void on_resolved(void *ctx, const json_t *reply)
{
  const job_of_t *of = ctx;
  if (of->life->state == LIFE_OVER)
    return;
  if (of->life->say->json && reply)
    say_answer_json(of->life->say, reply);
  else if (json_is_true(json_object_get(reply, "ok")))
    say_answer(of->life->say, "it leads to %s port %lld", text_of(reply, "name"),
               (long long)json_integer_value(json_object_get(reply, "port")));
  if (json_is_true(json_object_get(reply, "ok")))
    life_stop(of->life);
  else
    life_fail(of->life, EXIT_UNREACHABLE, text_of(reply, "reason"), text_of(reply, "text"));
}

static json_t *about_target(const job_of_t *of, const char *cmd)
{
  forward_t f;
  diag_t diag = {0};
  if (forward_parse_target(of->life->task->target, &f, &diag) != SMPL_OK)
    return NULL;
  json_t *body = json_pack("{s:s, s:s}", "cmd", cmd, "target", f.target);
  if (body && f.target_port)
    json_object_set_new(body, "port", json_integer(f.target_port));
  return body;
}

static void print_why(const job_of_t *of, const json_t *reply)
{
  const char *nearest = text_of(reply, "nearest");
  if (of->life->say->json)
    say_answer_json(of->life->say, reply);
  if (!json_is_true(json_object_get(reply, "allowed"))) {
    char text[DIAG_TEXT_MAX];
    snprintf(text, sizeof text, "%s%s%s%s", text_of(reply, "text"), nearest[0] ? "; did you mean " : "",
             nearest, nearest[0] ? "?" : "");
    life_fail(of->life, EXIT_REFUSED, text_of(reply, "reason"), text);
    return;
  }
  if (!of->life->say->json)
    say_answer(of->life->say, "%s", text_of(reply, "text"));
  if (ask_question(of->link->ask, about_target(of, "resolve"), on_resolved, (void *)of) != SMPL_OK)
    life_stop(of->life);
}

/* ---- asking ---- */

const job_t job_ls = {"targets", false, print_ls};
const job_t job_whoami = {"whoami", true, print_whoami};
const job_t job_why = {"why", true, print_why};

static void on_answer(void *ctx, const json_t *reply)
{
  const job_of_t *of = ctx;
  if (of->life->state == LIFE_OVER)
    return;
  if (!reply) {
    life_fail(of->life, EXIT_OTHER, NULL,
              "the server is no smplkit bastion: it forwards, but cannot be asked about targets");
    return;
  }
  if (!json_is_true(json_object_get(reply, "ok"))) {
    life_fail(of->life, EXIT_OTHER, text_of(reply, "reason"), text_of(reply, "text"));
    return;
  }
  of->life->task->job->print(of, reply);
  if (!of->life->task->job->goes_on)
    life_stop(of->life);
}

void job_ask(const job_of_t *of)
{
  json_t *body = of->life->task->target ? about_target(of, of->life->task->job->question)
                                        : json_pack("{s:s}", "cmd", of->life->task->job->question);
  of->life->asking++; /* never to be ready */
  if (ask_question(of->link->ask, body, on_answer, (void *)of) != SMPL_OK)
    life_fail(of->life, EXIT_OTHER, NULL, "out of memory");
}

/* ---- what shells complete from ---- */

/* False when there is no place for it. */
static bool cache_path(char *path, size_t cap, bool make)
{
  const char *xdg = getenv("XDG_CACHE_HOME");
  const char *home = getenv("HOME");
  char folder[PATH_TEXT_MAX];
  int n;
  if (xdg && xdg[0] == '/')
    n = snprintf(folder, sizeof folder, "%s", xdg);
  else
    n = home && home[0] == '/' ? snprintf(folder, sizeof folder, "%s/.cache", home) : -1;
  if (n < 0 || (size_t)n >= sizeof folder)
    return false;
  if (make)
    mkdir(folder, 0700);
  int m = snprintf(folder + n, sizeof folder - (size_t)n, "/smplkit");
  if (m < 0 || (size_t)m >= sizeof folder - (size_t)n)
    return false;
  if (make)
    mkdir(folder, 0700);
  n = snprintf(path, cap, "%s/targets", folder);
  return n > 0 && (size_t)n < cap;
}

/* Only what shells can take without quoting. */
static bool is_plain_name(const char *name)
{
  return name[0] &&
         name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_")] == '\0';
}

static void save_targets(const json_t *reply)
{
  char path[PATH_TEXT_MAX];
  char fresh[PATH_TEXT_MAX + 16];
  const json_t *rows = json_object_get(reply, "targets");
  if (!cache_path(path, sizeof path, true))
    return;
  snprintf(fresh, sizeof fresh, "%s.%d", path, (int)getpid());
  int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
  if (!f)
    return;
  for (size_t i = 0; i < json_array_size(rows); i++) {
    const json_t *names = json_object_get(json_array_get(rows, i), "names");
    for (size_t k = 0; k < json_array_size(names); k++) {
      const char *name = text_of(json_array_get(names, k), "name");
      if (is_plain_name(name))
        fprintf(f, "%s\n", name);
    }
  }
  if (fclose(f) != 0 || rename(fresh, path) != 0)
    unlink(fresh);
}

static void on_targets(void *ctx, const json_t *reply)
{
  (void)ctx;
  if (json_is_true(json_object_get(reply, "ok")))
    save_targets(reply);
}

void job_refresh_targets(ask_t *ask)
{
  if (ask_state(ask) != ASK_ABSENT)
    ask_question(ask, json_pack("{s:s}", "cmd", "targets"), on_targets, NULL);
}

void job_print_targets(void)
{
  char path[PATH_TEXT_MAX];
  char *data = NULL;
  size_t len = 0;
  diag_t diag = {0};
  if (cache_path(path, sizeof path, false) && file_read(path, JOB_CACHE_MAX, &data, &len, &diag) == SMPL_OK)
    fwrite(data, 1, len, stdout);
  free(data);
}
