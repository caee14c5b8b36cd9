/* SPDX-License-Identifier: Apache-2.0 */
/* What the bastion says of targets: their names and ports before ready, reasons of refusals, events. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/ssh/reason.h"
#include "common/base/text.h"
#include "tunnel/run/tunnel_state.h"

/* ---- refusals ---- */

/* Whether it is the policy that says no, or the target that cannot be reached. */
static exit_code_t code_of(reason_t reason)
{
  switch (reason) {
  case REASON_UNKNOWN_NAME:
  case REASON_NO_ADDRESS:
  case REASON_RESOLVER_FAILED:
  case REASON_CONNECTION_REFUSED:
  case REASON_CONNECT_TIMEOUT:
  case REASON_TARGET_UNREACHABLE:
  case REASON_NO_SOURCE_ADDRESS:
  case REASON_NO_SERVICE_PORT:
    return EXIT_UNREACHABLE;
  default:
    return EXIT_REFUSED;
  }
}

void learn_refused(tunnel_t *t, route_t *route, const char *target, uint16_t port, exit_code_t code,
                   const char *reason, const char *text)
{
  uint64_t now = clock_mono_ms();
  char line[DIAG_TEXT_MAX];
  if (!t->ready || t->task->stdio) {
    if (strstr(text, route->forward->target)) /* the bastion's own words name the target */
      snprintf(line, sizeof line, "%s", text);
    else if (port)
      snprintf(line, sizeof line, "%s:%u: %s", target, port, text);
    else
      snprintf(line, sizeof line, "%s: %s", target, text);
    tunnel_fail(t, code, reason, line);
    return;
  }
  int n = snprintf(line, sizeof route->told, "%s:%u %s", target, port, text); /* as much of it as is kept */
  if (n < 0 || (strcmp(route->told, line) == 0 && now - route->told_at < TUNNEL_REPEAT_MS))
    return;
  text_copy(route->told, sizeof route->told, line);
  route->told_at = now;
  say_refused(t->say, target, port, reason, text);
}

/* What the bastion is asked about. */
typedef struct refusal {
  struct refusal *next;
  tunnel_t *tunnel;
  route_t *route;
  bool again; /* resolve, after ready: asked once more, where things may have moved */
  /* why: */
  exit_code_t code; /* as the SSH server's own answer has it */
  char text[256];
  const char *name;                  /* for people, where it is the route's own target; else the host */
  char host[FORWARD_TARGET_MAX + 1]; /* as it was asked for */
  uint16_t port;
  uint32_t nth;   /* of the channel */
  uint32_t newer; /* of the last one of this target that was refused meanwhile; 0: none */
  bool unclear;   /* which of a plain server's answers is this one's */
  int fd;         /* speaks SOCKS and waits for its answer; -1: none */
} refusal_t;

bool learn_has_refusal(ssh_session session)
{
  return strstr(ssh_get_error(session), "error (") != NULL;
}

exit_code_t learn_read_refusal(ssh_session session, char *text, size_t cap)
{
  /* "... error (CODE) TEXT"; RFC 4254 §5.1: 1 is prohibited, 2 connect failed. */
  const char *error = ssh_get_error(session);
  const char *number = strstr(error, "error (");
  const char *words = number ? strchr(number, ')') : NULL;
  bool forbidden = number && number[7] == '1';
  while (words && (*words == ')' || *words == ' '))
    words++;
  if (!words || !*words)
    words = forbidden ? "" : "the target cannot be reached";
  if (forbidden)
    snprintf(text, cap, "the server does not allow it%s%s; its administrator has to allow forwarding there",
             *words ? ": " : "", words);
  else
    snprintf(text, cap, "%s", words);
  return forbidden ? EXIT_REFUSED : EXIT_UNREACHABLE;
}

/* The bastion's words, and the name that may have been meant. */
static const char *with_nearest(const json_t *reply, const char *text, char *buf, size_t cap)
{
  const char *nearest = json_string_value(json_object_get(reply, "nearest"));
  if (!nearest)
    return text;
  snprintf(buf, cap, "%s; did you mean %s?", text, nearest);
  return buf;
}

