/* SPDX-License-Identifier: Apache-2.0 */
#include "app/http/front.h"

#include <stdlib.h>

#include "app/http/delivery.h"
#include "app/http/door.h"
#include "app/http/exchange.h"
#include "app/http/front_state.h"
#include "app/http/intake.h"
#include "common/net/bind.h"
#include "common/base/error.h"
#include "common/base/log.h"

/* Rounds of the loop, in which those go on who had to wait (pace.h) */

bool front_is_idle(const front_t *front)
{
  for (size_t i = 0; i < front->listener_count; i++) {
    const listener_t *listener = &front->listeners[i];
    if ((listener->conns.pace.accept_waits && listener->open) || !pace_is_idle(&listener->conns.pace))
      return false;
  }
  return true;
}

/* Who comes to wait while the round runs waits for the next one: the round's are taken first. */
static void run_requests(conn_listener_t *listener)
{
  const phase_list_t *going = &listener->phases.lists[PHASE_GO];
  conn_t *c;
  for (size_t n = 0; n < PACE_CONNECTIONS && (c = conn_of_turn(pace_next_request(&listener->pace))) != NULL;
       n++)
    conn_enter(c, PHASE_GO);
  while (going->first != NULL)
    intake_take_turn(conn_of_wait(going->first));
}

static void run_handshakes(conn_listener_t *listener)
{
  conn_t *c;
  for (size_t n = 0; n < PACE_HANDSHAKES && (c = conn_of_turn(pace_next_handshake(&listener->pace))) != NULL;
       n++)
    intake_shake(c);
}

static void run_round(uv_idle_t *idle)
{
  front_t *front = idle->data;
  for (size_t i = 0; i < front->listener_count; i++) {
    listener_t *listener = &front->listeners[i];
    /* The event loop hands over no other connection before this one is taken. */
    if (listener->open && pace_accept_is_due(&listener->conns.pace))
      door_accept(&listener->conns, &listener->tcp);
    run_requests(&listener->conns);
    run_handshakes(&listener->conns);
  }
  if (front_is_idle(front))
    uv_idle_stop(idle);
}

/* Ending */

/* Closing a handle leads back to it. */
static void check_drained(front_t *front);

static void one_handle_less(front_t *front)
{
  front->handles--;
  check_drained(front);
}

static void on_listener_closed(uv_handle_t *handle)
{
  const listener_t *listener = handle->data;
  one_handle_less(listener->front);
}

static void on_handle_closed(uv_handle_t *handle)
{
  one_handle_less(handle->data);
}

static void on_parse_closed(void *ctx)
{
  front_t *front = ctx;
  front->env.parse = NULL;
  one_handle_less(front);
}

static void finish_drain(front_t *front, size_t abandoned)
{
  front->drained = true;
  front->done(front->done_ctx, abandoned);
}

/* A connection was freed, a request replied to, a handle closed: is the drain over? */
static void check_drained(front_t *front)
{
  const conn_env_t *env = &front->env;
  if (!env->draining || env->connections > 0)
    return;
  if (env->requests.owed > 0) {
    if (!front->drained && uv_now(env->loop) >= front->give_up_deadline)
      finish_drain(front, env->requests.owed);
    return;
  }
  if (!uv_is_closing((uv_handle_t *)&front->tick)) {
    uv_close((uv_handle_t *)&front->tick, on_handle_closed);
    uv_close((uv_handle_t *)&front->flush, on_handle_closed);
    uv_close((uv_handle_t *)&front->env.rounds.idle, on_handle_closed);
    if (env->parse != NULL)
      parse_close(env->parse, on_parse_closed, front);
    return;
  }
  if (front->handles == 0 && !front->drained)
    finish_drain(front, 0);
}

static void close_listeners(front_t *front)
{
  for (size_t i = 0; i < front->listener_count; i++) {
    if (!front->listeners[i].open)
      continue;
    front->listeners[i].open = false;
    uv_close((uv_handle_t *)&front->listeners[i].tcp, on_listener_closed);
  }
}

static void close_idle(front_t *front, bool but_unread)
{
  for (size_t i = 0; i < front->listener_count; i++) {
    phased_t *at = front->listeners[i].conns.phases.lists[PHASE_IDLE].first;
    for (phased_t *next; at != NULL; at = next) {
      next = at->next;
      if (!but_unread || !conn_has_unread(conn_of_wait(at)))
        conn_close(conn_of_wait(at));
    }
  }
}

static void close_all(front_t *front)
{
  for (size_t i = 0; i < front->listener_count; i++)
    for (unsigned phase = 0; phase < PHASE_COUNT; phase++) {
      const phase_list_t *list = &front->listeners[i].conns.phases.lists[phase];
      while (list->first != NULL)
        conn_close(conn_of_wait(list->first));
    }
}

