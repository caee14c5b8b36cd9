/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/cli/operator.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bastion/audit/audit_verify.h"
#include "bastion/policy/explain.h"
#include "bastion/audit/history.h"
#include "common/base/clock.h"
#include "common/net/control.h"
#include "common/base/count.h"
#include "common/base/error.h"
#include "common/base/text.h"

static int call(const operator_args_t *args, json_t *body, json_t **reply, diag_t *diag)
{
  int err = control_call(args->socket, body, args->timeout_ms, reply, diag);
  json_decref(body);
  return err;
}

static void print_json(const json_t *value)
{
  json_dumpf(value, stdout, JSON_INDENT(2));
  putchar('\n');
}

typedef void (*print_cb)(const operator_args_t *args, const json_t *answer);

/* Asks, and prints the answer, or the part of it that has this key: as JSON, or by print. */
static int show(const operator_args_t *args, json_t *body, const char *part, print_cb print, diag_t *diag)
{
  json_t *reply;
  int err = call(args, body, &reply, diag);
  if (err)
    return err;
  const json_t *answer = part != NULL ? json_object_get(reply, part) : reply;
  if (args->json)
    print_json(answer);
  else
    print(args, answer);
  json_decref(reply);
  return SMPL_OK;
}

static const char *str(const json_t *object, const char *key)
{
  const char *s = json_string_value(json_object_get(object, key));
  return s != NULL ? s : "-";
}

static long long num(const json_t *object, const char *key)
{
  return (long long)json_integer_value(json_object_get(object, key));
}

/* "1.2 MB"; buf of 32 bytes. */
static const char *bytes_text(char *buf, long long bytes)
{
  static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
  double v = (double)bytes;
  size_t u = 0;
  while (v >= 1000 && u + 1 < COUNT_OF(units)) {
    v /= 1000;
    u++;
  }
  snprintf(buf, 32, u == 0 ? "%.0f %s" : "%.1f %s", v, units[u]);
  return buf;
}

/* "1h 02m"; buf of 32 bytes. */
static const char *span_text(char *buf, long long ms)
{
  long long s = ms / 1000;
  if (s >= 86400)
    snprintf(buf, 32, "%lldd %02lldh", s / 86400, s % 86400 / 3600);
  else if (s >= 3600)
    snprintf(buf, 32, "%lldh %02lldm", s / 3600, s % 3600 / 60);
  else if (s >= 60)
    snprintf(buf, 32, "%lldm %02llds", s / 60, s % 60);
  else
    snprintf(buf, 32, "%llds", s);
  return buf;
}

static void print_session(const json_t *s)
{
  char up[32], down[32], age[32], idle[32];
  printf("%-16s  %-12s  %-22s  %8s  %8s  %9s  %9s", str(s, "id"), str(s, "user"), str(s, "source"),
         span_text(age, num(s, "age_ms")), span_text(idle, num(s, "idle_ms")),
         bytes_text(up, num(s, "bytes_up")), bytes_text(down, num(s, "bytes_down")));
  const json_t *channels = json_object_get(s, "channels");
  size_t i;
  const json_t *c;
  json_array_foreach(channels, i, c)
  {
    if (i == 3) {
      printf(" and %zu more", json_array_size(channels) - i);
      break;
    }
    printf("%s%s:%lld", i == 0 ? "  " : ", ", str(c, "name"), num(c, "port"));
  }
  printf("%s\n", json_is_true(json_object_get(s, "ending")) ? "  (ending)" : "");
}

static void print_sessions(const operator_args_t *args, const json_t *list)
{
  (void)args;
  size_t i;
  const json_t *s;
  if (json_array_size(list) == 0) {
    puts("no sessions");
    return;
  }
  printf("%-16s  %-12s  %-22s  %8s  %8s  %9s  %9s  %s\n", "SESSION", "USER", "FROM", "AGE", "IDLE", "UP",
         "DOWN", "CONNECTIONS");
  json_array_foreach(list, i, s)
  {
    print_session(s);
  }
}

/* A table that stands: the screen is cleared before each, where there is one. Ends with Ctrl-C, or when the
 * bastion does. */
int operator_sessions(const operator_args_t *args, diag_t *diag)
{
  for (;;) {
    if (args->watch_s > 0 && !args->json && isatty(STDOUT_FILENO))
      fputs("\033[H\033[2J", stdout);
    int err = show(args, json_pack("{s:s}", "cmd", "sessions"), "sessions", print_sessions, diag);
    if (err || args->watch_s == 0)
      return err;
    if (!args->json)
      printf("\n%s, every %u s; Ctrl-C ends it\n", args->socket, args->watch_s);
    if (fflush(stdout) != 0)
      return SMPL_OK; /* nobody reads it any more */
    sleep(args->watch_s);
  }
}