/* How the port would be given. */
static const char *with_port(const route_t *r, char *buf, size_t cap)
{
  const tunnel_t *t = r->tunnel;
  const forward_t *f = r->forward;
  bool v6 = strchr(f->target, ':') != NULL; /* written in brackets */
  const char *open = v6 ? "[" : "", *close = v6 ? "]" : "";
  if (t->task->stdio)
    snprintf(buf, cap, "say it, as in --stdio %s%s%s:PORT", open, f->target, close);
  else if (f->kind == FORWARD_SOCKET)
    snprintf(buf, cap, "say it, as in %s:%s%s%s:PORT", f->path, open, f->target, close);
  else
    snprintf(buf, cap, "say it, as in %u:%s%s%s:PORT", r->sockets.port, open, f->target, close);
  return buf;
}

static void on_resolved(void *ctx, const json_t *reply);

static void resolve(tunnel_t *t, route_t *route, bool again)
{
  refusal_t *r = calloc(1, sizeof *r);
  json_t *body = json_pack("{s:s, s:s}", "cmd", "resolve", "target", route->forward->target);
  if (!r || !body) {
    free(r);
    json_decref(body);
    return;
  }
  *r = (refusal_t){.tunnel = t, .route = route, .again = again, .fd = -1};
  if (route->forward->target_port)
    json_object_set_new(body, "port", json_integer(route->forward->target_port));
  if (!again)
    t->asking++;
  if (ask_question(t->ask, body, on_resolved, r) != SMPL_OK)
    on_resolved(r, NULL);
}

/* Whether the bastion does not want it or cannot reach it, to a program that speaks SOCKS. */
static socks_code_t socks_code(exit_code_t code, reason_t reason)
{
  if (reason == REASON_CONNECTION_REFUSED)
    return SOCKS_REFUSED;
  return code == EXIT_REFUSED ? SOCKS_NOT_ALLOWED : SOCKS_HOST_UNREACHABLE;
}

static void tell(refusal_t *r, exit_code_t code, reason_t reason, const char *text, socks_code_t socks)
{
  if (r->fd >= 0)
    carry_refuse_socks(r->fd, socks);
  r->fd = -1;
  learn_refused(r->tunnel, r->route, r->name ? r->name : r->host, r->port, code,
                reason == REASON_NONE ? NULL : reason_name(reason), text);
}

/* The reason is the refused channel's own, or it is not known: of the target's state now it would be a
 * guess. */
static void tell_why(refusal_t *r, const json_t *reply)
{
  const json_t *last = json_object_get(reply, "last");
  const char *name = json_string_value(json_object_get(last, "reason"));
  const char *text = json_string_value(json_object_get(last, "text"));
  char buf[DIAG_TEXT_MAX];
  reason_t reason = name ? reason_from_name(name) : REASON_NONE;
  if (reason != REASON_NONE)
    tell(r, code_of(reason), reason, with_nearest(reply, text ? text : reason_text(reason), buf, sizeof buf),
         socks_code(code_of(reason), reason));
  else if (text) /* one that is newer than this program */
    tell(r, r->code, REASON_NONE, text, SOCKS_FAILED);
  else if (!reply && !ask_is_bastion(r->tunnel->ask))
    tell(r, r->code, REASON_NONE, r->text,
         r->unclear                ? SOCKS_FAILED
         : r->code == EXIT_REFUSED ? SOCKS_NOT_ALLOWED
                                   : SOCKS_REFUSED);
  else if (reply || ssh_is_connected(r->tunnel->session.ssh)) /* else the session's end is what is told */
    tell(r, r->code, REASON_NONE, "the bastion has refused it and does not say why", SOCKS_FAILED);
}

static void drop_refusal(refusal_t *r)
{
  refusal_t **at = &r->tunnel->refusals;
  while (*at && *at != r)
    at = &(*at)->next;
  if (*at)
    *at = r->next;
  if (r->fd >= 0)
    carry_refuse_socks(r->fd, SOCKS_FAILED);
  free(r);
}