static void stop_accepting(front_t *front)
{
  uint64_t drain_ms = front->env.limits.drain_ms;
  for (size_t i = 0; i < front->listener_count; i++)
    if (front->listeners[i].open)
      door_accept_waiting(&front->listeners[i].conns, &front->listeners[i].tcp);
  front->env.draining = true;
  front->drain_deadline = uv_now(front->env.loop) + drain_ms;
  front->give_up_deadline = front->drain_deadline + drain_ms;
  close_listeners(front);
  /* A request that is here already gets its answer: the next tick closes what is idle then. */
  close_idle(front, true);
  check_drained(front);
}

void front_drain(front_t *front, uint64_t lag_ms, void (*done)(void *ctx, size_t abandoned), void *ctx)
{
  if (front->env.leaving)
    return;
  front->env.leaving = true;
  front->done = done;
  front->done_ctx = ctx;
  uv_update_time(front->env.loop);
  front->lag_deadline = uv_now(front->env.loop) + lag_ms;
  if (lag_ms == 0)
    stop_accepting(front);
}

/* Opening */

static void on_connection(uv_stream_t *server, int status)
{
  listener_t *listener = server->data;
  if (status < 0) {
    log_warn("http listener %s: a connection was not accepted: %s", listener->conns.conf->name,
             uv_strerror(status));
    return;
  }
  if (pace_accepts(&listener->conns.pace))
    door_accept(&listener->conns, &listener->tcp);
}

static int fail_bind(const endpoint_t *address, int status, diag_t *diag)
{
  char text[ENDPOINT_TEXT_MAX];
  endpoint_format(address, text);
  if (status == UV_EADDRINUSE)
    return diag_fail(diag, SMPL_EBUSY, "%s: address in use; find the program with: ss -ltnp 'sport = :%u'",
                     text, (unsigned)address->port);
  if (status == UV_EADDRNOTAVAIL)
    return diag_fail(diag, SMPL_ESYS, "%s: this machine has no such address; see: ip address", text);
  if (status == UV_EACCES)
    return diag_fail(diag, SMPL_EDENIED,
                     "%s: not allowed to listen there; ports below 1024 need root or "
                     "CAP_NET_BIND_SERVICE",
                     text);
  return diag_fail(diag, SMPL_ESYS, "%s: cannot listen: %s", text, uv_strerror(status));
}

static void set_conf(listener_t *listener, const listener_conf_t *conf)
{
  listener->conns.conf = conf;
  listener->conns.desk.listener = conf->name;
  listener->conns.desk.internal = conf->admit.internal;
}

static int open_conns(front_t *front, conn_listener_t *listener)
{
  const front_limits_t *limits = &front->env.limits;
  room_bounds_t bounds = {.connections = limits->connections,
                          .handshakes = limits->handshakes,
                          .source_handshakes = limits->source_handshakes};
  size_t handshakes = listener->conf->tls != NULL ? limits->handshakes : 0;
  listener->env = &front->env;
  listener->desk.stats = &listener->stats;
  listener->desk.access = front->env.access;
  listener->desk.date = &front->date;
  listener->desk.calls = &delivery_replies;
  listener->desk.ctx = listener;
  int err = room_open_places(&listener->places, &bounds, &listener->phases);
  return err ? err : pace_open(&listener->pace, &front->env.rounds, limits->connections, handshakes);
}

static int open_listener(front_t *front, listener_t *listener, const listener_conf_t *conf, bool early,
                         diag_t *diag)
{
  listener->front = front;
  set_conf(listener, conf);
  if (open_conns(front, &listener->conns))
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  int status = uv_tcp_init(front->env.loop, &listener->tcp);
  if (status < 0)
    return fail_bind(&conf->address, status, diag);
  listener->tcp.data = listener;
  listener->open = true;
  front->handles++;
  int inherited = bind_inherited(&conf->address);
  status = inherited >= 0 ? uv_tcp_open(&listener->tcp, inherited)
                          : bind_listener_uv(&listener->tcp, &conf->address, early);
  if (status == 0)
    status = uv_tcp_nodelay(&listener->tcp, 1); /* connections inherit it */
  if (status == 0)
    status = uv_listen((uv_stream_t *)&listener->tcp, LIMIT_BACKLOG, on_connection);
  return status < 0 ? fail_bind(&conf->address, status, diag) : SMPL_OK;
}

/* Ticks and rounds */

/* Many small blocks, once freed, stay with the process unless the allocator is asked. */
static void trim_memory(front_t *front, uint64_t now)
{
  if (now >= front->trim_after && parse_trim(front->env.parse))
    front->trim_after = now + LIMIT_TRIM_MS;
}

