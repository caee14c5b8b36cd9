/* SPDX-License-Identifier: Apache-2.0 */
#include "app/http/room.h"

#include <stdlib.h>

#include "common/base/error.h"

struct room {
  crowd_t *held[ROOM_KINDS];
  const size_t *bounds;
};

room_t *room_new(const size_t bounds[ROOM_KINDS])
{
  room_t *room = calloc(1, sizeof *room);
  if (room != NULL)
    room->bounds = bounds;
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

int room_open_places(room_places_t *places, const room_bounds_t *bounds, const phases_t *phases)
{
  *places = (room_places_t){.bounds = *bounds, .phases = phases};
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

static int take_place(seat_t *seat)
{
  return crowd_add(seat->places->connections, &seat->place, &seat->source, 1);
}

int room_enter(seat_t *seat)
{
  seat->source = seat->peer;
  return seat->balancer ? SMPL_OK : take_place(seat);
}

void room_leave(seat_t *seat)
{
  for (unsigned kind = 0; kind < ROOM_KINDS; kind++)
    room_give_back(seat, (room_kind_t)kind);
  room_end_handshake(seat);
  crowd_leave(seat->places->connections, &seat->place);
}

int room_serve(seat_t *seat, const ip_t *source)
{
  seat->source = *source;
  return take_place(seat);
}

void room_served(seat_t *seat)
{
  if (!seat->balancer)
    return;
  crowd_leave(seat->places->connections, &seat->place);
  seat->source = seat->peer;
}

/* Bytes */

static seat_t *holder_of(crowd_member_t *member, room_kind_t kind)
{
  char *at = (char *)member - kind * sizeof *member;
  return (seat_t *)(void *)(at - offsetof(seat_t, held));
}

size_t room_held(const room_t *room, room_kind_t kind)
{
  return (size_t)crowd_total(room->held[kind]);
}

bool room_is_crowded(const room_t *room, room_kind_t kind)
{
  return room_held(room, kind) > room->bounds[kind] / 2;
}

static bool can_give_way(phase_t phase, room_kind_t kind)
{
  if (kind == ROOM_HEADS)
    return true;
  return kind == ROOM_BODIES ? phase == PHASE_BODY || phase == PHASE_PARSE : phase == PHASE_WRITE;
}

/* At the heaviest address, the first that can give way now. */
static seat_t *heaviest(const room_t *room, room_kind_t kind)
{
  crowd_member_t *m = crowd_heaviest(room->held[kind]);
  for (size_t n = 0; m != NULL && n < ROOM_LOOK; m = m->newer, n++)
    if (m->weight > 0 && can_give_way(holder_of(m, kind)->wait.phase, kind))
      return holder_of(m, kind);
  return NULL;
}

int room_take(seat_t *seat, room_kind_t kind, size_t bytes, seat_t **victim)
{
  const room_t *room = seat->room;
  crowd_t *crowd = room->held[kind];
  *victim = NULL;
  if (crowd_add(crowd, &seat->held[kind], kind == ROOM_HEADS ? &seat->peer : &seat->source, bytes))
    return SMPL_ENOMEM;
  if (crowd_total(crowd) <= room->bounds[kind])
    return SMPL_OK;
  seat_t *most = heaviest(room, kind);
  if (most != NULL && crowd_compare(&most->held[kind], &seat->held[kind]) > 0)
    *victim = most;
  crowd_less(crowd, &seat->held[kind], bytes);
  return *victim != NULL ? SMPL_EBUSY : SMPL_ELIMIT;
}

int room_hold(seat_t *seat, room_kind_t kind, size_t bytes, seat_t **victim)
{
  uint64_t held = seat->held[kind].weight;
  if (bytes > held)
    return room_take(seat, kind, bytes - (size_t)held, victim);
  if (bytes == 0)
    room_give_back(seat, kind);
  else
    crowd_less(seat->room->held[kind], &seat->held[kind], held - bytes);
  return SMPL_OK;
}

void room_give_back(seat_t *seat, room_kind_t kind)
{
  crowd_leave(seat->room->held[kind], &seat->held[kind]);
}

/* Handshakes */

static seat_t *shaker_of(crowd_member_t *member)
{
  return member != NULL ? (seat_t *)(void *)((char *)member - offsetof(seat_t, shake)) : NULL;
}

int room_begin_handshake(seat_t *seat)
{
  if (!seat->balancer && crowd_add(seat->places->handshakes, &seat->shake, &seat->source, 1))
    return SMPL_ENOMEM;
  seat->shaking = true;
  seat->places->shaking++;
  return SMPL_OK;
}

void room_end_handshake(seat_t *seat)
{
  if (!seat->shaking)
    return;
  seat->shaking = false;
  seat->places->shaking--;
  crowd_leave(seat->places->handshakes, &seat->shake);
}

/* What waits in a listener's lists is always the first part of a seat. */
static seat_t *seat_of(phased_t *wait)
{
  return (seat_t *)(void *)wait;
}

seat_t *room_handshake_victim(const seat_t *newcomer)
{
  const room_places_t *places = newcomer->places;
  const crowd_t *crowd = places->handshakes;
  if (!newcomer->balancer && crowd_of_source(crowd, &newcomer->source) >= places->bounds.source_handshakes)
    return shaker_of(crowd_heaviest_of_source(crowd, &newcomer->source));
  if (places->shaking < places->bounds.handshakes)
    return NULL;
  seat_t *victim = shaker_of(crowd_heaviest(crowd));
  return victim != NULL ? victim : seat_of(places->phases->lists[PHASE_HANDSHAKE].first);
}

/* Places */

static seat_t *placed_of(crowd_member_t *member)
{
  return (seat_t *)(void *)((char *)member - offsetof(seat_t, place));
}

/* Of those accepted first at that address, the first that is idle, or else the first that no handler has. */
static seat_t *one_of(crowd_member_t *first, const seat_t *newcomer)
{
  seat_t *unfinished = NULL;
  for (size_t n = 0; first != NULL && n < ROOM_LOOK; first = first->newer, n++) {
    seat_t *seat = placed_of(first);
    if (seat == newcomer || seat->wait.phase == PHASE_HANDLER)
      continue;
    if (seat->wait.phase == PHASE_IDLE)
      return seat;
    unfinished = unfinished != NULL ? unfinished : seat;
  }
  return unfinished;
}

static seat_t *longest_idle(const phases_t *phases, const seat_t *newcomer, bool balancers)
{
  phased_t *at = phases->lists[PHASE_IDLE].first;
  for (size_t n = 0; at != NULL && n < ROOM_LOOK; at = at->next, n++)
    if (seat_of(at) != newcomer && seat_of(at)->balancer == balancers)
      return seat_of(at);
  return NULL;
}

seat_t *room_place_victim(const seat_t *newcomer)
{
  const room_places_t *places = newcomer->places;
  crowd_member_t *most = crowd_heaviest(places->connections);
  bool over = most != NULL && crowd_of_network(most) > places->bounds.connections / ROOM_SHARE;
  seat_t *victim = over ? NULL : longest_idle(places->phases, newcomer, false);
  if (victim == NULL && most != NULL)
    victim = one_of(most, newcomer);
  if (victim != NULL || (over && most->at == newcomer->place.at))
    return victim; /* a newcomer of the heaviest drives out nobody else */
  victim = longest_idle(places->phases, newcomer, false);
  return victim != NULL ? victim : longest_idle(places->phases, newcomer, true);
}
