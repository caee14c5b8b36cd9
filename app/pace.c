#include "app/pace.h"

#include <stddef.h>

#include "app/conn.h"
#include "common/error.h"

int pace_open(listener_t *listener)
{
  /* Every handshake under way has a place, and one more until an older one has given way. */
  turns_conf_t conf = {.places = listener->front->limits.handshakes + 1};
  if (listener->conf->tls == NULL)
    return SMPL_OK;
  listener->steps = turns_new(&conf);
  return listener->steps != NULL ? SMPL_OK : SMPL_ENOMEM;
}

void pace_close(listener_t *listener)
{
  turns_free(listener->steps);
}

static void on_idle(uv_idle_t *idle)
{
  pace_round(idle->data);
}

static void wake(front_t *front)
{
  uv_idle_start(&front->pace, on_idle);
}

void pace_request(conn_t *c)
{
  conn_enter(c, PHASE_TURN);
  c->round = c->listener->front->round;
  wake(c->listener->front);
}

int pace_handshake(conn_t *c)
{
  ip_t network = crowd_network(&c->source);
  turns_key_t line = turns_key(&network, sizeof network);
  turns_item_t *displaced = NULL; /* nobody: there is a place for each */
  int err = turns_join(c->listener->steps, &line, 1, &c->step, &displaced);
  c->stepping = !err;
  wake(c->listener->front);
  return err;
}

void pace_leave(conn_t *c)
{
  if (c->stepping)
    turns_leave(c->listener->steps, &c->step);
  c->stepping = false;
}

static void run_requests(listener_t *listener, uint64_t round)
{
  const conn_list_t *waiting = &listener->lists[PHASE_TURN];
  for (size_t n = 0; n < PACE_CONNECTIONS && waiting->first != NULL && waiting->first->round != round; n++)
    conn_resume(waiting->first);
}

static void run_handshakes(listener_t *listener)
{
  for (size_t n = 0; n < PACE_HANDSHAKES && listener->steps != NULL; n++) {
    turns_item_t *item = turns_take(listener->steps);
    if (item == NULL)
      return;
    conn_t *c = (conn_t *)(void *)((char *)item - offsetof(conn_t, step));
    c->stepping = false;
    conn_shake(c);
  }
}

void pace_round(front_t *front)
{
  front->round++; /* who comes to wait from here on waits for the next one */
  for (size_t i = 0; i < front->listener_count; i++) {
    run_requests(&front->listeners[i], front->round);
    run_handshakes(&front->listeners[i]);
  }
  if (pace_is_idle(front))
    uv_idle_stop(&front->pace);
}

bool pace_is_idle(const front_t *front)
{
  for (size_t i = 0; i < front->listener_count; i++) {
    const listener_t *listener = &front->listeners[i];
    if (listener->lists[PHASE_TURN].first != NULL ||
        (listener->steps != NULL && turns_waiting(listener->steps) > 0))
      return false;
  }
  return true;
}
