/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/session/door.h"

#include <stdlib.h>

#include "common/base/error.h"

struct door {
  crowd_t *crowd;
  door_place_t *oldest, *newest;
  size_t count;
};

door_t *door_new(void)
{
  door_t *d = calloc(1, sizeof *d);
  if (d != NULL)
    d->crowd = crowd_new();
  if (d == NULL || d->crowd == NULL) {
    free(d);
    return NULL;
  }
  return d;
}

void door_free(door_t *d)
{
  if (d != NULL)
    crowd_free(d->crowd);
  free(d);
}

size_t door_count(const door_t *d)
{
  return d->count;
}

static door_place_t *newest_of(const door_t *d, const ip_t *ip)
{
  door_place_t *p = d->newest;
  while (p != NULL && !source_same(&p->ip, ip))
    p = p->older;
  return p;
}

static door_place_t *oldest_of(const door_t *d, const ip_t *ip, size_t *count)
{
  door_place_t *found = NULL;
  *count = 0;
  for (door_place_t *p = d->newest; p != NULL; p = p->older) {
    if (!source_same(&p->ip, ip))
      continue;
    found = p;
    ++*count;
  }
  return found;
}

static void append(door_t *d, door_place_t *p)
{
  p->older = d->newest;
  p->newer = NULL;
  *(d->newest != NULL ? &d->newest->newer : &d->oldest) = p;
  d->newest = p;
  p->here = true;
  d->count++;
}

static void keep(door_t *d, door_place_t *p)
{
  if (p == NULL)
    return;
  crowd_leave(d->crowd, &p->member);
  p->kept = true;
}

static int let_in(door_t *d, door_place_t *p, bool known)
{
  door_place_t *before = newest_of(d, &p->ip);
  bool was_kept = before != NULL && before->kept;
  if (was_kept || !known) {
    /* of a source that keeps a place it is now the newest one's: the one before counts from here on */
    door_place_t *counts = was_kept ? before : p;
    if (crowd_add(d->crowd, &counts->member, &counts->ip, 1))
      return SMPL_ENOMEM;
    counts->kept = false;
  }
  p->kept = was_kept || known;
  append(d, p);
  return SMPL_OK;
}

void door_leave(door_t *d, door_place_t *p)
{
  if (!p->here)
    return;
  *(p->older != NULL ? &p->older->newer : &d->oldest) = p->newer;
  *(p->newer != NULL ? &p->newer->older : &d->newest) = p->older;
  d->count--;
  crowd_leave(d->crowd, &p->member);
  if (p->kept)
    keep(d, newest_of(d, &p->ip));
  *p = (door_place_t){.here = false};
}

void door_keep(door_t *d, const ip_t *ip)
{
  keep(d, newest_of(d, ip));
}

/* All places are kept: the oldest goes. */
static door_verdict_t of_the_most(const door_t *d, door_rule_t rule)
{
  crowd_member_t *m = crowd_heaviest(d->crowd);
  if (m == NULL)
    return (door_verdict_t){rule, d->oldest, 0};
  return (door_verdict_t){rule, (door_place_t *)m, (size_t)crowd_of_network(m)};
}

static door_verdict_t judge(const door_t *d, const ip_t *newcomer, const limits_conf_t *l, size_t signed_in,
                            unsigned random)
{
  size_t waiting = d->count - 1;
  door_verdict_t own = {.rule = DOOR_SOURCE};
  own.victim = oldest_of(d, newcomer, &own.together);
  if (own.together > l->startups_per_source)
    return own;
  if (waiting + signed_in >= l->connections)
    return of_the_most(d, DOOR_CONNECTIONS);
  if (startups_strike(&l->startups, waiting, random)) {
    door_verdict_t v = of_the_most(d, DOOR_STARTUPS);
    if (waiting >= l->startups.full || v.together > 1) /* early, only who has more than one */
      return v;
  }
  return (door_verdict_t){.rule = DOOR_OPEN};
}

int door_enter(door_t *d, door_place_t *newcomer, const ip_t *ip, bool known, const limits_conf_t *limits,
               size_t signed_in, unsigned random, door_verdict_t *verdict)
{
  *newcomer = (door_place_t){.ip = *ip};
  if (let_in(d, newcomer, known))
    return SMPL_ENOMEM;
  *verdict = judge(d, ip, limits, signed_in, random);
  return SMPL_OK;
}

char *door_network(const door_verdict_t *v, char *buf)
{
  const ip_t *ip = &v->victim->ip;
  ip_net_t net = source_network(ip);
  return v->rule == DOOR_SOURCE ? source_format(ip, buf) : ip_net_format(&net, buf);
}

const char *door_rule_name(door_rule_t rule)
{
  static const char *const names[DOOR_RULES] = {
      [DOOR_OPEN] = "none",         [DOOR_SOURCE] = "startups_per_source",
      [DOOR_STARTUPS] = "startups", [DOOR_CONNECTIONS] = "connections",
      [DOOR_FAILED] = "penalties",  [DOOR_SILENT] = "penalties.silent",
  };
  return (unsigned)rule < DOOR_RULES ? names[rule] : names[DOOR_OPEN];
}
