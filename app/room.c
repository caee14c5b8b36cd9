#include "app/room.h"

#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "app/conn.h"

enum { BUCKETS = 4096 };

struct source {
  source_t *next;
  ip_t ip;
  size_t connections;
  size_t handshakes;
  size_t held[ROOM_KINDS];
};

struct room {
  uint64_t seed; /* so that nobody can choose addresses that share a bucket */
  size_t held[ROOM_KINDS];
  source_t *buckets[BUCKETS];
};

room_t *room_new(void)
{
  room_t *room = calloc(1, sizeof *room);
  if (room != NULL && RAND_bytes((unsigned char *)&room->seed, sizeof room->seed) != 1) {
    free(room);
    room = NULL;
  }
  return room;
}

void room_free(room_t *room)
{
  free(room);
}

/* One customer of a provider has an IPv6 /64 at least: its addresses count as one. */
static ip_t source_of(const ip_t *ip)
{
  ip_t of = *ip;
  if (!ip_is_v4(ip))
    memset(of.b + 8, 0, 8);
  return of;
}

static source_t **bucket_of(room_t *room, const ip_t *ip)
{
  uint64_t parts[2];
  memcpy(parts, ip->b, sizeof parts);
  uint64_t hash = room->seed;
  for (size_t i = 0; i < 2; i++) {
    hash = (hash ^ parts[i]) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 29;
  }
  return &room->buckets[(hash ^ hash >> 32) % BUCKETS];
}

source_t *room_enter(room_t *room, const ip_t *ip)
{
  ip_t of = source_of(ip);
  source_t **bucket = bucket_of(room, &of);
  source_t *source = *bucket;
  while (source != NULL && !ip_equal(&source->ip, &of))
    source = source->next;
  if (source == NULL) {
    source = calloc(1, sizeof *source);
    if (source == NULL)
      return NULL;
    source->ip = of;
    source->next = *bucket;
    *bucket = source;
  }
  source->connections++;
  return source;
}

void room_leave(room_t *room, source_t *source)
{
  if (source == NULL || --source->connections > 0)
    return;
  source_t **at = bucket_of(room, &source->ip);
  while (*at != source)
    at = &(*at)->next;
  *at = source->next;
  free(source);
}

size_t room_connections(const source_t *source)
{
  return source->connections;
}

size_t room_held(const room_t *room, room_kind_t kind)
{
  return room->held[kind];
}

/* Of those in that phase for longest, the first whose source holds the most. */
static conn_t *heaviest(const front_t *front, room_kind_t kind)
{
  phase_t phase = kind == ROOM_BODIES ? PHASE_BODY : PHASE_WRITE;
  conn_t *found = NULL;
  for (size_t i = 0; i < front->listener_count; i++) {
    conn_t *c = front->listeners[i].lists[phase].first;
    for (size_t n = 0; c != NULL && n < ROOM_LOOK; c = c->next, n++)
      if (c->held[kind] > 0 && (found == NULL || c->source->held[kind] > found->source->held[kind]))
        found = c;
  }
  return found;
}

bool room_take(conn_t *c, room_kind_t kind, size_t bytes)
{
  front_t *front = c->listener->front;
  room_t *room = front->room;
  while (bytes > front->limits.held[kind] - room->held[kind]) {
    conn_t *victim = heaviest(front, kind);
    if (victim == NULL || victim->source->held[kind] <= c->source->held[kind] + bytes)
      return false;
    conn_give_way(victim, kind);
  }
  c->held[kind] += bytes;
  c->source->held[kind] += bytes;
  room->held[kind] += bytes;
  return true;
}

void room_give_back(conn_t *c, room_kind_t kind)
{
  if (c->held[kind] == 0)
    return;
  c->source->held[kind] -= c->held[kind];
  c->listener->front->room->held[kind] -= c->held[kind];
  c->held[kind] = 0;
}

void room_begin_handshake(conn_t *c)
{
  c->shaking = true;
  c->source->handshakes++;
  c->listener->handshakes++;
}

void room_end_handshake(conn_t *c)
{
  if (!c->shaking)
    return;
  c->shaking = false;
  c->source->handshakes--;
  c->listener->handshakes--;
}

conn_t *room_handshake_victim(const listener_t *listener, const source_t *newcomer)
{
  const front_limits_t *limits = &listener->front->limits;
  bool own = newcomer->handshakes >= limits->source_handshakes;
  conn_t *found = NULL;
  if (!own && listener->handshakes < limits->handshakes)
    return NULL;
  conn_t *c = listener->lists[PHASE_HANDSHAKE].first;
  for (size_t n = 0; c != NULL && (own || n < ROOM_LOOK); c = c->next, n++) {
    if (own && c->shaking && c->source == newcomer)
      return c;
    if (!own && c->shaking && (found == NULL || c->source->handshakes > found->source->handshakes))
      found = c;
  }
  return found;
}

conn_t *room_crowder(const listener_t *listener, const source_t *newcomer)
{
  static const phase_t unfinished[] = {PHASE_HANDSHAKE, PHASE_HEAD, PHASE_BODY};
  conn_t *found = NULL;
  for (size_t i = 0; i < sizeof unfinished / sizeof *unfinished; i++) {
    conn_t *c = listener->lists[unfinished[i]].first;
    for (size_t n = 0; c != NULL && n < ROOM_LOOK; c = c->next, n++) {
      size_t most = found != NULL ? found->source->connections : 0;
      if (c->source->connections > most ||
          (found != NULL && c->source->connections == most && c->since < found->since))
        found = c;
    }
  }
  return found != NULL && found->source->connections >= newcomer->connections ? found : NULL;
}
