/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/session/place.h"

#include <openssl/rand.h>
#include <stdio.h>

#include "common/base/clock.h"

static session_t *session_of(door_place_t *place)
{
  return (session_t *)((char *)place - offsetof(session_t, login.place));
}

static size_t signed_in(const sessions_t *all)
{
  size_t n = 0;
  LIST_EACH(const session_t, s, &all->list, link)
    n += s->signed_in;
  return n;
}

/* It is told why if it is far enough to hear it: the worker of a silent connection waits for its client
 * alone. And only while those that are being told are not many. */
static void give_way(session_t *s, const char *text)
{
  size_t leaving = 0;
  LIST_EACH(const session_t, o, &s->all->list, link)
    leaving += o->state == STATE_ENDING && !o->signed_in;
  bool hears = s->state == STATE_LOGIN && leaving < session_config(s)->limits.startups.full;
  session_end(s, REASON_TOO_MANY_CONNECTIONS, text);
  if (!hears)
    session_cut(s);
}

static void make_room(session_t *newcomer, const door_verdict_t *v)
{
  sessions_t *all = newcomer->all;
  char network[SOURCE_TEXT_MAX], text[MSG_TEXT_MAX];
  snprintf(text, sizeof text,
           "too many connections wait for their login, %zu of them from %s: the oldest of these gives way",
           v->together, door_network(v, network));
  all->counts.gave_way[v->rule]++;
  give_way(session_of(v->victim), text);
  all->host->on_gave_way(all->host->ctx, &newcomer->source, v->rule, text);
}

door_rule_t place_take(session_t *s)
{
  sessions_t *all = s->all;
  uint16_t random = 0;
  door_verdict_t v;
  bool known = known_is(all->host->known, &s->source.ip, clock_mono_ms());
  RAND_bytes((unsigned char *)&random, sizeof random);
  if (door_enter(all->host->door, &s->login.place, &s->source.ip, known, &all->host->world.config->limits,
                 signed_in(all), random % 100u, &v))
    return DOOR_CONNECTIONS;
  if (v.victim == &s->login.place) {
    door_leave(all->host->door, &s->login.place);
    return v.rule;
  }
  if (v.victim != NULL)
    make_room(s, &v);
  return DOOR_OPEN;
}

void place_leave(session_t *s)
{
  sessions_t *all = s->all;
  door_leave(all->host->door, &s->login.place);
  known_mark(all->host->known, &s->source.ip, s->who.user, clock_mono_ms());
  door_keep(all->host->door, &s->source.ip);
}
