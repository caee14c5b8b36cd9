/* SPDX-License-Identifier: Apache-2.0 */
#include "app/http/conn.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "common/base/error.h"
#include "common/base/log.h"

/* Parts */

_Static_assert(offsetof(conn_t, seat) == 0 && offsetof(seat_t, wait) == 0, "a wait is its seat is its conn");
_Static_assert(offsetof(pace_turn_t, item) == 0, "an item is its turn");

conn_t *conn_of_wait(phased_t *wait)
{
  return (conn_t *)(void *)wait;
}

conn_t *conn_of_seat(seat_t *seat)
{
  return (conn_t *)(void *)seat;
}

conn_t *conn_of_turn(pace_turn_t *turn)
{
  return turn != NULL ? (conn_t *)(void *)((char *)turn - offsetof(conn_t, turn)) : NULL;
}

/* Phases and their deadlines */

static uint64_t phase_ms(const front_limits_t *limits, phase_t phase)
{
  switch (phase) {
  case PHASE_HANDSHAKE:
    return limits->handshake_ms;
  case PHASE_HEAD:
    return limits->head_ms;
  case PHASE_BODY:
    return limits->body_ms;
  case PHASE_WRITE:
    return limits->write_ms;
  case PHASE_LINGER:
    return limits->linger_ms;
  default:
    return limits->idle_ms;
  }
}

void conn_enter(conn_t *c, phase_t phase)
{
  const conn_env_t *env = c->listener->env;
  phase_enter(&c->listener->phases, &c->seat.wait, phase, uv_now(env->loop), phase_ms(&env->limits, phase));
}

bool conn_wants_bytes(const conn_t *c)
{
  phase_t phase = c->seat.wait.phase;
  return !c->closing &&
         (phase == PHASE_HANDSHAKE || phase == PHASE_IDLE || phase == PHASE_HEAD || phase == PHASE_BODY);
}

bool conn_has_unread(const conn_t *c)
{
  int fd = -1, waiting = 0;
  return uv_fileno((const uv_handle_t *)&c->tcp, &fd) == 0 && ioctl(fd, FIONREAD, &waiting) == 0 &&
         waiting > 0;
}

void conn_stop_reading(conn_t *c)
{
  if (c->reading)
    uv_read_stop((uv_stream_t *)&c->tcp);
  c->reading = false;
}

/* Logging and closing */

static void log_closed(conn_t *c, const char *reason)
{
  const seat_t *seat = &c->seat;
  stats_count_closed(&c->listener->stats, reason);
  char source[IP_TEXT_MAX];
  bool named = seat->balancer && !ip_equal(&seat->source, &seat->peer);
  access_line_t line = {.listener = c->listener->conf->name,
                        .client = named ? ip_format(&seat->source, source) : c->client,
                        .peer = named ? c->client : NULL,
                        .verdict = "closed",
                        .reason = reason,
                        .detail = c->tls_failure,
                        .head = seat->wait.phase == PHASE_HEAD ? c->in.bytes : NULL,
                        .head_len = c->in.len};
  access_write(c->listener->env->access, &line);
}

static void on_closed(uv_handle_t *handle)
{
  conn_t *c = handle->data;
  conn_env_t *env = c->listener->env;
  c->listener->connections--;
  env->connections--;
  output_free(&c->out);
  tls_link_free(c->tls);
  free(c->in.bytes);
  free(c);
  env->gone(env->ctx);
}

void conn_drop_body(conn_t *c)
{
  free(c->request->body_bytes);
  c->request->body_bytes = NULL;
  room_give_back(&c->seat, ROOM_BODIES);
}

void conn_close(conn_t *c)
{
  if (c->closing)
    return;
  c->closing = true;
  phase_leave(&c->listener->phases, &c->seat.wait);
  pace_leave(&c->turn);
  if (c->request != NULL)
    conn_drop_body(c);
  room_leave(&c->seat);
  if (c->request != NULL && (c->seat.wait.phase == PHASE_HANDLER || parse_is_away(c->request)))
    c->request->conn = NULL; /* a thread has its body, or its handler owes a reply: that is then dropped */
  else if (c->request != NULL)
    requests_give_back(c->request);
  c->request = NULL;
  uv_close((uv_handle_t *)&c->tcp, on_closed);
}

void conn_cut(conn_t *c, const char *reason)
{
  log_closed(c, reason);
  conn_close(c);
}