static void on_tick(uv_timer_t *timer)
{
  front_t *front = timer->data;
  uint64_t now = uv_now(front->env.loop);
  if (front->env.draining)
    close_idle(front, false);
  else if (front->env.leaving && now >= front->lag_deadline)
    stop_accepting(front);
  for (size_t i = 0; i < front->listener_count; i++)
    conn_sweep(&front->listeners[i].conns, now);
  trim_memory(front, now);
  if (front->env.draining && now >= front->drain_deadline)
    close_all(front);
  check_drained(front);
}

static void on_flush(uv_prepare_t *prepare)
{
  front_t *front = prepare->data;
  front->env.rounds.number++;
  access_flush(front->env.access);
}

static void on_gone(void *ctx)
{
  check_drained(ctx);
}

static void start_handles(front_t *front)
{
  uv_loop_t *loop = front->env.loop;
  uv_timer_init(loop, &front->tick);
  front->tick.data = front;
  uv_timer_start(&front->tick, on_tick, front->env.limits.tick_ms, front->env.limits.tick_ms);
  uv_prepare_init(loop, &front->flush);
  front->flush.data = front;
  uv_prepare_start(&front->flush, on_flush);
  uv_idle_init(loop, &front->env.rounds.idle);
  front->env.rounds.idle.data = front;
  front->env.rounds.run = run_round;
  front->handles += 3; /* and the threads' while they are there */
}

static int start_parse(front_t *front)
{
  const front_limits_t *limits = &front->env.limits;
  parse_conf_t conf = {.waiting = limits->bodies_waiting,
                       .parsed = limits->bodies_parsed,
                       .parsed_share = limits->bodies_parsed_share,
                       .taken = exchange_body_is_taken,
                       .done = exchange_body_is_parsed};
  int err = parse_open(front->env.loop, &conf, &front->env.parse);
  front->env.requests.parse = front->env.parse;
  front->handles += front->env.parse != NULL;
  return err;
}

static void set_env(front_t *front, uv_loop_t *loop, const front_conf_t *conf)
{
  conn_env_t *env = &front->env;
  env->loop = loop;
  env->access = conf->access;
  env->limits = conf->limits;
  env->balancers = conf->balancers;
  env->balancer_count = conf->balancer_count;
  env->internal_keys = conf->internal_keys;
  env->gone = on_gone;
  env->ctx = front;
}

int front_open(uv_loop_t *loop, const front_conf_t *conf, front_t **out, diag_t *diag)
{
  int err = SMPL_OK;
  *out = NULL;
  front_t *front = calloc(1, sizeof *front);
  if (front != NULL) {
    front->listeners = calloc(conf->listener_count, sizeof *front->listeners);
    front->env.room = room_new(front->env.limits.held);
  }
  if (front == NULL || front->listeners == NULL || front->env.room == NULL) {
    front_free(front);
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  }
  set_env(front, loop, conf);
  if (requests_open(&front->env.requests))
    err = diag_fail(diag, SMPL_ESYS, "no random numbers");
  start_handles(front);
  if (!err && (err = start_parse(front)) != SMPL_OK)
    diag_fail(diag, err, "the threads for request bodies do not start: %s", smpl_strerror(err));
  for (size_t i = 0; !err && i < conf->listener_count; i++) {
    err = open_listener(front, &front->listeners[i], &conf->listeners[i], conf->free_bind, diag);
    front->listener_count++;
  }
  *out = front;
  return err;
}

endpoint_t front_address(const front_t *front, size_t index)
{
  struct sockaddr_storage sa;
  int len = sizeof sa;
  endpoint_t at = front->listeners[index].conns.conf->address;
  if (uv_tcp_getsockname(&front->listeners[index].tcp, (struct sockaddr *)&sa, &len) == 0)
    endpoint_from_sockaddr((struct sockaddr *)&sa, &at);
  return at;
}

size_t front_connections(const front_t *front)
{
  return front->env.connections;
}

size_t front_set(front_t *front, const front_live_t *live)
{
  size_t cut = 0;
  front->env.balancers = live->balancers;
  front->env.balancer_count = live->balancer_count;
  front->env.internal_keys = live->internal_keys;
  front->env.limits.drain_ms = live->drain_ms;
  for (size_t i = 0; i < front->listener_count; i++)
    set_conf(&front->listeners[i], &live->listeners[i]);
  for (size_t i = 0; i < front->listener_count; i++)
    cut += door_judge_all(&front->listeners[i].conns);
  return cut;
}

void front_free(front_t *front)
{
  if (front == NULL)
    return;
  requests_close(&front->env.requests);
  for (size_t i = 0; i < front->listener_count; i++) {
    room_close_places(&front->listeners[i].conns.places);
    pace_close(&front->listeners[i].conns.pace);
  }
  room_free(front->env.room);
  free(front->listeners);
  free(front);
}
