/* SPDX-License-Identifier: Apache-2.0 */
#include "app/http/room.h"

#include <stdlib.h>

#include "app/http/conn.h"
#include "common/base/error.h"

struct room {
  crowd_t *held[ROOM_KINDS];
};

room_t *room_new(void)
{
  room_t *room = calloc(1, sizeof *room);
  for (size_t i = 0; room != NULL && i < ROOM_KINDS; i++) {
    room->held[i] = crowd_new();
    if (room->held[i] == NULL) {
      room_free(room);
      room = NULL;
    }
  }
  return room;
}

void room_free(room_t *room)
{
  for (size_t i = 0; room != NULL && i < ROOM_KINDS; i++)
    crowd_free(room->held[i]);
  free(room);
}

int room_open_places(room_places_t *places)
{
  places->connections = crowd_new();
  places->handshakes = crowd_new();
  return places->connections != NULL && places->handshakes != NULL ? SMPL_OK : SMPL_ENOMEM;
}

void room_close_places(room_places_t *places)
{
  crowd_free(places->connections);
  crowd_free(places->handshakes);
}

/* Whose connection is whose */

static int take_place(conn_t *c)
{
  return crowd_add(c->listener->places.connections, &c->place, &c->source, 1);
}

int room_enter(conn_t *c)
{
  c->source = c->peer.ip;
  return c->balancer ? SMPL_OK : take_place(c);
}

void room_leave(conn_t *c)
{
  for (unsigned kind = 0; kind < ROOM_KINDS; kind++)
    room_give_back(c, (room_kind_t)kind);
  room_end_handshake(c);
  crowd_leave(c->listener->places.connections, &c->place);
}

int room_serve(conn_t *c, const ip_t *source)
{
  c->source = *source;
  return take_place(c);
}

void room_served(conn_t *c)
{
  if (!c->balancer)
    return;
  crowd_leave(c->listener->places.connections, &c->place);
  c->source = c->peer.ip;
}

/* Bytes */

static conn_t *holder_of(crowd_member_t *member, room_kind_t kind)
{
  char *at = (char *)member - kind * sizeof *member;
  return (conn_t *)(void *)(at - offsetof(conn_t, held));
}

size_t room_held(const room_t *room, room_kind_t kind)
{
  return (size_t)crowd_total(room->held[kind]);
}

static bool can_give_way(phase_t phase, room_kind_t kind)
{
  if (kind == ROOM_HEADS)
    return true;
  return kind == ROOM_BODIES ? phase == PHASE_BODY || phase == PHASE_PARSE : phase == PHASE_WRITE;
}

/* At the heaviest address, the first that can give way now. */
static conn_t *heaviest(const room_t *room, room_kind_t kind)
{
  crowd_member_t *m = crowd_heaviest(room->held[kind]);
  for (size_t n = 0; m != NULL && n < ROOM_LOOK; m = m->newer, n++)
    if (m->weight > 0 && can_give_way(holder_of(m, kind)->phase, kind))
      return holder_of(m, kind);
  return NULL;
}

bool room_take(conn_t *c, room_kind_t kind, size_t bytes)
{
  const front_t *front = c->listener->front;
  crowd_t *crowd = front->room->held[kind];
  if (crowd_add(crowd, &c->held[kind], kind == ROOM_HEADS ? &c->peer.ip : &c->source, bytes))
    return false;
  while (crowd_total(crowd) > front->limits.held[kind]) {
    conn_t *victim = heaviest(front->room, kind);
    if (victim == NULL || crowd_compare(&victim->held[kind], &c->held[kind]) <= 0) {
      crowd_less(crowd, &c->held[kind], bytes);
      return false;
    }
    conn_give_way(victim, kind);
  }
  return true;
}

bool room_hold(conn_t *c, room_kind_t kind, size_t bytes)
{
  uint64_t held = c->held[kind].weight;
  if (bytes > held)
    return room_take(c, kind, bytes - (size_t)held);
  if (bytes == 0)
    room_give_back(c, kind);
  else
    crowd_less(c->listener->front->room->held[kind], &c->held[kind], held - bytes);
  return true;
}

void room_give_back(conn_t *c, room_kind_t kind)
{
  crowd_leave(c->listener->front->room->held[kind], &c->held[kind]);
}

/* Handshakes */

static conn_t *shaker_of(crowd_member_t *member)
{
  return member != NULL ? (conn_t *)(void *)((char *)member - offsetof(conn_t, shake)) : NULL;
}

int room_begin_handshake(conn_t *c)
{
  if (!c->balancer && crowd_add(c->listener->places.handshakes, &c->shake, &c->source, 1))
    return SMPL_ENOMEM;
  c->shaking = true;
  c->listener->handshakes++;
  return SMPL_OK;
}

void room_end_handshake(conn_t *c)
{
  if (!c->shaking)
    return;
  c->shaking = false;
  c->listener->handshakes--;
  crowd_leave(c->listener->places.handshakes, &c->shake);
}

conn_t *room_handshake_victim(const conn_t *newcomer)
{
  const listener_t *listener = newcomer->listener;
  const front_limits_t *limits = &listener->front->limits;
  const crowd_t *crowd = listener->places.handshakes;
  if (!newcomer->balancer && crowd_of_source(crowd, &newcomer->source) >= limits->source_handshakes)
    return shaker_of(crowd_heaviest_of_source(crowd, &newcomer->source));
  if (listener->handshakes < limits->handshakes)
    return NULL;
  conn_t *victim = shaker_of(crowd_heaviest(crowd));
  return victim != NULL ? victim : listener->lists[PHASE_HANDSHAKE].first;
}

/* Places */

static conn_t *placed_of(crowd_member_t *member)
{
  return (conn_t *)(void *)((char *)member - offsetof(conn_t, place));
}

/* Of those accepted first at that address, the first that is idle, or else the first that no handler has. */
static conn_t *one_of(crowd_member_t *first, const conn_t *newcomer)
{
  conn_t *unfinished = NULL;
  for (size_t n = 0; first != NULL && n < ROOM_LOOK; first = first->newer, n++) {
    conn_t *c = placed_of(first);
    if (c == newcomer || c->phase == PHASE_HANDLER)
      continue;
    if (c->phase == PHASE_IDLE)
      return c;
    unfinished = unfinished != NULL ? unfinished : c;
  }
  return unfinished;
}

static conn_t *longest_idle(const listener_t *listener, const conn_t *newcomer, bool balancers)
{
  conn_t *c = listener->lists[PHASE_IDLE].first;
  for (size_t n = 0; c != NULL && n < ROOM_LOOK; c = c->next, n++)
    if (c != newcomer && c->balancer == balancers)
      return c;
  return NULL;
}

conn_t *room_place_victim(const conn_t *newcomer)
{
  const listener_t *listener = newcomer->listener;
  crowd_member_t *most = crowd_heaviest(listener->places.connections);
  bool over = most != NULL && crowd_of_network(most) > listener->front->limits.connections / ROOM_SHARE;
  conn_t *victim = over ? NULL : longest_idle(listener, newcomer, false);
  if (victim == NULL && most != NULL)
    victim = one_of(most, newcomer);
  if (victim != NULL || (over && most->at == newcomer->place.at))
    return victim; /* a newcomer of the heaviest drives out nobody else */
  victim = longest_idle(listener, newcomer, false);
  return victim != NULL ? victim : longest_idle(listener, newcomer, true);
}
