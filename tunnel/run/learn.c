/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/run/learn.h"

#include <stdio.h>
#include <string.h>

#include "common/base/error.h"
#include "common/ssh/reason.h"

void learn_start(learn_t *t)
{
  life_t *life = t->resolve.life;
  for (size_t i = 0; i < t->resolve.routes->count; i++) {
    route_t *r = &t->resolve.routes->items[i];
    if (r->forward->kind == FORWARD_SOCKS)
      continue;
    resolve_ask(&t->resolve, r, life->ready);
    if (r->forward->target_port && !life->ready && !life->task->stdio)
      carry_check(t->carry, r); /* all that is needed is known */
  }
}

static void fail_without_port(learn_t *t, const route_t *r)
{
  life_t *life = t->resolve.life;
  char text[DIAG_TEXT_MAX];
  char say_it[DIAG_TEXT_MAX / 2];
  bool asked = ask_state(t->resolve.link->ask) == ASK_READY;
  snprintf(text, sizeof text,
           asked ? "the bastion does not know the port of %s: %s"
                 : "the server is no smplkit bastion and cannot be asked for the port of %s: %s",
           r->forward->target, route_with_port(r, life->task->stdio, say_it, sizeof say_it));
  life_fail(life, asked ? EXIT_UNREACHABLE : EXIT_USAGE, reason_name(REASON_NO_SERVICE_PORT), text);
}

void learn_step(learn_t *t)
{
  life_t *life = t->resolve.life;
  if (life->asking > 0 || life->state != LIFE_LEARNING || t->checked)
    return;
  t->checked = true;
  for (size_t i = 0; i < t->resolve.routes->count && life->state == LIFE_LEARNING; i++) {
    route_t *r = &t->resolve.routes->items[i];
    if (r->forward->kind == FORWARD_SOCKS || r->checking)
      continue;
    if (!r->port)
      fail_without_port(t, r);
    else if (!life->task->stdio) /* there the first connection is the check */
      carry_check(t->carry, r);
  }
}

/* ---- events ---- */

static void on_expiring(life_t *life, const json_t *event)
{
  const char *reason = json_string_value(json_object_get(event, "reason"));
  const char *text = json_string_value(json_object_get(event, "text"));
  reason_t known = reason ? reason_from_name(reason) : REASON_NONE;
  long long left = json_integer_value(json_object_get(event, "left_s"));
  json_t *more = json_pack("{s:s?, s:I}", "reason", reason, "left_s", (json_int_t)left);
  if (known == REASON_IDLE)
    say_event(life->say, "expiring", more,
              "nothing has been carried for long: the bastion ends the session in %lld s unless something is",
              left);
  else if (known == REASON_SESSION_LIMIT)
    say_event(life->say, "expiring", more, "the session's time is nearly over: the bastion ends it in %lld s",
              left);
  else
    say_event(life->say, "expiring", more, "%s (in %lld s)", text ? text : "the bastion ends the session",
              left);
}

void learn_event(void *ctx, const json_t *event)
{
  learn_t *t = ctx;
  const char *name = json_string_value(json_object_get(event, "event"));
  const char *text = json_string_value(json_object_get(event, "text"));
  const char *reason = json_string_value(json_object_get(event, "reason"));
  if (name && strcmp(name, "ending") == 0) {
    snprintf(t->last_event, sizeof t->last_event, "%s", text ? text : reason ? reason : "");
    snprintf(t->last_reason, sizeof t->last_reason, "%s", reason ? reason : "");
  } else if (name && strcmp(name, "expiring") == 0) {
    on_expiring(t->resolve.life, event);
  } else if (text) {
    say_note(t->resolve.life->say, "%s", text);
  }
}
