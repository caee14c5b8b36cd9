/* SPDX-License-Identifier: Apache-2.0 */
#include "app/http/conn.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/http/reply.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/log.h"

/* Phases and their deadlines */

static void unlink_conn(conn_t *c)
{
  conn_list_t *list = &c->listener->lists[c->phase];
  if (c->previous != NULL)
    c->previous->next = c->next;
  else
    list->first = c->next;
  if (c->next != NULL)
    c->next->previous = c->previous;
  else
    list->last = c->previous;
  c->previous = c->next = NULL;
}

static void link_conn(conn_t *c)
{
  conn_list_t *list = &c->listener->lists[c->phase];
  c->previous = list->last;
  c->next = NULL;
  if (list->last != NULL)
    list->last->next = c;
  else
    list->first = c;
  list->last = c;
}

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

/* Moves to the end of the phase's list. One phase has one duration, so lists stay in the order of deadlines.
 */
void conn_enter(conn_t *c, phase_t phase)
{
  unlink_conn(c);
  c->phase = phase;
  c->since = uv_now(c->listener->front->loop);
  c->deadline = c->since + phase_ms(&c->listener->front->limits, phase);
  link_conn(c);
}

static bool wants_bytes(const conn_t *c)
{
  return !c->closing && (c->phase == PHASE_HANDSHAKE || c->phase == PHASE_IDLE || c->phase == PHASE_HEAD ||
                         c->phase == PHASE_BODY);
}

/* Logging and closing */

static void log_closed(conn_t *c, const char *reason)
{
  stats_count_closed(&c->listener->stats, reason);
  char source[IP_TEXT_MAX];
  bool named = c->balancer && !ip_equal(&c->source, &c->peer.ip);
  access_line_t line = {.listener = c->listener->conf->name,
                        .client = named ? ip_format(&c->source, source) : c->client,
                        .peer = named ? c->client : NULL,
                        .verdict = "closed",
                        .reason = reason,
                        .detail = c->tls_failure,
                        .head = c->phase == PHASE_HEAD ? c->in : NULL,
                        .head_len = c->in_len};
  access_write(c->listener->front->access, &line);
}

static void on_closed(uv_handle_t *handle)
{
  conn_t *c = handle->data;
  front_t *front = c->listener->front;
  c->listener->connections--;
  front->connections--;
  tls_link_free(c->tls);
  free(c->in);
  free(c->out_head);
  shared_drop(c->out_owned);
  free(c);
  front_check_drained(front);
}

/* The body is parsed, or will not come. */
static void drop_body(conn_t *c)
{
  free(c->request->body_bytes);
  c->request->body_bytes = NULL;
  room_give_back(c, ROOM_BODIES);
}

void conn_close(conn_t *c)
{
  if (c->closing)
    return;
  c->closing = true;
  unlink_conn(c);
  pace_leave(c);
  if (c->request != NULL)
    drop_body(c);
  room_leave(c);
  if (c->request != NULL && (c->phase == PHASE_HANDLER || parse_is_away(c->request)))
    c->request->conn = NULL; /* a thread has its body, or its handler owes a reply: that is then dropped */
  else if (c->request != NULL)
    front_request_free(c->request);
  c->request = NULL;
  uv_close((uv_handle_t *)&c->tcp, on_closed);
}

static void on_shut(uv_shutdown_t *shutdown, int status)
{
  conn_t *c = shutdown->data;
  if (status < 0)
    conn_close(c);
}

/* What came and is not consumed */

static void drop_in(conn_t *c)
{
  free(c->in);
  c->in = NULL;
  c->in_len = c->in_cap = 0;
  if (!c->closing)
    room_hold(c, ROOM_HEADS, c->tls_held);
}

/* Counts what the connection holds of what came; false if it is closed instead. */
static bool hold_in(conn_t *c, size_t cap)
{
  if (room_hold(c, ROOM_HEADS, cap + c->tls_held))
    return true;
  log_closed(c, "heads-full");
  conn_close(c);
  return false;
}

