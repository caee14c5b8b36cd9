/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/run/resolve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/error.h"
#include "common/ssh/reason.h"
#include "tunnel/run/refusal.h"

typedef struct question {
  const resolve_t *resolve;
  route_t *route;
  bool again;
} question_t;

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
static void judge_denied(const resolve_t *r)
{
  size_t denied = 0;
  for (size_t i = 0; i < r->routes->count; i++)
    denied += r->routes->items[i].denied;
  if (denied == r->routes->count && !r->life->task->stdio)
    life_fail(r->life, EXIT_REFUSED, reason_name(REASON_NOT_GRANTED),
              "none of the targets is granted any more");
}

static void on_resolved(void *ctx, const json_t *reply)
{
  question_t *q = ctx;
  const resolve_t *r = q->resolve;
  life_t *life = r->life;
  route_t *route = q->route;
  char buf[DIAG_TEXT_MAX];
  if (!q->again)
    life->asking--;
  free(q);
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
  route->denied = refusal_code(known) == EXIT_REFUSED && known != REASON_NONE;
  if (!text)
    text = reason_text(known);
  if (known == REASON_NO_SERVICE_PORT) {
    char say_it[DIAG_TEXT_MAX / 2];
    snprintf(buf, sizeof buf, "%s: %s", text,
             route_with_port(route, life->task->stdio, say_it, sizeof say_it));
    text = buf;
  } else {
    text = refusal_with_nearest(reply, text, buf, sizeof buf);
  }
  refusal_tell(life, route, route->name, route->port, refusal_code(known), reason, text);
  if (life->ready)
    judge_denied(r);
}

void resolve_ask(const resolve_t *r, route_t *route, bool again)
{
  question_t *q = calloc(1, sizeof *q);
  json_t *body = json_pack("{s:s, s:s}", "cmd", "resolve", "target", route->forward->target);
  if (!q || !body) {
    free(q);
    json_decref(body);
    return;
  }
  *q = (question_t){r, route, again};
  if (route->forward->target_port)
    json_object_set_new(body, "port", json_integer(route->forward->target_port));
  if (!again)
    r->life->asking++;
  if (ask_question(r->link->ask, body, on_resolved, q) != SMPL_OK)
    on_resolved(q, NULL);
}
