/* SPDX-License-Identifier: Apache-2.0 */
#include "app/http/front.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/http/conn.h"
#include "common/net/bind.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"

const front_limits_t front_limits_default = {
    .connections = LIMIT_CONNECTIONS,
    .handshakes = LIMIT_HANDSHAKES,
    .source_handshakes = LIMIT_HANDSHAKES_SOURCE,
    .held = {[ROOM_HEADS] = LIMIT_HEADS, [ROOM_BODIES] = LIMIT_BODIES, [ROOM_REPLIES] = LIMIT_REPLIES},
    .values = LIMIT_VALUES,
    .bodies_waiting = LIMIT_PARSE_WAITING,
    .bodies_parsed = LIMIT_PARSED,
    .bodies_parsed_share = LIMIT_PARSED_SHARE,
    .handshake_ms = LIMIT_HANDSHAKE_MS,
    .head_ms = LIMIT_HEAD_MS,
    .body_ms = LIMIT_BODY_MS,
    .idle_ms = LIMIT_IDLE_MS,
    .write_ms = LIMIT_WRITE_MS,
    .reply_ms = LIMIT_REPLY_MS,
    .linger_ms = LIMIT_LINGER_MS,
    .drain_ms = LIMIT_DRAIN_MS,
    .tick_ms = LIMIT_TICK_MS,
};

/* Requests */

/* "5f3a9c1e0b7d4c21-1a": a random part for the process, a number for the request. */
static void mint_id(front_t *front, char *id)
{
  char digits[16];
  size_t count = 0;
  uint64_t number = ++front->id_next;
  memcpy(id, front->id_prefix, ID_PREFIX_LEN);
  id[ID_PREFIX_LEN] = '-';
  do {
    digits[count++] = "0123456789abcdef"[number & 15];
    number >>= 4;
  } while (number > 0);
  char *to = id + ID_PREFIX_LEN + 1;
  while (count > 0)
    *to++ = digits[--count];
  *to = '\0';
}

request_t *front_request_new(front_t *front)
{
  request_t *request = front->spare;
  if (request != NULL) {
    front->spare = request->next_free;
    front->spare_count--;
  } else {
    request = malloc(sizeof *request);
    if (request == NULL)
      return NULL;
  }
  request_init(request);
  request->front = front;
  mint_id(front, request->id);
  return request;
}

void front_request_free(request_t *request)
{
  front_t *front = request->front;
  if (request->owed)
    front->owed--;
  front->values -= request->values;
  parse_forget(request);
  request_clear(request);
  if (front->spare_count == SPARE_REQUESTS) {
    free(request);
    return;
  }
  request->next_free = front->spare;
  front->spare = request;
  front->spare_count++;
}

/* Opening */