/* Room for that many bytes, in doubling steps; false if the connection is closed instead. */
static bool grow_in(conn_t *c, size_t need)
{
  size_t cap = c->in_cap > 0 ? c->in_cap : LIMIT_HEAD_FIRST;
  while (cap < need)
    cap *= 2;
  if (cap == c->in_cap)
    return true;
  if (!hold_in(c, cap))
    return false;
  uint8_t *in = realloc(c->in, cap);
  if (in == NULL) {
    conn_out_of_memory(c);
    return false;
  }
  c->in = in;
  c->in_cap = cap;
  return true;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf);
static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf);

static void start_reading(conn_t *c)
{
  if (c->reading || c->closing)
    return;
  c->reading = true;
  if (uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) < 0)
    conn_close(c);
}

void conn_stop_reading(conn_t *c)
{
  if (c->reading)
    uv_read_stop((uv_stream_t *)&c->tcp);
  c->reading = false;
}

/* After the last reply. A peer that may still be sending would lose the reply to a reset: it is read out
 * first. */
static void finish(conn_t *c)
{
  drop_in(c);
  if (c->tls != NULL) {
    tls_bye(c->tls);
    conn_flush_tls(c);
  }
  c->shutdown.data = c;
  if (!c->drain || c->eof || uv_shutdown(&c->shutdown, (uv_stream_t *)&c->tcp, on_shut) < 0) {
    conn_close(c);
    return;
  }
  conn_enter(c, PHASE_LINGER);
  start_reading(c);
}

/* Requests */

static void resume(conn_t *c);

void conn_resume(conn_t *c)
{
  c->in_turn = true;
  conn_enter(c, PHASE_IDLE);
  resume(c);
}

/* The reply is on its way out whole. */
void conn_after_reply(conn_t *c)
{
  if (c->closing)
    return;
  if (!c->keep || c->last || c->listener->front->leaving) {
    finish(c);
    return;
  }
  room_served(c);
  conn_enter(c, PHASE_IDLE);
  if (!c->processing)
    resume(c);
}

void conn_answer(conn_t *c, const answer_t *answer)
{
  c->keep = answer->keep;
  c->skip = (size_t)(c->request->head.length - c->request->body_have); /* answered before its body was read */
  if (c->skip > 0 && !answer->keep)
    c->drain = true;
  drop_body(c);
  front_request_free(c->request); /* answer->head and body are not the request's */
  c->request = NULL;
  conn_send(c, answer);
}

void conn_out_of_memory(conn_t *c)
{
  log_error("out of memory; a connection is closed");
  conn_close(c);
}

static int new_request(conn_t *c)
{
  request_t *request = front_request_new(c->listener->front);
  if (request == NULL) {
    conn_out_of_memory(c);
    return SMPL_ENOMEM;
  }
  request->conn = c;
  request->listener = c->listener;
  request->source = c->source;
  memcpy(request->client, c->client, sizeof request->client);
  c->request = request;
  return SMPL_OK;
}

/* A balancer that does not name a source asks for itself: its checks do. */
static void say_unnamed(conn_t *c, int err)
{
  front_t *front = c->listener->front;
  c->listener->stats.unnamed[err == SMPL_EINVAL]++;
  if (err != SMPL_EINVAL || front->unnamed_said)
    return;
  front->unnamed_said = true;
  log_warn(
      "the balancer %s passes on X-Forwarded-For whose last element is no plain address: what it sends is "
      "counted as its own (said once)",
      c->client);
}

/* From here on the balancer's connection is its client's, until the request is answered. */
static int take_source(conn_t *c, const uint8_t *head)
{
  request_t *request = c->request;
  ip_t source = c->peer.ip;
  int err = forwarded_source(head, &request->head, &source);
  if (err) {
    say_unnamed(c, err);
  } else {
    memcpy(request->peer, c->client, sizeof request->peer);
    ip_format(&source, request->client);
  }
  request->source = source;
  return room_serve(c, &source);
}

/* Refuses bytes that are no head, and reads nothing more as a request. */
static void refuse_gate(conn_t *c, gate_verdict_t gate, const uint8_t *head, size_t len)
{
  if (new_request(c))
    return;
  c->request->admit = (admit_t){.verdict = ADMIT_GATE, .gate = gate};
  c->drain = true;
  reply_refusal(c->request, head, len);
}

