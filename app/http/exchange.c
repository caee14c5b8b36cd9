/* SPDX-License-Identifier: Apache-2.0 */
#include "app/http/exchange.h"

#include <stdlib.h>
#include <string.h>

#include "app/http/forwarded.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/log.h"

static int new_request(conn_t *c)
{
  request_t *request = requests_take(&c->listener->env->requests);
  if (request == NULL) {
    conn_out_of_memory(c);
    return SMPL_ENOMEM;
  }
  request->conn = c;
  request->desk = &c->listener->desk;
  request->source = c->seat.source;
  memcpy(request->client, c->client, sizeof request->client);
  c->request = request;
  return SMPL_OK;
}

void exchange_drop(conn_t *c)
{
  conn_drop_body(c);
  requests_give_back(c->request);
  c->request = NULL;
}

void exchange_end(request_t *request)
{
  const conn_listener_t *listener = request->desk->ctx;
  requests_give_back(request);
  listener->env->gone(listener->env->ctx);
}

/* Refusals */

void exchange_refuse_bytes(conn_t *c, gate_verdict_t gate, const uint8_t *bytes, size_t len)
{
  if (new_request(c))
    return;
  c->request->admit = (admit_t){.verdict = ADMIT_GATE, .gate = gate};
  c->drain = true;
  reply_refusal(c->request, bytes, len);
}

/* Refuses a request for what came behind its head. */
static void refuse_body(conn_t *c, admit_verdict_t verdict)
{
  request_t *request = c->request;
  request->admit.verdict = verdict;
  c->drain = true;
  reply_refusal(request, request->bytes, request->length);
}

static void refuse_json(request_t *request, int err, const char *why)
{
  request->admit.verdict = ADMIT_BODY_JSON;
  request_reply_error(request, 400, err == SMPL_ELIMIT ? "Body too complex" : "Bad Request", "", NULL,
                      "the body is not acceptable JSON: %s", why);
}

/* The body is here, and is parsed */

/* The request is complete: its handler's turn. */
static void run_handler(conn_t *c)
{
  request_t *request = c->request;
  const route_match_t *match = &request->admit.match;
  conn_enter(c, PHASE_HANDLER);
  conn_drop_body(c);
  requests_owe(request);
  match->route->handle(request, match->context);
}

/* A small body costs no more than its head did. */
static void parse_here(conn_t *c, size_t values)
{
  conn_env_t *env = c->listener->env;
  request_t *request = c->request;
  diag_t diag = {.text = ""};
  conn_enter(c, PHASE_HANDLER);
  if (values > env->limits.values - env->requests.values) {
    refuse_body(c, ADMIT_BODIES_FULL);
    return;
  }
  parse_count_here(env->parse);
  int err = request_json(request->body_bytes, request->body_have, &request->body, &diag);
  if (err) {
    refuse_json(request, err, diag.text);
    return;
  }
  request->values = values;
  env->requests.values += values;
  run_handler(c);
}

static void parse_there(conn_t *c)
{
  request_t *request = c->request, *displaced;
  conn_enter(c, PHASE_PARSE);
  requests_owe(request);
  int err = parse_queue(request, &displaced);
  if (err == SMPL_ENOMEM)
    conn_out_of_memory(c);
  else if (err)
    refuse_body(c, ADMIT_BODIES_FULL);
  if (displaced != NULL)
    refuse_body(displaced->conn, ADMIT_BODIES_FULL);
}

void exchange_body_is_taken(request_t *request)
{
  room_give_back(&request->conn->seat, ROOM_BODIES);
}