static void on_why(void *ctx, const json_t *reply);

static void ask_why(refusal_t *r)
{
  tunnel_t *t = r->tunnel;
  if (t->state == TUNNEL_LEARNING)
    t->asking++;
  json_t *body = json_pack("{s:s, s:s, s:i, s:I}", "cmd", "why", "target", r->host, "port", (int)r->port,
                           "channel", (json_int_t)r->nth);
  if (ask_question(t->ask, body, on_why, r) != SMPL_OK)
    on_why(r, NULL);
}

static void on_why(void *ctx, const json_t *reply)
{
  refusal_t *r = ctx;
  if (r->tunnel->state == TUNNEL_LEARNING)
    r->tunnel->asking--;
  tell_why(r, reply);
  if (!r->newer || !reply) {
    drop_refusal(r);
    return;
  }
  r->nth = r->newer;
  r->newer = 0;
  ask_why(r);
}

/* Of a target that is refused again and again one question is under way: about the first, and behind it
 * about the last. */
static bool is_asked(const connection_t *c)
{
  for (refusal_t *r = c->tunnel->refusals; r && !c->socks; r = r->next) {
    if (r->route == c->route && r->fd < 0 && r->port == c->asked_port &&
        strcmp(r->host, c->asked_host) == 0) {
      r->newer = c->nth;
      return true;
    }
  }
  return false;
}

void learn_why(connection_t *c)
{
  tunnel_t *t = c->tunnel;
  route_t *route = c->route;
  refusal_t *r = is_asked(c) ? NULL : calloc(1, sizeof *r);
  if (!r)
    return;
  *r = (refusal_t){
      .next = t->refusals, .tunnel = t, .route = route, .port = c->asked_port, .nth = c->nth, .fd = -1};
  t->refusals = r;
  text_copy(r->host, sizeof r->host, c->asked_host);
  r->name = c->host ? NULL : route->name;
  r->code = learn_read_refusal(t->session.ssh, r->text, sizeof r->text);
  r->unclear = c->unclear;
  if (r->unclear) {
    r->code = EXIT_UNREACHABLE;
    text_copy(r->text, sizeof r->text, "the server has refused it");
  }
  if (c->socks) {
    r->fd = c->fd;
    c->fd = -1;
  }
  ask_why(r);
  /* A port that was learnt may have changed since. */
  if (t->ready && !c->host && route->forward->target_port == 0)
    resolve(t, route, true);
}

/* ---- names and ports ---- */

static void take_resolved(route_t *route, const json_t *reply)
{
  const char *name = json_string_value(json_object_get(reply, "name"));
  const char *host = json_string_value(json_object_get(reply, "host"));
  json_int_t port = json_integer_value(json_object_get(reply, "port"));
  if (name && strlen(name) < sizeof route->name)
    snprintf(route->name, sizeof route->name, "%s", name);
  if (host && host[0] && strlen(host) < sizeof route->host)
    snprintf(route->host, sizeof route->host, "%s", host);
  if (!route->forward->target_port && port > 0 && port <= UINT16_MAX)
    route->port = (uint16_t)port;
}

/* After a new session: one target that is not granted any more leaves the others; all of them are the end. */
static void judge_denied(tunnel_t *t)
{
  size_t denied = 0;
  for (size_t i = 0; i < t->route_count; i++)
    denied += t->routes[i].denied;
  if (denied == t->route_count && !t->task->stdio)
    tunnel_fail(t, EXIT_REFUSED, reason_name(REASON_NOT_GRANTED), "none of the targets is granted any more");
}

