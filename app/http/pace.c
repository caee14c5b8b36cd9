/* SPDX-License-Identifier: Apache-2.0 */
#include "app/http/pace.h"

#include <stddef.h>
#include <string.h>

#include "app/http/conn.h"
#include "common/base/error.h"

int pace_open(listener_t *listener)
{
  const front_limits_t *limits = &listener->front->limits;
  /* Everybody has a place, and one more until an older one has given way. */
  turns_conf_t requests = {.places = limits->connections + 1}, steps = {.places = limits->handshakes + 1};
  listener->requests = turns_new(&requests);
  if (listener->requests == NULL)
    return SMPL_ENOMEM;
  if (listener->conf->tls == NULL)
    return SMPL_OK;
  listener->steps = turns_new(&steps);
  return listener->steps != NULL ? SMPL_OK : SMPL_ENOMEM;
}

void pace_close(listener_t *listener)
{
  turns_free(listener->requests);
  turns_free(listener->steps);
}

static size_t slot_of(const ip_t *network)
{
  uint64_t parts[2];
  memcpy(parts, network->b, sizeof parts);
  uint64_t hash = (parts[0] ^ parts[1]) * 0x9e3779b97f4a7c15u;
  return (size_t)((hash ^ hash >> 32) * 0x9e3779b97f4a7c15u >> 32) % PACE_SLOTS;
}

unsigned pace_read_size(const conn_t *c, unsigned most)
{
  const front_t *front = c->listener->front;
  bool crowded = room_held(front->room, ROOM_HEADS) > front->limits.held[ROOM_HEADS] / 2;
  return crowded && (c->phase == PHASE_IDLE || c->phase == PHASE_HEAD) ? (unsigned)PACE_CROWDED_READ : most;
}

static void count_round(listener_t *listener)
{
  pace_begun_t *begun = &listener->begun;
  if (begun->round != listener->front->round)
    begun->all = begun->accepted = 0;
  begun->round = listener->front->round;
}

bool pace_begins(conn_t *c)
{
  pace_begun_t *begun = &c->listener->begun;
  uint64_t round = c->listener->front->round;
  ip_t network = crowd_network(&c->source);
  size_t slot = slot_of(&network);
  count_round(c->listener);
  if (begun->slots[slot].round != round)
    begun->slots[slot].count = 0;
  begun->slots[slot].round = round;
  if (begun->all >= PACE_BEGUN_ALL || begun->slots[slot].count >= PACE_BEGUN)
    return false;
  begun->all++;
  begun->slots[slot].count++;
  return true;
}

static void on_idle(uv_idle_t *idle)
{
  pace_round(idle->data);
}

bool pace_accepts(listener_t *listener)
{
  count_round(listener);
  if (listener->begun.accepted < PACE_ACCEPTS) {
    listener->begun.accepted++;
    return true;
  }
  listener->accept_waits = true;
  uv_idle_start(&listener->front->pace, on_idle);
  return false;
}

static int wait_in(turns_t *queue, conn_t *c, const ip_t *source)
{
  ip_t network = crowd_network(source);
  turns_key_t line = turns_key(&network, sizeof network);
  turns_item_t *displaced = NULL; /* nobody: there is a place for each */
  int err = turns_join(queue, &line, 1, &c->turn, &displaced);
  c->queue = err ? NULL : queue;
  uv_idle_start(&c->listener->front->pace, on_idle);
  return err;
}

/* Whose the next request is. What a balancer sends belongs to whom its head names; if that is not here whole,
 * it is the balancer's. What is left of a body names nobody: its sender wrote it. */
static ip_t next_source(const conn_t *c)
{
  gate_head_t head;
  size_t end = 0, at = c->skip < c->in_len ? c->skip : c->in_len;
  ip_t source = c->source;
  if (c->balancer && gate_scan(c->in + at, c->in_len - at, 0, &end) == GATE_ADMIT &&
      gate_head(c->in + at, end, &head) == GATE_ADMIT)
    forwarded_source(c->in + at, &head, &source); /* unchanged if it names none */
  return source;
}

int pace_request(conn_t *c)
{
  ip_t source = next_source(c);
  conn_enter(c, PHASE_TURN);
  return wait_in(c->listener->requests, c, &source);
}

int pace_handshake(conn_t *c)
{
  return wait_in(c->listener->steps, c, &c->source);
}

void pace_leave(conn_t *c)
{
  if (c->queue != NULL)
    turns_leave(c->queue, &c->turn);
  c->queue = NULL;
}

/* Whose turn it is; NULL if nobody waits. */
static conn_t *take(turns_t *queue)
{
  turns_item_t *item = turns_take(queue);
  if (item == NULL)
    return NULL;
  conn_t *c = (conn_t *)(void *)((char *)item - offsetof(conn_t, turn));
  c->queue = NULL;
  return c;
}

/* Who comes to wait while the round runs waits for the next one: the round's are taken first. */
static void run_requests(listener_t *listener)
{
  const conn_list_t *going = &listener->lists[PHASE_GO];
  conn_t *c;
  for (size_t n = 0; n < PACE_CONNECTIONS && (c = take(listener->requests)) != NULL; n++)
    conn_enter(c, PHASE_GO);
  while (going->first != NULL)
    conn_resume(going->first);
}

static void run_handshakes(listener_t *listener)
{
  conn_t *c;
  for (size_t n = 0; n < PACE_HANDSHAKES && listener->steps != NULL && (c = take(listener->steps)) != NULL;
       n++)
    conn_shake(c);
}

/* The event loop hands over no other one before this one is taken. */
static void run_accepts(listener_t *listener)
{
  if (listener->accept_waits && listener->open && pace_accepts(listener)) {
    listener->accept_waits = false;
    conn_accept(listener);
  }
}

void pace_round(front_t *front)
{
  for (size_t i = 0; i < front->listener_count; i++) {
    run_accepts(&front->listeners[i]);
    run_requests(&front->listeners[i]);
    run_handshakes(&front->listeners[i]);
  }
  if (pace_is_idle(front))
    uv_idle_stop(&front->pace);
}

bool pace_is_idle(const front_t *front)
{
  for (size_t i = 0; i < front->listener_count; i++) {
    const listener_t *listener = &front->listeners[i];
    if ((listener->accept_waits && listener->open) || turns_waiting(listener->requests) > 0 ||
        (listener->steps != NULL && turns_waiting(listener->steps) > 0))
      return false;
  }
  return true;
}
