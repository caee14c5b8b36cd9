/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/base/say.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/text.h"

enum { LINE_MAX_BYTES = 4096 };

void say_init(say_t *say, bool json, bool quiet, unsigned verbose)
{
  const char *no_color = getenv("NO_COLOR");
  const char *term = getenv("TERM");
  bool terminal = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
  *say = (say_t){.json = json, .quiet = quiet, .verbose = verbose};
  say->live = terminal && !json && !quiet;
  say->color = terminal && !json && !(no_color && no_color[0]);
  pthread_mutex_init(&say->lock, NULL);
}

/* ---- the line below; called with the lock ---- */

static void hide_live(const say_t *say)
{
  if (say->live_text[0])
    fputs("\r\033[K", stderr);
}

static void show_live(const say_t *say)
{
  if (!say->live_text[0])
    return;
  struct winsize size;
  int width = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1 : 79;
  fprintf(stderr, "\r\033[K%s%.*s%s", say->color ? "\033[2m" : "", width, say->live_text,
          say->color ? "\033[0m" : "");
  fflush(stderr);
}

void say_live(say_t *say, const char *text)
{
  if (!say->live)
    return;
  pthread_mutex_lock(&say->lock);
  if (!text[0])
    hide_live(say);
  snprintf(say->live_text, sizeof say->live_text, "%s", text);
  show_live(say);
  fflush(stderr);
  pthread_mutex_unlock(&say->lock);
}

/* ---- lines ---- */

static void print_json(say_t *say, json_t *event)
{
  char *line = event ? json_dumps(event, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
  pthread_mutex_lock(&say->lock);
  if (line)
    puts(line);
  fflush(stdout);
  pthread_mutex_unlock(&say->lock);
  free(line);
  json_decref(event);
}

static void print_line(say_t *say, FILE *to, const char *prefix, const char *text)
{
  char line[LINE_MAX_BYTES];
  text_printable(line, sizeof line, text, strlen(text));
  pthread_mutex_lock(&say->lock);
  hide_live(say);
  fflush(stderr);
  fprintf(to, "%s%s\n", prefix, line);
  fflush(to);
  show_live(say);
  pthread_mutex_unlock(&say->lock);
}

static const char *prefix(const say_t *say, bool bad)
{
  if (log_in_journal())
    return bad ? "<3>" : "<6>";
  if (!say->color)
    return "smpl-tunnel: ";
  return bad ? "\033[31msmpl-tunnel:\033[0m " : "\033[2msmpl-tunnel:\033[0m ";
}

void say_ready(say_t *say, const say_ready_t *r)
{
  if (say->json) {
    print_json(say, json_pack("{s:s, s:s?, s:s, s:i, s:s?, s:i, s:s}", "event", "ready", "url", r->url,
                              "address", r->address, "port", (int)r->port, "target", r->target, "target_port",
                              (int)r->target_port, "bastion", r->bastion));
    return;
  }
  if (say->quiet)
    return;
  char line[LINE_MAX_BYTES];
  if (r->target)
    snprintf(line, sizeof line, "%s -> %s:%u by way of %s; Ctrl-C ends", r->url ? r->url : r->address,
             r->target, r->target_port, r->bastion);
  else
    snprintf(line, sizeof line, "%s -> whatever it is asked for, by way of %s; Ctrl-C ends", r->url,
             r->bastion);
  if (say->ready_to_error)
    print_line(say, stderr, prefix(say, false), line);
  else
    print_line(say, stdout, "", line);
}

void say_refused(say_t *say, const char *target, uint16_t port, const char *reason, const char *text)
{
  if (say->json) {
    print_json(say, json_pack("{s:s, s:s, s:i, s:s, s:s}", "event", "refused", "target", target,
                              "target_port", (int)port, "reason", reason ? reason : "none", "text", text));
    return;
  }
  char line[LINE_MAX_BYTES];
  snprintf(line, sizeof line, "%s:%u: %s", target, port, text);
  print_line(say, stderr, prefix(say, true), line);
}

void say_end(say_t *say, exit_code_t code, const char *reason, const char *text)
{
  say_live(say, "");
  if (say->json) {
    print_json(say, json_pack("{s:s, s:i, s:s, s:s}", "event", "end", "code", (int)code, "reason",
                              reason && reason[0] ? reason : "none", "text", text ? text : ""));
    return;
  }
  if (code != EXIT_ENDED && text && text[0])
    print_line(say, stderr, prefix(say, true), text);
}

static void event(say_t *say, const char *name, json_t *more, const char *fmt, va_list args)
{
  char line[LINE_MAX_BYTES];
  vsnprintf(line, sizeof line, fmt, args);
  if (!say->json) {
    print_line(say, stderr, prefix(say, false), line);
    json_decref(more);
    return;
  }
  json_t *whole = json_pack("{s:s}", "event", name);
  if (more)
    json_object_update(whole, more);
  json_object_set_new(whole, "text", json_string(line));
  json_decref(more);
  print_json(say, whole);
}

void say_event(say_t *say, const char *name, json_t *more, const char *fmt, ...)
{
  if (say->quiet && !say->json) {
    json_decref(more);
    return;
  }
  va_list args;
  va_start(args, fmt);
  event(say, name, more, fmt, args);
  va_end(args);
}

void say_note(say_t *say, const char *fmt, ...)
{
  if (say->quiet)
    return;
  va_list args;
  va_start(args, fmt);
  event(say, "note", NULL, fmt, args);
  va_end(args);
}

void say_step(say_t *say, const char *fmt, ...)
{
  if (say->verbose == 0)
    return;
  va_list args;
  va_start(args, fmt);
  event(say, "step", NULL, fmt, args);
  va_end(args);
}

void say_answer(say_t *say, const char *fmt, ...)
{
  char line[LINE_MAX_BYTES];
  va_list args;
  va_start(args, fmt);
  vsnprintf(line, sizeof line, fmt, args);
  va_end(args);
  print_line(say, stdout, "", line);
}

void say_answer_json(say_t *say, const json_t *answer)
{
  print_json(say, json_deep_copy(answer));
}