static void print_list(const char *label, const json_t *list)
{
  printf("%-16s", label);
  size_t i;
  const json_t *item;
  json_array_foreach(list, i, item)
  {
    printf("%s%s", i > 0 ? ", " : "", json_string_value(item));
  }
  puts(json_array_size(list) == 0 ? "none yet" : "");
}

/* What is not in force of the configuration. */
static void print_configuration(const json_t *c)
{
  const char *error = json_string_value(json_object_get(c, "reload_error"));
  const json_t *lines = json_object_get(c, "lines");
  size_t i;
  const json_t *line;
  if (error != NULL)
    printf("%-16sTHE LAST RELOAD FAILED, the one before is in force: %s\n", "configuration", error);
  if (num(c, "absent") + num(c, "warnings") == 0)
    return;
  printf("%-16s%lld ABSENT (cannot be read), %lld warnings\n", "configuration", num(c, "absent"),
         num(c, "warnings"));
  json_array_foreach(lines, i, line)
  {
    printf("%-16s%s\n", "", json_string_value(line));
  }
}

/* "closed          3 by penalties, 0 by startups, ..." */
static void print_by_rule(const char *name, json_t *counts)
{
  const char *rule, *comma = "";
  json_t *count;
  printf("%-16s", name);
  json_object_foreach(counts, rule, count)
  {
    printf("%s%lld by %s", comma, (long long)json_integer_value(count), rule);
    comma = ", ";
  }
  putchar('\n');
}

static void print_blocked(const json_t *b)
{
  if (json_is_null(json_object_get(b, "state")))
    return;
  printf("%-16s%lld users and keys%s\n", "blocked", num(b, "count"),
         json_is_true(json_object_get(b, "kept"))
             ? ""
             : ", NOT KEPT YET: the folder of `state` cannot be written");
}

static void print_space(const json_t *space)
{
  char left[32], reserve[32];
  if (json_is_integer(json_object_get(space, "free_bytes")))
    printf("%-16s%s free, reserve %s%s\n", "audit's disk", bytes_text(left, num(space, "free_bytes")),
           bytes_text(reserve, num(space, "reserve")),
           json_is_true(json_object_get(space, "low")) ? ", NEARLY FULL" : "");
  if (json_array_size(json_object_get(space, "out")) > 0)
    print_list("kept out by it", json_object_get(space, "out"));
}

static void print_status(const operator_args_t *args, const json_t *r)
{
  (void)args;
  char up[32];
  const json_t *tmpl = json_object_get(r, "template");
  const json_t *audit = json_object_get(r, "audit");
  const json_t *n = json_object_get(r, "counts");
  printf("smpl-bastion %s, pid %lld, up %s\n", str(r, "version"), num(r, "pid"),
         span_text(up, num(r, "uptime_ms")));
  print_list("listens", json_object_get(r, "listen"));
  print_list("host keys", json_object_get(r, "host_keys"));
  printf("%-16s%s\n", "algorithms", str(r, "algorithms"));
  printf("%-16s%lld (%lld connections)\n", "sessions", num(r, "sessions"), num(r, "connections"));
  printf("%-16s%s, pid %lld, %lld living, %lld started (%lld after a crash)\n", "template",
         json_is_true(json_object_get(tmpl, "ready")) ? "ready" : "NOT READY", num(tmpl, "pid"),
         num(tmpl, "living"), num(tmpl, "started"), num(tmpl, "renewed"));
  print_list("broker walls", json_object_get(r, "broker_walls"));
  print_list("template walls", json_object_get(r, "template_walls"));
  print_list("worker walls", json_object_get(r, "worker_walls"));
  printf("%-16s%s, %lld records, %lld waiting, %s\n", "audit",
         json_is_true(json_object_get(audit, "writable")) ? "writable" : "CANNOT BE WRITTEN",
         num(audit, "records"), num(audit, "waiting"), str(audit, "file"));
  print_space(json_object_get(audit, "space"));
  printf("%-16s%lld accepted, %lld logins, %lld failed logins\n", "connections", num(n, "accepted"),
         num(n, "logins"), num(n, "login_failures"));
  print_by_rule("closed", json_object_get(n, "dropped_by"));
  print_by_rule("gave way", json_object_get(n, "gave_way_by"));
  printf("%-16s%lld opened, %lld refused, %lld other requests refused\n", "channels", num(n, "channels"),
         num(n, "channels_refused"), num(n, "other_refused"));
  print_blocked(json_object_get(r, "blocks"));
  print_configuration(json_object_get(r, "configuration"));
}

int operator_status(const operator_args_t *args, diag_t *diag)
{
  return show(args, json_pack("{s:s}", "cmd", "status"), NULL, print_status, diag);
}

