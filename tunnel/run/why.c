/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/run/why.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/ssh/reason.h"
#include "tunnel/local/local.h"
#include "tunnel/run/refusal.h"

/* What the bastion is asked about. */
typedef struct refusal {
  struct refusal *next;
  why_t *why;
  route_t *route;
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

struct why {
  const resolve_t *resolve;
  refusal_t *first;
};

why_t *why_new(const resolve_t *resolve)
{
  why_t *why = calloc(1, sizeof *why);
  if (why)
    why->resolve = resolve;
  return why;
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
    local_refuse_socks(r->fd, socks);
  r->fd = -1;
  refusal_tell(r->why->resolve->life, r->route, r->name ? r->name : r->host, r->port, code,
               reason == REASON_NONE ? NULL : reason_name(reason), text);
}

static bool session_stands(const link_t *link)
{
  return link->talk && talk_stands(link->talk);
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
    tell(r, refusal_code(reason), reason,
         refusal_with_nearest(reply, text ? text : reason_text(reason), buf, sizeof buf),
         socks_code(refusal_code(reason), reason));
  else if (text) /* one that is newer than this program */
    tell(r, r->code, REASON_NONE, text, SOCKS_FAILED);
  else if (!reply && !ask_is_bastion(r->why->resolve->link->ask))
    tell(r, r->code, REASON_NONE, r->text,
         r->unclear                ? SOCKS_FAILED
         : r->code == EXIT_REFUSED ? SOCKS_NOT_ALLOWED
                                   : SOCKS_REFUSED);
  else if (reply || session_stands(r->why->resolve->link)) /* else the session's end is what is told */
    tell(r, r->code, REASON_NONE, "the bastion has refused it and does not say why", SOCKS_FAILED);
}

static void drop_refusal(refusal_t *r)
{
  refusal_t **at = &r->why->first;
  while (*at && *at != r)
    at = &(*at)->next;
  if (*at)
    *at = r->next;
  if (r->fd >= 0)
    local_refuse_socks(r->fd, SOCKS_FAILED);
  free(r);
}

static void on_why(void *ctx, const json_t *reply);

static void ask_about(refusal_t *r)
{
  const resolve_t *with = r->why->resolve;
  if (with->life->state == LIFE_LEARNING)
    with->life->asking++;
  json_t *body = json_pack("{s:s, s:s, s:i, s:I}", "cmd", "why", "target", r->host, "port", (int)r->port,
                           "channel", (json_int_t)r->nth);
  if (ask_question(with->link->ask, body, on_why, r) != SMPL_OK)
    on_why(r, NULL);
}

static void on_why(void *ctx, const json_t *reply)
{
  refusal_t *r = ctx;
  if (r->why->resolve->life->state == LIFE_LEARNING)
    r->why->resolve->life->asking--;
  tell_why(r, reply);
  if (!r->newer || !reply) {
    drop_refusal(r);
    return;
  }
  r->nth = r->newer;
  r->newer = 0;
  ask_about(r);
}

/* Of a target that is refused again and again one question is under way: about the first, and behind it
 * about the last. */
static bool is_asked(const why_t *why, const why_refused_t *c)
{
  for (refusal_t *r = why->first; r && c->fd < 0; r = r->next) {
    if (r->route == c->route && r->fd < 0 && r->port == c->port && strcmp(r->host, c->host) == 0) {
      r->newer = c->nth;
      return true;
    }
  }
  return false;
}

void why_ask(why_t *why, const why_refused_t *c)
{
  const resolve_t *with = why->resolve;
  route_t *route = c->route;
  refusal_t *r = is_asked(why, c) ? NULL : calloc(1, sizeof *r);
  if (!r) {
    if (c->fd >= 0)
      local_refuse_socks(c->fd, SOCKS_FAILED);
    return;
  }
  *r = (refusal_t){
      .next = why->first, .why = why, .route = route, .port = c->port, .nth = c->nth, .fd = c->fd};
  why->first = r;
  text_copy(r->host, sizeof r->host, c->host);
  r->name = c->own_target ? NULL : route->name;
  r->code = refusal_read(c->error, r->text, sizeof r->text);
  r->unclear = c->unclear;
  if (r->unclear) {
    r->code = EXIT_UNREACHABLE;
    text_copy(r->text, sizeof r->text, "the server has refused it");
  }
  ask_about(r);
  /* A port that was learnt may have changed since. */
  if (with->life->ready && !c->own_target && route->forward->target_port == 0)
    resolve_ask(with, route, true);
}

void why_free(why_t *why)
{
  while (why && why->first)
    drop_refusal(why->first); /* NOLINT(clang-analyzer-unix.Malloc): it leaves the list */
  free(why);
}