static void on_connection(uv_stream_t *server, int status)
{
  listener_t *listener = server->data;
  if (status < 0) {
    log_warn("http listener %s: a connection was not accepted: %s", listener->conf->name,
             uv_strerror(status));
    return;
  }
  if (pace_accepts(listener))
    conn_accept(listener);
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

static int open_listener(front_t *front, listener_t *listener, const listener_conf_t *conf, bool early,
                         diag_t *diag)
{
  listener->front = front;
  listener->conf = conf;
  if (room_open_places(&listener->places) || pace_open(listener))
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  int status = uv_tcp_init(front->loop, &listener->tcp);
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

/* Many small blocks, once freed, stay with the process unless the allocator is asked. */
static void trim_memory(front_t *front, uint64_t now)
{
  if (now >= front->trim_after && parse_trim(front->parse))
    front->trim_after = now + LIMIT_TRIM_MS;
}

static void close_idle(front_t *front, bool but_unread);
static void stop_accepting(front_t *front);

static void on_tick(uv_timer_t *timer)
{
  front_t *front = timer->data;
  uint64_t now = uv_now(front->loop);
  if (front->draining)
    close_idle(front, false);
  else if (front->leaving && now >= front->lag_deadline)
    stop_accepting(front);
  for (size_t i = 0; i < front->listener_count; i++)
    conn_sweep(&front->listeners[i], now);
  trim_memory(front, now);
  if (front->draining && now >= front->drain_deadline)
    for (size_t i = 0; i < front->listener_count; i++)
      for (unsigned phase = 0; phase < PHASE_COUNT; phase++)
        while (front->listeners[i].lists[phase].first != NULL)
          conn_close(front->listeners[i].lists[phase].first);
  front_check_drained(front);
}

static void on_flush(uv_prepare_t *prepare)
{
  front_t *front = prepare->data;
  front->round++;
  access_flush(front->access);
}

static void start_handles(front_t *front)
{
  uv_timer_init(front->loop, &front->tick);
  front->tick.data = front;
  uv_timer_start(&front->tick, on_tick, front->limits.tick_ms, front->limits.tick_ms);
  uv_prepare_init(front->loop, &front->flush);
  front->flush.data = front;
  uv_prepare_start(&front->flush, on_flush);
  uv_idle_init(front->loop, &front->pace);
  front->pace.data = front;
  front->handles += 3; /* and the threads' while they are there */
}

int front_open(uv_loop_t *loop, const front_conf_t *conf, front_t **out, diag_t *diag)
{
  int err = SMPL_OK;
  *out = NULL;
  front_t *front = calloc(1, sizeof *front);
  if (front != NULL) {
    front->listeners = calloc(conf->listener_count, sizeof *front->listeners);
    front->room = room_new();
  }
  if (front == NULL || front->listeners == NULL || front->room == NULL) {
    front_free(front);
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  }
  front->loop = loop;
  front->access = conf->access;
  front->limits = conf->limits;
  front->balancers = conf->balancers;
  front->balancer_count = conf->balancer_count;
  front->internal_keys = conf->internal_keys;
  uint8_t random[ID_PREFIX_LEN / 2];
  if (RAND_bytes(random, sizeof random) != 1)
    err = diag_fail(diag, SMPL_ESYS, "no random numbers");
  else
    text_hex(front->id_prefix, random, sizeof random);
  start_handles(front);
  if (!err && (err = parse_open(front, &front->parse)) != SMPL_OK)
    diag_fail(diag, err, "the threads for request bodies do not start: %s", smpl_strerror(err));
  front->handles += front->parse != NULL;
  for (size_t i = 0; !err && i < conf->listener_count; i++) {
    err = open_listener(front, &front->listeners[i], &conf->listeners[i], conf->free_bind, diag);
    front->listener_count++;
  }
  *out = front;
  return err;
}

size_t front_connections_for(uint64_t files, size_t listeners)
{
  uint64_t kept = files / 2 < LIMIT_FILES_KEPT ? files / 2 : LIMIT_FILES_KEPT;
  uint64_t each = (files - kept) / listeners;
  if (each > LIMIT_CONNECTIONS)
    return LIMIT_CONNECTIONS;
  return each > 0 ? (size_t)each : 1;
}

endpoint_t front_address(const front_t *front, size_t index)
{
  struct sockaddr_storage sa;
  int len = sizeof sa;
  endpoint_t at = front->listeners[index].conf->address;
  if (uv_tcp_getsockname(&front->listeners[index].tcp, (struct sockaddr *)&sa, &len) == 0)
    endpoint_from_sockaddr((struct sockaddr *)&sa, &at);
  return at;
}

size_t front_connections(const front_t *front)
{
  return front->connections;
}

size_t front_set(front_t *front, const front_live_t *live)
{
  size_t cut = 0;
  front->balancers = live->balancers;
  front->balancer_count = live->balancer_count;
  front->internal_keys = live->internal_keys;
  front->limits.drain_ms = live->drain_ms;
  for (size_t i = 0; i < front->listener_count; i++)
    front->listeners[i].conf = &live->listeners[i];
  for (size_t i = 0; i < front->listener_count; i++)
    cut += conn_judge_all(&front->listeners[i]);
  return cut;
}

/* Ending */

static void one_handle_less(front_t *front)
{
  front->handles--;
  front_check_drained(front);
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
  front->parse = NULL;
  one_handle_less(front);
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
    for (conn_t *c = front->listeners[i].lists[PHASE_IDLE].first, *next; c != NULL; c = next) {
      next = c->next;
      if (!but_unread || !conn_has_unread(c))
        conn_close(c);
    }
  }
}

static void stop_accepting(front_t *front)
{
  for (size_t i = 0; i < front->listener_count; i++)
    if (front->listeners[i].open)
      conn_accept_waiting(&front->listeners[i]);
  front->draining = true;
  front->drain_deadline = uv_now(front->loop) + front->limits.drain_ms;
  front->give_up_deadline = front->drain_deadline + front->limits.drain_ms;
  close_listeners(front);
  close_idle(
      front,
      true); /* a request that is here already gets its answer: the next tick closes what is idle then */
  front_check_drained(front);
}

void front_drain(front_t *front, uint64_t lag_ms, void (*done)(void *ctx, size_t abandoned), void *ctx)
{
  if (front->leaving)
    return;
  front->leaving = true;
  front->done = done;
  front->done_ctx = ctx;
  uv_update_time(front->loop);
  front->lag_deadline = uv_now(front->loop) + lag_ms;
  if (lag_ms == 0)
    stop_accepting(front);
}

static void finish_drain(front_t *front, size_t abandoned)
{
  front->drained = true;
  front->done(front->done_ctx, abandoned);
}

void front_check_drained(front_t *front)
{
  if (!front->draining || front->connections > 0)
    return;
  if (front->owed > 0) {
    if (!front->drained && uv_now(front->loop) >= front->give_up_deadline)
      finish_drain(front, front->owed);
    return;
  }
  if (!uv_is_closing((uv_handle_t *)&front->tick)) {
    uv_close((uv_handle_t *)&front->tick, on_handle_closed);
    uv_close((uv_handle_t *)&front->flush, on_handle_closed);
    uv_close((uv_handle_t *)&front->pace, on_handle_closed);
    if (front->parse != NULL)
      parse_close(front->parse, on_parse_closed, front);
    return;
  }
  if (front->handles == 0 && !front->drained)
    finish_drain(front, 0);
}

static void close_places(listener_t *listener)
{
  room_close_places(&listener->places);
  pace_close(listener);
}

void front_free(front_t *front)
{
  if (front == NULL)
    return;
  while (front->spare != NULL) {
    request_t *next = front->spare->next_free;
    free(front->spare);
    front->spare = next;
  }
  for (size_t i = 0; i < front->listener_count; i++)
    close_places(&front->listeners[i]);
  room_free(front->room);
  free(front->listeners);
  free(front);
}