static void print_no_block(const json_t *users)
{
  const char *user = json_array_size(users) == 1 ? json_string_value(json_array_get(users, 0)) : NULL;
  printf("this is no block: %s can sign in again; smpl-bastion block %s --reason TEXT keeps out\n",
         user != NULL ? user : "they", user != NULL ? user : "USER");
}

static void print_ended(const operator_args_t *args, const json_t *reply)
{
  (void)args;
  size_t i;
  const json_t *id;
  json_array_foreach(json_object_get(reply, "ended"), i, id)
  {
    printf("ended %s\n", json_string_value(id));
  }
  print_no_block(json_object_get(reply, "users"));
}

int operator_terminate(const operator_args_t *args, diag_t *diag)
{
  json_t *body = json_pack("{s:s, s:s*, s:s*, s:s*, s:s*}", "cmd", "terminate", "id", args->id, "user",
                           args->user, "target", args->target, "reason", args->reason);
  return show(args, body, NULL, print_ended, diag);
}

/* ---- blocks ---- */

static void print_note(const json_t *reply, const char *who)
{
  bool key = json_is_true(json_object_get(reply, "key"));
  if (!json_is_true(json_object_get(reply, "known")))
    printf("note: %s is not in the configuration now: %s\n", who,
           key ? "no keys file has this key" : "users has no such name");
}

static void print_block(const operator_args_t *args, const json_t *reply)
{
  printf("%s is blocked%s, and stays so until: smpl-bastion unblock %s; %zu sessions were ended\n", args->who,
         json_is_true(json_object_get(reply, "already")) ? " already" : "", args->who,
         json_array_size(json_object_get(reply, "ended")));
  print_note(reply, args->who);
}

static void print_unblock(const operator_args_t *args, const json_t *reply)
{
  (void)reply;
  printf("%s is not blocked any more\n", args->who);
}

static json_t *about_who(const operator_args_t *args, const char *command)
{
  return json_pack("{s:s, s:s, s:s*}", "cmd", command, "who", args->who, "reason", args->reason);
}

int operator_block(const operator_args_t *args, diag_t *diag)
{
  return show(args, about_who(args, "block"), NULL, print_block, diag);
}

int operator_unblock(const operator_args_t *args, diag_t *diag)
{
  return show(args, about_who(args, "unblock"), NULL, print_unblock, diag);
}

static void print_blocks(const operator_args_t *args, const json_t *list)
{
  (void)args;
  size_t i;
  const json_t *b;
  if (json_array_size(list) == 0) {
    puts("nobody is blocked");
    return;
  }
  printf("%-24s  %10s  %s\n", "SINCE (UTC)", "BY UID", "WHO, AND WHY");
  json_array_foreach(list, i, b)
  {
    printf("%-24s  %10lld  %s%s: %s\n", str(b, "since"), num(b, "by_uid"), str(b, "who"),
           json_is_true(json_object_get(b, "known")) ? "" : " (not in the configuration)", str(b, "reason"));
  }
}

int operator_blocks(const operator_args_t *args, diag_t *diag)
{
  return show(args, json_pack("{s:s}", "cmd", "blocks"), "blocks", print_blocks, diag);
}

/* ---- reload ---- */

/* It took effect; whoever asked for it learns what is missing in it. */
static int judge_reloaded(const json_t *c, diag_t *diag)
{
  const json_t *lines = json_object_get(c, "lines");
  long long absent = num(c, "absent"), all = absent + num(c, "warnings");
  size_t i;
  const json_t *line;
  json_array_foreach(lines, i, line)
  {
    fprintf(stderr, "smpl-bastion: %s\n", json_string_value(line));
  }
  if (all > (long long)json_array_size(lines))
    fprintf(stderr, "smpl-bastion: %lld more; `check` tells them\n", all - (long long)json_array_size(lines));
  if (absent == 0)
    return SMPL_OK;
  return diag_fail(diag, SMPL_EINVAL,
                   "reloaded, and %lld of the things that it names could not be read and count%s as absent",
                   absent, absent == 1 ? "s" : "");
}

int operator_reload(const operator_args_t *args, diag_t *diag)
{
  json_t *reply;
  int err = call(args, json_pack("{s:s}", "cmd", "reload"), &reply, diag);
  if (err)
    return err;
  if (args->json)
    print_json(reply);
  else
    printf("reloaded; %lld sessions are no longer granted and were ended\n", num(reply, "ended"));
  fflush(stdout);
  err = judge_reloaded(json_object_get(reply, "configuration"), diag);
  json_decref(reply);
  return err;
}