/* Refuses a request for what came behind its head. */
static void refuse_body(conn_t *c, admit_verdict_t verdict)
{
  request_t *request = c->request;
  request->admit.verdict = verdict;
  c->drain = true;
  reply_refusal(request, request->bytes, request->length);
}

void conn_give_way(conn_t *c, room_kind_t kind)
{
  if (kind == ROOM_BODIES) {
    refuse_body(c, ADMIT_BODIES_FULL);
    return;
  }
  log_closed(c, kind == ROOM_HEADS ? "heads-full" : "replies-full");
  conn_close(c);
}

/* Somebody behind us has the request until he says something. */
static void owe(request_t *request)
{
  if (request->owed)
    return;
  request->owed = true;
  request->front->owed++;
}

/* The request is complete: its handler's turn. */
static void run_handler(conn_t *c)
{
  request_t *request = c->request;
  const route_match_t *match = &request->admit.match;
  conn_enter(c, PHASE_HANDLER);
  drop_body(c);
  owe(request);
  match->route->handle(request, match->context);
}

static void refuse_json(request_t *request, int err, const char *why)
{
  request->admit.verdict = ADMIT_BODY_JSON;
  request_reply_error(request, 400, err == SMPL_ELIMIT ? "Body too complex" : "Bad Request", "", NULL,
                      "the body is not acceptable JSON: %s", why);
}

/* A small body costs no more than its head did. */
static void parse_here(conn_t *c, size_t values)
{
  front_t *front = c->listener->front;
  request_t *request = c->request;
  diag_t diag = {.text = ""};
  conn_enter(c, PHASE_HANDLER);
  if (values > front->limits.values - front->values) {
    refuse_body(c, ADMIT_BODIES_FULL);
    return;
  }
  parse_count_here(front->parse);
  int err = request_json(request->body_bytes, request->body_have, &request->body, &diag);
  if (err) {
    refuse_json(request, err, diag.text);
    return;
  }
  request->values = values;
  front->values += values;
  run_handler(c);
}

static void parse_there(conn_t *c)
{
  request_t *request = c->request, *displaced;
  conn_enter(c, PHASE_PARSE);
  owe(request);
  int err = parse_queue(request, &displaced);
  if (err == SMPL_ENOMEM)
    conn_out_of_memory(c);
  else if (err)
    refuse_body(c, ADMIT_BODIES_FULL);
  if (displaced != NULL)
    refuse_body(displaced->conn, ADMIT_BODIES_FULL);
}

void conn_parsed(request_t *request, int err, const char *why)
{
  conn_t *c = request->conn;
  front_t *front = request->front;
  if (c == NULL) {
    front_request_free(request);
    front_check_drained(front);
    return;
  }
  conn_enter(c, PHASE_HANDLER);
  if (err)
    refuse_json(request, err, why);
  else
    run_handler(c);
}

/* All of the request has come. */
static void dispatch(conn_t *c)
{
  const request_t *request = c->request;
  size_t values = 0;
  if (request->admit.match.route->request_schema == NULL)
    run_handler(c);
  else if (request->body_have <= LIMIT_PARSE_HERE &&
           (values = request_json_extent(request->body_bytes, request->body_have).values) <=
               LIMIT_PARSE_HERE_VALUES)
    parse_here(c, values);
  else
    parse_there(c);
}

static void take_request_id(request_t *request)
{
  const char *id = request_header(request, "x-request-id");
  if (id != NULL && request_id_is_fine(id, strlen(id)))
    memcpy(request->id, id, strlen(id) + 1);
}

static void say_continue(conn_t *c)
{
  conn_say(c, "HTTP/1.1 100 Continue\r\n\r\n");
}

static void await_body(conn_t *c)
{
  conn_enter(c, PHASE_BODY);
  if (c->request->head.expect_continue && !c->request->more)
    say_continue(c);
}

