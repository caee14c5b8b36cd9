#include "tunnel/say.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"

enum { LINE_MAX_BYTES = 2048 };

static void print_json(json_t *event)
{
  char *line = event ? json_dumps(event, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
  if (line)
    puts(line);
  fflush(stdout);
  free(line);
  json_decref(event);
}

static void print_line(FILE *to, const char *prefix, const char *text)
{
  char line[LINE_MAX_BYTES];
  text_printable(line, sizeof line, text, strlen(text));
  fprintf(to, "%s%s\n", prefix, line);
  fflush(to);
}

void say_ready(const say_t *say, const say_ready_t *r)
{
  char url[ENDPOINT_TEXT_MAX + 16];
  char at[ENDPOINT_TEXT_MAX];
  if (r->bind)
    endpoint_format(&(endpoint_t){*r->bind, r->port}, at);
  else
    snprintf(at, sizeof at, "localhost:%u", r->port);
  snprintf(url, sizeof url, "http://%s", at);
  if (say->json) {
    print_json(json_pack("{s:s, s:s, s:s, s:i, s:s, s:i, s:s}", "event", "ready", "url", url, "address", at,
                         "port", (int)r->port, "target", r->target, "target_port", (int)r->target_port,
                         "bastion", r->bastion));
    return;
  }
  if (say->quiet)
    return;
  char line[LINE_MAX_BYTES];
  snprintf(line, sizeof line, "%s -> %s:%u by way of %s; Ctrl-C ends", url, r->target, r->target_port,
           r->bastion);
  print_line(stdout, "", line);
}

void say_refused(const say_t *say, const char *target, uint16_t port, const char *reason, const char *text)
{
  if (say->json) {
    print_json(json_pack("{s:s, s:s, s:i, s:s, s:s}", "event", "refused", "target", target, "target_port",
                         (int)port, "reason", reason ? reason : "none", "text", text));
    return;
  }
  char line[LINE_MAX_BYTES];
  snprintf(line, sizeof line, "%s:%u: %s", target, port, text);
  print_line(stderr, "smpl-tunnel: ", line);
}

void say_end(const say_t *say, exit_code_t code, const char *reason, const char *text)
{
  if (say->json) {
    print_json(json_pack("{s:s, s:i, s:s, s:s}", "event", "end", "code", (int)code, "reason",
                         reason && reason[0] ? reason : "none", "text", text ? text : ""));
    return;
  }
  if (code != EXIT_ENDED && text && text[0])
    print_line(stderr, "smpl-tunnel: ", text);
}

static void note(const say_t *say, const char *event, const char *fmt, va_list args)
{
  char line[LINE_MAX_BYTES];
  vsnprintf(line, sizeof line, fmt, args);
  if (say->json)
    print_json(json_pack("{s:s, s:s}", "event", event, "text", line));
  else
    print_line(stderr, "smpl-tunnel: ", line);
}

void say_note(const say_t *say, const char *fmt, ...)
{
  if (say->quiet)
    return;
  va_list args;
  va_start(args, fmt);
  note(say, "note", fmt, args);
  va_end(args);
}

void say_step(const say_t *say, const char *fmt, ...)
{
  if (say->verbose == 0)
    return;
  va_list args;
  va_start(args, fmt);
  note(say, "step", fmt, args);
  va_end(args);
}