static void on_resolved(void *ctx, const json_t *reply)
{
  refusal_t *r = ctx;
  tunnel_t *t = r->tunnel;
  route_t *route = r->route;
  bool again = r->again;
  char buf[DIAG_TEXT_MAX];
  free(r);
  if (!again)
    t->asking--;
  if (!reply)
    return; /* a plain SSH server, or the session is over */
  if (json_is_true(json_object_get(reply, "ok"))) {
    route->denied = false;
    take_resolved(route, reply);
    return;
  }
  const char *reason = json_string_value(json_object_get(reply, "reason"));
  const char *text = json_string_value(json_object_get(reply, "text"));
  reason_t known = reason ? reason_from_name(reason) : REASON_NONE;
  route->denied = code_of(known) == EXIT_REFUSED && known != REASON_NONE;
  if (!text)
    text = reason_text(known);
  if (known == REASON_NO_SERVICE_PORT) {
    char say_it[DIAG_TEXT_MAX / 2];
    snprintf(buf, sizeof buf, "%s: %s", text, with_port(route, say_it, sizeof say_it));
    text = buf;
  } else {
    text = with_nearest(reply, text, buf, sizeof buf);
  }
  learn_refused(t, route, route->name, route->port, code_of(known), reason, text);
  if (t->ready)
    judge_denied(t);
}

void learn_resolve(tunnel_t *t)
{
  for (size_t i = 0; i < t->route_count; i++) {
    route_t *r = &t->routes[i];
    if (r->forward->kind == FORWARD_SOCKS)
      continue;
    resolve(t, r, t->ready);
    if (r->forward->target_port && !t->ready && !t->task->stdio)
      carry_check(t, r); /* all that is needed is known */
  }
}

static void fail_without_port(tunnel_t *t, const route_t *r)
{
  char text[DIAG_TEXT_MAX];
  char say_it[DIAG_TEXT_MAX / 2];
  bool asked = ask_state(t->ask) == ASK_READY;
  snprintf(text, sizeof text,
           asked ? "the bastion does not know the port of %s: %s"
                 : "the server is no smplkit bastion and cannot be asked for the port of %s: %s",
           r->forward->target, with_port(r, say_it, sizeof say_it));
  tunnel_fail(t, asked ? EXIT_UNREACHABLE : EXIT_USAGE, reason_name(REASON_NO_SERVICE_PORT), text);
}

void learn_step(tunnel_t *t)
{
  if (t->asking > 0 || t->state != TUNNEL_LEARNING || t->checked)
    return;
  t->checked = true;
  for (size_t i = 0; i < t->route_count && t->state == TUNNEL_LEARNING; i++) {
    route_t *r = &t->routes[i];
    if (r->forward->kind == FORWARD_SOCKS || r->checking)
      continue;
    if (!r->port)
      fail_without_port(t, r);
    else if (!t->task->stdio) /* there the first connection is the check */
      carry_check(t, r);
  }
}

/* ---- events ---- */

static void on_expiring(tunnel_t *t, const json_t *event)
{
  const char *reason = json_string_value(json_object_get(event, "reason"));
  const char *text = json_string_value(json_object_get(event, "text"));
  reason_t known = reason ? reason_from_name(reason) : REASON_NONE;
  long long left = json_integer_value(json_object_get(event, "left_s"));
  json_t *more = json_pack("{s:s?, s:I}", "reason", reason, "left_s", (json_int_t)left);
  if (known == REASON_IDLE)
    say_event(t->say, "expiring", more,
              "nothing has been carried for long: the bastion ends the session in %lld s unless something is",
              left);
  else if (known == REASON_SESSION_LIMIT)
    say_event(t->say, "expiring", more, "the session's time is nearly over: the bastion ends it in %lld s",
              left);
  else
    say_event(t->say, "expiring", more, "%s (in %lld s)", text ? text : "the bastion ends the session", left);
}

void learn_event(void *ctx, const json_t *event)
{
  tunnel_t *t = ctx;
  const char *name = json_string_value(json_object_get(event, "event"));
  const char *text = json_string_value(json_object_get(event, "text"));
  const char *reason = json_string_value(json_object_get(event, "reason"));
  if (name && strcmp(name, "ending") == 0) {
    snprintf(t->last_event, sizeof t->last_event, "%s", text ? text : reason ? reason : "");
    snprintf(t->last_reason, sizeof t->last_reason, "%s", reason ? reason : "");
  } else if (name && strcmp(name, "expiring") == 0) {
    on_expiring(t, event);
  } else if (text) {
    say_note(t->say, "%s", text);
  }
}