/* head[0..len) is a whole head; more says whether bytes follow it already. */
static void take_head(conn_t *c, const uint8_t *head, size_t len, bool more)
{
  if (new_request(c))
    return;
  request_t *request = c->request;
  c->served++;
  request->started_us = clock_mono_us();
  admit_decide(&c->listener->conf->admit, head, len, &request->head, &request->admit);
  if (c->balancer && request->admit.verdict != ADMIT_GATE && take_source(c, head)) {
    conn_out_of_memory(c);
    return;
  }
  if (request->admit.verdict != ADMIT_OK) {
    bool body_follows = request->admit.verdict == ADMIT_GATE || request->head.length > 0;
    c->drain = body_follows || more || !c->listener->conf->admit.internal;
    reply_refusal(request, head, len);
    return;
  }
  if (request_take_head(request, head, len)) {
    conn_out_of_memory(c);
    return;
  }
  take_request_id(request);
  request->admit.verdict = request_judge_key(request);
  if (request->admit.verdict == ADMIT_OK)
    request->admit.verdict = request_judge_caller(request, c->listener->front->internal_keys);
  if (request->admit.verdict != ADMIT_OK) {
    c->drain = request->head.length > 0 || more || !c->listener->conf->admit.internal;
    reply_refusal(request, request->bytes, request->length);
    return;
  }
  const route_match_t *match = &request->admit.match;
  request->more = more;
  if (request->head.length == 0) {
    dispatch(c);
  } else if (match->guard != NULL) {
    conn_enter(c, PHASE_HANDLER);
    owe(request);
    match->guard(request, match->context);
  } else {
    await_body(c);
  }
}

void conn_go_on(conn_t *c)
{
  await_body(c);
  if (!c->processing)
    resume(c);
}

/* Room for that many bytes of the body, in doubling steps up to its length. Otherwise the request was
 * refused, or the connection closed. */
static bool grow_body(conn_t *c, size_t need)
{
  request_t *request = c->request;
  size_t length = (size_t)request->head.length;
  size_t cap = request->body_cap > 0 ? request->body_cap : LIMIT_BODY_FIRST;
  while (cap < need)
    cap *= 2;
  cap = cap < length ? cap : length;
  if (cap == request->body_cap)
    return true;
  if (!room_take(c, ROOM_BODIES, cap - request->body_cap)) {
    refuse_body(c, ADMIT_BODIES_FULL);
    return false;
  }
  uint8_t *grown = realloc(request->body_bytes, cap);
  if (grown == NULL) {
    conn_out_of_memory(c);
    return false;
  }
  request->body_bytes = grown;
  request->body_cap = cap;
  return true;
}

/* Collects body bytes; returns how many were taken. */
static size_t take_body(conn_t *c, const uint8_t *bytes, size_t len)
{
  request_t *request = c->request;
  size_t wanted = (size_t)request->head.length - request->body_have;
  size_t taken = len < wanted ? len : wanted;
  if (!grow_body(c, request->body_have + taken))
    return len;
  memcpy(request->body_bytes + request->body_have, bytes, taken);
  request->body_have += taken;
  if (taken == wanted)
    dispatch(c);
  return taken;
}

/* One step of reading a head; returns how many bytes are done with, 0 if more must come first, or its turn. A
 * whole head that waits for its turn counts as one that has not begun: nothing can be sent late that would
 * make it wait longer. */
static size_t find_head(conn_t *c, const uint8_t *bytes, size_t len)
{
  size_t end = 0;
  gate_verdict_t verdict = gate_scan(bytes, len, c->scanned, &end);
  if (verdict == GATE_MORE) {
    c->scanned = len;
    if (c->phase == PHASE_IDLE)
      conn_enter(c, PHASE_HEAD);
    return 0;
  }
  if (!c->in_turn && !pace_begins(c)) {
    conn_enter(c, PHASE_IDLE);
    return 0;
  }
  c->scanned = 0;
  if (verdict == GATE_ADMIT) {
    take_head(c, bytes, end, end < len);
    return end;
  }
  refuse_gate(c, verdict, bytes, len);
  return len;
}

/* What is left of the body of a request that has its answer. */
static size_t skip_body(conn_t *c, size_t len)
{
  size_t n = len < c->skip ? len : c->skip;
  c->skip -= n;
  return n;
}

