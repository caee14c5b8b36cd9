/* SPDX-License-Identifier: Apache-2.0 */
#include "app/http/delivery.h"

#include "app/http/conn.h"
#include "app/http/exchange.h"
#include "app/http/intake.h"
#include "common/base/log.h"

static void on_shut(uv_shutdown_t *shutdown, int status)
{
  conn_t *c = shutdown->data;
  if (status < 0)
    conn_close(c);
}

/* After the last reply. A peer that may still be sending would lose the reply to a reset: it is read out
 * first. */
static void finish(conn_t *c)
{
  conn_keep(c, NULL, 0);
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
  intake_start(c);
}

/* The reply is on its way out whole. */
static void after_reply(conn_t *c)
{
  room_give_back(&c->seat, ROOM_REPLIES);
  if (!c->keep || c->last || c->listener->env->leaving) {
    finish(c);
    return;
  }
  room_served(&c->seat);
  conn_enter(c, PHASE_IDLE);
  if (!c->processing)
    intake_resume(c);
}

/* From here on the peer must take something within write_ms, and all of it within reply_ms. */
static void wait_for_peer(conn_t *c)
{
  bool first = c->seat.wait.phase != PHASE_WRITE;
  conn_enter(c, PHASE_WRITE);
  if (first)
    c->reply_deadline = c->seat.wait.since + c->listener->env->limits.reply_ms;
  c->write_left = output_unacknowledged(&c->out);
  conn_stop_reading(c);
}

static void settle(conn_t *c, output_state_t state)
{
  switch (state) {
  case OUTPUT_GONE:
    after_reply(c);
    break;
  case OUTPUT_QUEUED:
    wait_for_peer(c);
    break;
  case OUTPUT_NO_MEMORY:
    conn_out_of_memory(c);
    break;
  case OUTPUT_TOO_LONG:
    log_error("the head of an answer is too long");
    conn_close(c);
    break;
  case OUTPUT_FULL: /* cut already */
  case OUTPUT_BROKEN:
    conn_close(c);
    break;
  }
}

/* Outputs */

static bool may_hold(void *ctx, size_t bytes)
{
  return conn_hold(ctx, ROOM_REPLIES, bytes);
}

static void on_written(void *ctx, int status)
{
  conn_t *c = ctx;
  if (c->closing)
    return;
  if (status < 0)
    conn_close(c);
  else if (!output_is_queued_whole(&c->out) && uv_now(c->listener->env->loop) >= c->reply_deadline)
    conn_expire(c); /* each slice begins a wait of its own, and there are many */
  else
    settle(c, output_next(&c->out));
}

static void on_broken(void *ctx)
{
  conn_close(ctx);
}

const output_calls_t delivery_outputs = {.hold = may_hold, .written = on_written, .broken = on_broken};

/* Replies */

static bool ends(const request_t *request)
{
  const conn_listener_t *listener = request->desk->ctx;
  return listener->env->leaving || (request->conn != NULL && request->conn->last);
}

static void answer(request_t *request, const answer_t *answer)
{
  conn_t *c = request->conn;
  if (c == NULL) {
    shared_drop(answer->owned);
    exchange_end(request);
    return;
  }
  c->keep = answer->keep;
  c->in.skip = (size_t)(request->head.length - request->body_have); /* answered before its body was read */
  if (c->in.skip > 0 && !answer->keep)
    c->drain = true;
  exchange_drop(c); /* answer->head and body are not the request's */
  settle(c, output_send(&c->out, answer));
}

static void go_on(request_t *request)
{
  conn_t *c = request->conn;
  requests_settle(request);
  if (c == NULL) {
    exchange_end(request);
    return;
  }
  exchange_await_body(c);
  if (!c->processing)
    intake_resume(c);
}

const reply_calls_t delivery_replies = {.ends = ends, .answer = answer, .go_on = go_on};
