/* SPDX-License-Identifier: Apache-2.0 */
/* A session's place before the login. */
#include <openssl/rand.h>
#include <stdio.h>

#include "bastion/broker/broker_state.h"
#include "bastion/broker/listener.h"
#include "common/base/clock.h"

static session_t *session_of(door_place_t *place)
{
  return (session_t *)((char *)place - offsetof(session_t, place));
}

static size_t signed_in(const broker_t *b)
{
  size_t n = 0;
  for (const session_t *s = b->sessions; s != NULL; s = s->next)
    n += s->signed_in;
  return n;
}

/* It is told why if it is far enough to hear it: the worker of a silent connection waits for its client
 * alone. And only while those that are being told are not many. */
static void give_way(session_t *s, const char *text)
{
  size_t leaving = 0;
  for (const session_t *o = s->broker->sessions; o != NULL; o = o->next)
    leaving += o->state == STATE_ENDING && !o->signed_in;
  bool hears = s->state == STATE_LOGIN && leaving < s->broker->config->limits.startups.full;
  session_end(s, REASON_TOO_MANY_CONNECTIONS, text);
  if (!hears)
    session_cut(s);
}

static void make_room(session_t *newcomer, const door_verdict_t *v)
{
  broker_t *b = newcomer->broker;
  char network[SOURCE_TEXT_MAX], text[MSG_TEXT_MAX];
  snprintf(text, sizeof text,
           "too many connections wait for their login, %zu of them from %s: the oldest of these gives way",
           v->together, door_network(v, network));
  b->gave_way[v->rule]++;
  give_way(session_of(v->victim), text);
  listener_log_door(b, &newcomer->source, v->rule, text);
}

door_rule_t session_take_place(session_t *s)
{
  broker_t *b = s->broker;
  uint16_t random = 0;
  door_verdict_t v;
  bool known = known_is(b->known, &s->source.ip, clock_mono_ms());
  RAND_bytes((unsigned char *)&random, sizeof random);
  if (door_enter(b->door, &s->place, &s->source.ip, known, &b->config->limits, signed_in(b), random % 100u,
                 &v))
    return DOOR_CONNECTIONS;
  if (v.victim == &s->place) {
    door_leave(b->door, &s->place);
    return v.rule;
  }
  if (v.victim != NULL)
    make_room(s, &v);
  return DOOR_OPEN;
}

void session_leave_place(session_t *s)
{
  broker_t *b = s->broker;
  door_leave(b->door, &s->place);
  known_mark(b->known, &s->source.ip, s->user, clock_mono_ms());
  door_keep(b->door, &s->source.ip);
}