/* One step; returns how many bytes are done with, 0 if more must come first, or its turn. */
static size_t consume_some(conn_t *c, const uint8_t *bytes, size_t len)
{
  if (c->skip > 0)
    return skip_body(c, len);
  return c->phase == PHASE_BODY ? take_body(c, bytes, len) : find_head(c, bytes, len);
}

/* Keeps rest[0..len) for later in c->in, where it may lie already. */
static void keep_rest(conn_t *c, const uint8_t *rest, size_t len)
{
  bool ours = c->in != NULL && rest >= c->in && rest <= c->in + c->in_cap;
  if (len == 0) {
    drop_in(c);
    return;
  }
  if (ours) {
    memmove(c->in, rest, len);
    c->in_len = len;
    return;
  }
  if (!grow_in(c, len))
    return;
  memcpy(c->in, rest, len);
  c->in_len = len;
}

/* Runs requests out of bytes[0..len) for as long as their replies leave at once. */
static void consume(conn_t *c, const uint8_t *bytes, size_t len)
{
  size_t at = 0;
  c->processing = true;
  c->served = 0;
  while (at < len && wants_bytes(c) && (c->phase == PHASE_BODY || c->served < PACE_REQUESTS)) {
    size_t n = consume_some(c, bytes + at, len - at);
    if (n == 0)
      break;
    at += n;
  }
  c->processing = c->in_turn = false;
  if (c->closing || c->phase == PHASE_LINGER)
    return;
  keep_rest(c, bytes + at, len - at);
  if (!c->closing && c->phase == PHASE_IDLE && c->in_len > 0 && pace_request(c))
    conn_out_of_memory(c);
  if (!wants_bytes(c))
    conn_stop_reading(c);
}

/* Adds to what is kept; false if the connection is closed instead. */
static bool append(conn_t *c, const uint8_t *bytes, size_t len)
{
  if (!grow_in(c, c->in_len + len))
    return false;
  memcpy(c->in + c->in_len, bytes, len);
  c->in_len += len;
  return true;
}

static void on_end(conn_t *c, ssize_t nread);

/* A reply went out later than the read that brought its request: what came behind that request is next. */
static void resume(conn_t *c)
{
  if (c->in != NULL && c->in_len > 0)
    consume(c, c->in, c->in_len);
  if (wants_bytes(c) && c->tls_ended)
    on_end(c, UV_EOF);
  else if (wants_bytes(c))
    start_reading(c);
}

/* Reading */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
  conn_t *c = handle->data;
  (void)suggested;
  /* One buffer for all: what is not consumed within on_read is copied. */
  unsigned size = c->phase == PHASE_HANDSHAKE ? (unsigned)PACE_HELLO_MAX : (unsigned)READ_BUFFER_SIZE;
  *buf = uv_buf_init((char *)c->listener->front->read_buffer, pace_read_size(c, size));
}

static void on_end(conn_t *c, ssize_t nread)
{
  c->eof = true;
  c->reading = false;
  if (nread != UV_EOF || c->phase == PHASE_HANDSHAKE || c->phase == PHASE_IDLE || c->phase == PHASE_LINGER) {
    conn_close(c);
    return;
  }
  /* The peer has closed its half in the middle of a request; it may still listen. */
  if (c->phase == PHASE_BODY) {
    drop_body(c);
    front_request_free(c->request);
    c->request = NULL;
  }
  static const uint8_t nothing[1];
  refuse_gate(c, GATE_MORE, c->in != NULL ? c->in : nothing, c->in_len);
}

/* Bytes as HTTP has them. */
static void take_bytes(conn_t *c, const uint8_t *bytes, size_t len)
{
  if (c->phase == PHASE_LINGER) {
    c->lingered += len;
    if (c->lingered > LIMIT_LINGER_BYTES)
      conn_close(c);
    return;
  }
  if (c->in_len == 0) {
    consume(c, bytes, len);
  } else if (append(c, bytes, len)) {
    consume(c, c->in, c->in_len);
  }
}