int operator_explain(const operator_args_t *args, bool *allowed, diag_t *diag)
{
  json_t *reply;
  int err =
      call(args, json_pack("{s:s, s:s, s:s}", "cmd", "explain", "user", args->user, "target", args->target),
           &reply, diag);
  if (err)
    return err;
  *allowed = json_is_true(json_object_get(reply, "allowed"));
  if (args->json)
    print_json(reply);
  else
    explain_print(reply);
  json_decref(reply);
  return SMPL_OK;
}

static void print_row(const json_t *row)
{
  char up[32], down[32], span[32];
  bool failed = json_is_null(json_object_get(row, "session"));
  bool living = json_is_null(json_object_get(row, "reason"));
  printf("%-24s  %-16s  %-12s  %-22s", str(row, "started"), failed ? "(no session)" : str(row, "session"),
         str(row, "user"), str(row, "source"));
  if (failed || living)
    printf("  %8s  %9s  %9s", "-", "-", "-");
  else
    printf("  %8s  %9s  %9s", span_text(span, num(row, "duration_ms")), bytes_text(up, num(row, "bytes_up")),
           bytes_text(down, num(row, "bytes_down")));
  printf("  %s%s", failed ? "login failed: " : "", living ? "(open)" : str(row, "reason"));
  size_t i;
  const json_t *target;
  json_array_foreach(json_object_get(row, "targets"), i, target)
  {
    printf("%s%s", i == 0 ? "  " : ", ", json_string_value(target));
  }
  if (num(row, "refused") > 0)
    printf("  (%lld refused)", num(row, "refused"));
  putchar('\n');
}

int operator_verify(const operator_args_t *args, const char *head, char *const *files, int count,
                    diag_t *diag)
{
  audit_verify_t v = {.wanted = head};
  int err = SMPL_OK;
  for (int i = 0; i < (count > 0 ? count : 1) && !err; i++)
    err = audit_verify_file(&v, count > 0 ? files[i] : args->audit, diag);
  if (!err && head != NULL && v.wanted_seq == 0)
    err =
        diag_fail(diag, SMPL_EINVAL,
                  "no record has the hash %s: the end of the audit was cut off or written anew (it has %llu "
                  "records, head %s)",
                  head, (unsigned long long)v.last, v.head);
  if (err)
    return err;
  if (args->json) {
    json_t *reply = json_pack("{s:b, s:I, s:I, s:s}", "ok", 1, "first", (json_int_t)v.first, "last",
                              (json_int_t)v.last, "head", v.head);
    if (head != NULL)
      json_object_set_new(reply, "head_found_at", json_integer((json_int_t)v.wanted_seq));
    print_json(reply);
    json_decref(reply);
    return SMPL_OK;
  }
  if (v.last == 0)
    puts("ok: no record yet");
  else
    printf("ok: records %llu to %llu, head %s\n", (unsigned long long)v.first, (unsigned long long)v.last,
           v.head);
  if (head != NULL)
    printf("the head that was asked for is record %llu; %llu records follow it\n",
           (unsigned long long)v.wanted_seq, (unsigned long long)(v.last - v.wanted_seq));
  return SMPL_OK;
}

static int take_time(const char *option, const char *text, char *buf, size_t cap, const char **out,
                     diag_t *diag)
{
  if (text == NULL)
    return SMPL_OK;
  if (history_since(text, clock_wall_ms(), buf, cap))
    return diag_fail(diag, SMPL_EINVAL, "%s %s: expected a duration (2h) or a UTC time (2026-11-23T03:25)",
                     option, text);
  *out = buf;
  return SMPL_OK;
}

int operator_history(const operator_args_t *args, diag_t *diag)
{
  char since[CLOCK_ISO_MAX], until[CLOCK_ISO_MAX];
  history_filter_t filter = {.user = args->user, .target = args->target};
  int err = take_time("--since", args->since, since, sizeof since, &filter.since, diag);
  if (!err)
    err = take_time("--until", args->until, until, sizeof until, &filter.until, diag);
  if (err)
    return err;
  json_t *rows;
  size_t compressed;
  err = history_read(args->audit, &filter, &compressed, &rows, diag);
  if (err)
    return err;
  if (compressed > 0)
    fprintf(stderr, "smpl-bastion: note: %zu compressed files of the audit are not read\n", compressed);
  size_t i;
  const json_t *row;
  if (args->json) {
    print_json(rows);
  } else {
    printf("%-24s  %-16s  %-12s  %-22s  %8s  %9s  %9s  %s\n", "STARTED (UTC)", "SESSION", "USER", "FROM",
           "TIME", "UP", "DOWN", "END");
    json_array_foreach(rows, i, row)
    {
      print_row(row);
    }
  }
  json_decref(rows);
  return SMPL_OK;
}