void conn_out_of_memory(conn_t *c)
{
  log_error("out of memory; a connection is closed");
  conn_close(c);
}

/* Deadlines */

void conn_expire(conn_t *c)
{
  phase_t phase = c->seat.wait.phase;
  size_t left = phase == PHASE_WRITE ? output_unacknowledged(&c->out) : 0;
  bool in_time = uv_now(c->listener->env->loop) < c->reply_deadline;
  if (phase == PHASE_WRITE && left < c->write_left && in_time) {
    c->write_left = left; /* slow, but taking */
    conn_enter(c, PHASE_WRITE);
    return;
  }
  if (phase == PHASE_HANDSHAKE)
    conn_cut(c, "handshake-timeout");
  else if (phase == PHASE_HEAD)
    conn_cut(c, "head-timeout");
  else if (phase == PHASE_BODY)
    conn_cut(c, "body-timeout");
  else if (phase == PHASE_WRITE)
    conn_cut(c, in_time ? "write-timeout" : "reply-timeout");
  else
    conn_close(c);
}

void conn_sweep(conn_listener_t *listener, uint64_t now)
{
  for (unsigned phase = 0; phase < PHASE_COUNT; phase++) {
    if (phase == PHASE_HANDLER || phase == PHASE_PARSE)
      continue;
    phase_list_t *list = &listener->phases.lists[phase];
    while (list->first != NULL && list->first->deadline <= now)
      conn_expire(conn_of_wait(list->first));
  }
}

/* What came and is not consumed */

bool conn_hold(conn_t *c, room_kind_t kind, size_t bytes)
{
  const char *reason = kind == ROOM_HEADS ? "heads-full" : "replies-full";
  seat_t *victim;
  int err;
  while ((err = room_hold(&c->seat, kind, bytes, &victim)) == SMPL_EBUSY)
    conn_cut(conn_of_seat(victim), reason);
  if (err)
    conn_cut(c, reason);
  return err == SMPL_OK;
}

static void drop_input(conn_t *c)
{
  free(c->in.bytes);
  c->in.bytes = NULL;
  c->in.len = c->in.cap = 0;
  if (!c->closing)
    conn_hold(c, ROOM_HEADS, c->in.tls_held); /* less than before: it never fails */
}

/* Room for that many bytes, in doubling steps; false if the connection is closed instead. */
static bool grow_input(conn_t *c, size_t need)
{
  size_t cap = c->in.cap > 0 ? c->in.cap : LIMIT_HEAD_FIRST;
  while (cap < need)
    cap *= 2;
  if (c->in.bytes != NULL && cap == c->in.cap)
    return true;
  if (!conn_hold(c, ROOM_HEADS, cap + c->in.tls_held))
    return false;
  uint8_t *bytes = realloc(c->in.bytes, cap);
  if (bytes == NULL) {
    conn_out_of_memory(c);
    return false;
  }
  c->in.bytes = bytes;
  c->in.cap = cap;
  return true;
}

bool conn_append(conn_t *c, const uint8_t *bytes, size_t len)
{
  if (!grow_input(c, c->in.len + len))
    return false;
  memcpy(c->in.bytes + c->in.len, bytes, len);
  c->in.len += len;
  return true;
}

void conn_keep(conn_t *c, const uint8_t *bytes, size_t len)
{
  if (len == 0) {
    drop_input(c);
    return;
  }
  if (c->in.bytes != NULL && bytes >= c->in.bytes && bytes <= c->in.bytes + c->in.cap) {
    memmove(c->in.bytes, bytes, len);
    c->in.len = len;
    return;
  }
  if (!grow_input(c, len))
    return;
  memcpy(c->in.bytes, bytes, len);
  c->in.len = len;
}

uint8_t *conn_take_input(conn_t *c, size_t *len)
{
  uint8_t *bytes = c->in.bytes;
  *len = c->in.len;
  c->in.bytes = NULL;
  drop_input(c);
  return bytes;
}

/* What belongs to no answer */

static void end_unless_said(conn_t *c, output_state_t state)
{
  if (state == OUTPUT_NO_MEMORY)
    conn_out_of_memory(c);
  else if (state != OUTPUT_GONE)
    conn_close(c);
}

void conn_flush_tls(conn_t *c)
{
  if (!c->closing)
    end_unless_said(c, output_flush_tls(&c->out));
}

void conn_say(conn_t *c, const char *text)
{
  if (!c->closing)
    end_unless_said(c, output_say(&c->out, text));
}