void exchange_body_is_parsed(request_t *request, int err, const char *why)
{
  conn_t *c = request->conn;
  if (c == NULL) {
    exchange_end(request);
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

/* The body is coming */

void exchange_await_body(conn_t *c)
{
  conn_enter(c, PHASE_BODY);
  if (c->request->head.expect_continue && !c->request->more)
    conn_say(c, "HTTP/1.1 100 Continue\r\n\r\n");
}

/* So many bytes more of the body are held; whoever gives way for them is refused. */
static int take_room(conn_t *c, size_t bytes)
{
  seat_t *victim;
  int err;
  while ((err = room_take(&c->seat, ROOM_BODIES, bytes, &victim)) == SMPL_EBUSY)
    refuse_body(conn_of_seat(victim), ADMIT_BODIES_FULL);
  return err;
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
  if (take_room(c, cap - request->body_cap)) {
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

size_t exchange_body(conn_t *c, const uint8_t *bytes, size_t len)
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

/* The head is here */

/* A balancer that does not name a source asks for itself: its checks do. */
static void say_unnamed(conn_t *c, int err)
{
  conn_env_t *env = c->listener->env;
  c->listener->stats.unnamed[err == SMPL_EINVAL]++;
  if (err != SMPL_EINVAL || env->unnamed_said)
    return;
  env->unnamed_said = true;
  log_warn(
      "the balancer %s passes on X-Forwarded-For whose last element is no plain address: what it sends is "
      "counted as its own (said once)",
      c->client);
}

/* From here on the balancer's connection is its client's, until the request is answered. */
static int take_source(conn_t *c, const uint8_t *head)
{
  request_t *request = c->request;
  ip_t source = c->seat.peer;
  int err = forwarded_source(head, &request->head, &source);
  if (err) {
    say_unnamed(c, err);
  } else {
    memcpy(request->peer, c->client, sizeof request->peer);
    ip_format(&source, request->client);
  }
  request->source = source;
  return room_serve(&c->seat, &source);
}

static void take_request_id(request_t *request)
{
  const char *id = request_header(request, "x-request-id");
  if (id != NULL && request_id_is_fine(id, strlen(id)))
    memcpy(request->id, id, strlen(id) + 1);
}

/* Refuses a request by its head; body_follows says whether the peer may be sending a body. */
static void refuse_head(conn_t *c, const uint8_t *head, size_t len, bool body_follows, bool more)
{
  c->drain = body_follows || more || !c->listener->conf->admit.internal;
  reply_refusal(c->request, head, len);
}

/* The head is admitted: what comes next of the request. */
static void go_on(conn_t *c)
{
  request_t *request = c->request;
  const route_match_t *match = &request->admit.match;
  if (request->head.length == 0) {
    dispatch(c);
  } else if (match->guard != NULL) {
    conn_enter(c, PHASE_HANDLER);
    requests_owe(request);
    match->guard(request, match->context);
  } else {
    exchange_await_body(c);
  }
}

static admit_verdict_t judge_keys(request_t *request, const internal_keys_t *keys)
{
  admit_verdict_t verdict = request_judge_key(request);
  return verdict == ADMIT_OK ? request_judge_caller(request, keys) : verdict;
}

void exchange_head(conn_t *c, const uint8_t *head, size_t len, bool more)
{
  if (new_request(c))
    return;
  request_t *request = c->request;
  admit_t *admit = &request->admit;
  c->served++;
  request->started_us = clock_mono_us();
  admit_decide(&c->listener->conf->admit, head, len, &request->head, admit);
  if (c->seat.balancer && admit->verdict != ADMIT_GATE && take_source(c, head)) {
    conn_out_of_memory(c);
    return;
  }
  if (admit->verdict != ADMIT_OK) {
    refuse_head(c, head, len, admit->verdict == ADMIT_GATE || request->head.length > 0, more);
    return;
  }
  if (request_take_head(request, head, len)) {
    conn_out_of_memory(c);
    return;
  }
  take_request_id(request);
  admit->verdict = judge_keys(request, c->listener->env->internal_keys);
  if (admit->verdict != ADMIT_OK) {
    refuse_head(c, request->bytes, request->length, request->head.length > 0, more);
    return;
  }
  request->more = more;
  go_on(c);
}