/* The handshake, then what comes out decrypted. */
static void take_cipher(conn_t *c, const uint8_t *bytes, size_t len)
{
  uint8_t *plain = c->listener->front->plain;
  ssize_t n;
  tls_feed(c->tls, bytes, len);
  do {
    n = tls_read(c->tls, plain, READ_BUFFER_SIZE);
    conn_flush_tls(c);
    if (c->phase == PHASE_HANDSHAKE && !c->closing && tls_established(c->tls)) {
      room_end_handshake(c);
      conn_enter(c, PHASE_IDLE);
    }
    if (n > 0 && !c->closing)
      take_bytes(c, plain, (size_t)n);
  } while (n > 0 && !c->closing);
  if (c->closing)
    return;
  c->tls_held = tls_held(c->tls);
  if (!hold_in(c, c->in_cap) || n >= 0)
    return;
  if (n != SMPL_ECLOSED) {
    c->tls_failure = tls_reason(c->tls);
    log_closed(c, c->phase == PHASE_HANDSHAKE ? "tls-handshake" : "tls-broken");
    conn_close(c);
    return;
  }
  c->tls_ended = true; /* heard only once the request under way is answered */
  if (wants_bytes(c) || c->phase == PHASE_LINGER)
    on_end(c, UV_EOF);
}

/* Keeps the bytes until the step's turn; nothing more is read before. */
static void await_step(conn_t *c, const uint8_t *bytes, size_t len)
{
  keep_rest(c, bytes, len);
  conn_stop_reading(c);
  if (!c->closing && pace_handshake(c))
    conn_out_of_memory(c);
}

void conn_shake(conn_t *c)
{
  uint8_t *bytes = c->in; /* what comes decrypted out of them takes their place */
  size_t len = c->in_len;
  c->in = NULL;
  drop_in(c);
  take_cipher(c, bytes, len);
  free(bytes);
  if (wants_bytes(c))
    start_reading(c);
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
  conn_t *c = stream->data;
  if (nread == 0 || c->closing)
    return;
  if (nread < 0)
    on_end(c, nread);
  else if (c->phase == PHASE_HANDSHAKE)
    await_step(c, (const uint8_t *)buf->base, (size_t)nread);
  else if (c->tls != NULL)
    take_cipher(c, (const uint8_t *)buf->base, (size_t)nread);
  else
    take_bytes(c, (const uint8_t *)buf->base, (size_t)nread);
}

/* Accepting */

static bool is_client(const listener_conf_t *conf, const ip_t *ip)
{
  for (size_t i = 0; i < conf->client_count; i++)
    if (ip_net_contains(&conf->clients[i], ip))
      return true;
  return conf->client_count == 0;
}

static bool make_place(const conn_t *newcomer)
{
  conn_t *victim = room_place_victim(newcomer);
  if (victim == NULL)
    return false;
  log_closed(victim, "too-many-connections");
  conn_close(victim);
  return true;
}

/* TLS for the newcomer; an older handshake gives way if there are too many. */
static bool begin_handshake(conn_t *c)
{
  conn_t *victim = room_handshake_victim(c);
  if (victim != NULL) {
    log_closed(victim, "too-many-handshakes");
    conn_close(victim);
  }
  c->tls = tls_link_new(c->listener->conf->tls);
  return c->tls != NULL && room_begin_handshake(c) == SMPL_OK;
}

static bool is_balancer(const front_t *front, const ip_t *ip)
{
  for (size_t i = 0; i < front->balancer_count; i++)
    if (ip_net_contains(&front->balancers[i], ip))
      return true;
  return false;
}

static int read_peer(conn_t *c)
{
  struct sockaddr_storage sa;
  int len = sizeof sa;
  int err = uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&sa, &len);
  if (err < 0 || endpoint_from_sockaddr((struct sockaddr *)&sa, &c->peer))
    return SMPL_ESYS;
  endpoint_format(&c->peer, c->client);
  c->balancer = is_balancer(c->listener->front, &c->peer.ip);
  return SMPL_OK;
}

/* Takes the connection from the event loop, or the descriptor if there is one. */
static int take_connection(conn_t *c, int fd)
{
  if (fd >= 0)
    return uv_tcp_open(&c->tcp, fd);
  return uv_accept((uv_stream_t *)&c->listener->tcp, (uv_stream_t *)&c->tcp);
}

static void accept_one(listener_t *listener, int fd)
{
  front_t *front = listener->front;
  conn_t *c = calloc(1, sizeof *c);
  if (c == NULL) {
    log_error("out of memory; a connection was not accepted");
    if (fd >= 0)
      close(fd);
    return;
  }
  c->listener = listener;
  c->phase = listener->conf->tls != NULL ? PHASE_HANDSHAKE : PHASE_IDLE;
  c->tcp.data = c;
  if (uv_tcp_init(front->loop, &c->tcp) < 0) {
    if (fd >= 0)
      close(fd);
    free(c);
    return;
  }
  listener->connections++;
  listener->stats.accepted++;
  front->connections++;
  link_conn(c);
  conn_enter(c, c->phase);
  const char *reason = NULL;
  if (take_connection(c, fd) < 0 || read_peer(c))
    reason = "connection-gone";
  else if (!is_client(listener->conf, &c->peer.ip))
    reason = "client-not-admitted"; /* before a byte is read */
  else if (room_enter(c) || (listener->conf->tls != NULL && !begin_handshake(c)))
    reason = "out-of-memory";
  else if (front->draining || (listener->connections > front->limits.connections && !make_place(c)))
    reason = "too-many-connections";
  if (reason == NULL) {
    start_reading(c);
    return;
  }
  log_closed(c, reason);
  conn_close(c);
}

void conn_accept(listener_t *listener)
{
  accept_one(listener, -1);
}

void conn_accept_waiting(listener_t *listener)
{
  int from, fd;
  if (listener->accept_waits)
    accept_one(listener, -1);
  listener->accept_waits = false;
  if (uv_fileno((const uv_handle_t *)&listener->tcp, &from) < 0)
    return;
  for (int i = 0; i < LIMIT_BACKLOG && (fd = accept4(from, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;
       i++)
    accept_one(listener, fd);
}

/* True if it was cut. */
static bool judge(conn_t *c)
{
  bool client = is_client(c->listener->conf, &c->peer.ip);
  bool balancer = is_balancer(c->listener->front, &c->peer.ip);
  bool waits = c->phase == PHASE_IDLE && !conn_has_unread(c);
  c->last = balancer && !c->balancer;
  if (client && (balancer || !c->balancer) && !(c->last && waits))
    return false;
  log_closed(c, client ? "balancers-changed" : "client-not-admitted");
  conn_close(c);
  return true;
}

size_t conn_judge_all(listener_t *listener)
{
  size_t cut = 0;
  for (unsigned phase = 0; phase < PHASE_COUNT; phase++) {
    for (conn_t *c = listener->lists[phase].first, *next; c != NULL; c = next) {
      next = c->next;
      cut += judge(c);
    }
  }
  return cut;
}

bool conn_has_unread(const conn_t *c)
{
  int fd = -1, waiting = 0;
  return uv_fileno((const uv_handle_t *)&c->tcp, &fd) == 0 && ioctl(fd, FIONREAD, &waiting) == 0 &&
         waiting > 0;
}

/* Deadlines */

void conn_expire(conn_t *c)
{
  size_t left = c->phase == PHASE_WRITE ? conn_unacknowledged(c) : 0;
  bool in_time = uv_now(c->listener->front->loop) < c->reply_deadline;
  if (c->phase == PHASE_WRITE && left < c->write_left && in_time) {
    c->write_left = left; /* slow, but taking */
    conn_enter(c, PHASE_WRITE);
    return;
  }
  if (c->phase == PHASE_HANDSHAKE)
    log_closed(c, "handshake-timeout");
  else if (c->phase == PHASE_HEAD)
    log_closed(c, "head-timeout");
  else if (c->phase == PHASE_BODY)
    log_closed(c, "body-timeout");
  else if (c->phase == PHASE_WRITE)
    log_closed(c, in_time ? "write-timeout" : "reply-timeout");
  conn_close(c);
}

void conn_sweep(listener_t *listener, uint64_t now)
{
  for (unsigned phase = 0; phase < PHASE_COUNT; phase++) {
    if (phase == PHASE_HANDLER || phase == PHASE_PARSE)
      continue;
    conn_list_t *list = &listener->lists[phase];
    while (list->first != NULL && list->first->deadline <= now)
      conn_expire(list->first);
  }
}
