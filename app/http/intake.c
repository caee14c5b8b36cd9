/* SPDX-License-Identifier: Apache-2.0 */
#include "app/http/intake.h"

#include <stdlib.h>

#include "app/http/exchange.h"
#include "app/http/forwarded.h"
#include "common/base/error.h"

/* Heads and bodies */

/* One step of reading a head; returns how many bytes are done with, 0 if more must come first, or its turn. A
 * whole head that waits for its turn counts as one that has not begun: nothing can be sent late that would
 * make it wait longer. */
static size_t find_head(conn_t *c, const uint8_t *bytes, size_t len)
{
  size_t end = 0;
  gate_verdict_t verdict = gate_scan(bytes, len, c->in.scanned, &end);
  if (verdict == GATE_MORE) {
    c->in.scanned = len;
    if (c->seat.wait.phase == PHASE_IDLE)
      conn_enter(c, PHASE_HEAD);
    return 0;
  }
  if (!c->in_turn && !pace_begins(&c->listener->pace, &c->seat.source)) {
    conn_enter(c, PHASE_IDLE);
    return 0;
  }
  c->in.scanned = 0;
  if (verdict == GATE_ADMIT) {
    exchange_head(c, bytes, end, end < len);
    return end;
  }
  exchange_refuse_bytes(c, verdict, bytes, len);
  return len;
}

/* What is left of the body of a request that has its answer. */
static size_t skip_body(conn_t *c, size_t len)
{
  size_t n = len < c->in.skip ? len : c->in.skip;
  c->in.skip -= n;
  return n;
}

/* One step; returns how many bytes are done with, 0 if more must come first, or its turn. */
static size_t consume_some(conn_t *c, const uint8_t *bytes, size_t len)
{
  if (c->in.skip > 0)
    return skip_body(c, len);
  return c->seat.wait.phase == PHASE_BODY ? exchange_body(c, bytes, len) : find_head(c, bytes, len);
}

/* Whose the next request is. What a balancer sends belongs to whom its head names; if that is not here whole,
 * it is the balancer's. What is left of a body names nobody: its sender wrote it. */
static ip_t next_source(const conn_t *c)
{
  gate_head_t head;
  size_t end = 0, at = c->in.skip < c->in.len ? c->in.skip : c->in.len;
  const uint8_t *bytes = c->in.bytes + at;
  ip_t source = c->seat.source;
  if (c->seat.balancer && gate_scan(bytes, c->in.len - at, 0, &end) == GATE_ADMIT &&
      gate_head(bytes, end, &head) == GATE_ADMIT)
    forwarded_source(bytes, &head, &source); /* unchanged if it names none */
  return source;
}

/* The next request is here, and waits for its turn. */
static void await_turn(conn_t *c)
{
  ip_t source = next_source(c);
  conn_enter(c, PHASE_TURN);
  if (pace_request(&c->listener->pace, &c->turn, &source))
    conn_out_of_memory(c);
}

/* Runs requests out of bytes[0..len) for as long as their replies leave at once. */
static void consume(conn_t *c, const uint8_t *bytes, size_t len)
{
  size_t at = 0;
  c->processing = true;
  c->served = 0;
  while (at < len && conn_wants_bytes(c) && (c->seat.wait.phase == PHASE_BODY || c->served < PACE_REQUESTS)) {
    size_t n = consume_some(c, bytes + at, len - at);
    if (n == 0)
      break;
    at += n;
  }
  c->processing = c->in_turn = false;
  if (c->closing || c->seat.wait.phase == PHASE_LINGER)
    return;
  conn_keep(c, bytes + at, len - at);
  if (!c->closing && c->seat.wait.phase == PHASE_IDLE && c->in.len > 0)
    await_turn(c);
  if (!conn_wants_bytes(c))
    conn_stop_reading(c);
}

/* Bytes as HTTP has them. */
static void take_bytes(conn_t *c, const uint8_t *bytes, size_t len)
{
  if (c->seat.wait.phase == PHASE_LINGER) {
    c->in.lingered += len;
    if (c->in.lingered > LIMIT_LINGER_BYTES)
      conn_close(c);
    return;
  }
  if (c->in.len == 0)
    consume(c, bytes, len);
  else if (conn_append(c, bytes, len))
    consume(c, c->in.bytes, c->in.len);
}

static void take_end(conn_t *c, bool orderly)
{
  phase_t phase = c->seat.wait.phase;
  c->eof = true;
  c->reading = false;
  if (!orderly || phase == PHASE_HANDSHAKE || phase == PHASE_IDLE || phase == PHASE_LINGER) {
    conn_close(c);
    return;
  }
  /* The peer has closed its half in the middle of a request; it may still listen. */
  if (phase == PHASE_BODY)
    exchange_drop(c);
  static const uint8_t nothing[1];
  exchange_refuse_bytes(c, GATE_MORE, c->in.bytes != NULL ? c->in.bytes : nothing, c->in.len);
}

/* TLS */

/* The handshake, then what comes out decrypted. */
static void take_cipher(conn_t *c, const uint8_t *bytes, size_t len)
{
  uint8_t *plain = c->listener->env->plain;
  ssize_t n;
  tls_feed(c->tls, bytes, len);
  do {
    n = tls_read(c->tls, plain, CONN_READ_SIZE);
    conn_flush_tls(c);
    if (c->seat.wait.phase == PHASE_HANDSHAKE && !c->closing && tls_established(c->tls)) {
      room_end_handshake(&c->seat);
      conn_enter(c, PHASE_IDLE);
    }
    if (n > 0 && !c->closing)
      take_bytes(c, plain, (size_t)n);
  } while (n > 0 && !c->closing);
  if (c->closing)
    return;
  c->in.tls_held = tls_held(c->tls);
  if (!conn_hold(c, ROOM_HEADS, c->in.cap + c->in.tls_held) || n >= 0)
    return;
  if (n != SMPL_ECLOSED) {
    c->tls_failure = tls_reason(c->tls);
    conn_cut(c, c->seat.wait.phase == PHASE_HANDSHAKE ? "tls-handshake" : "tls-broken");
    return;
  }
  c->tls_ended = true; /* heard only once the request under way is answered */
  if (conn_wants_bytes(c) || c->seat.wait.phase == PHASE_LINGER)
    take_end(c, true);
}

/* Keeps the bytes until the step's turn; nothing more is read before. */
static void await_step(conn_t *c, const uint8_t *bytes, size_t len)
{
  conn_keep(c, bytes, len);
  conn_stop_reading(c);
  if (!c->closing && pace_handshake(&c->listener->pace, &c->turn, &c->seat.source))
    conn_out_of_memory(c);
}

void intake_shake(conn_t *c)
{
  size_t len;
  uint8_t *bytes = conn_take_input(c, &len); /* what comes decrypted out of them takes their place */
  take_cipher(c, bytes, len);
  free(bytes);
  if (conn_wants_bytes(c))
    intake_start(c);
}

/* Reading */

/* How many bytes the connection reads at a time. Who waits keeps what he has read: where the room for it is
 * scarce, that is little, so that nobody who waits is closed for it. */
static unsigned read_size(const conn_t *c)
{
  phase_t phase = c->seat.wait.phase;
  if ((phase == PHASE_IDLE || phase == PHASE_HEAD) && room_is_crowded(c->seat.room, ROOM_HEADS))
    return PACE_CROWDED_READ;
  return phase == PHASE_HANDSHAKE ? (unsigned)PACE_HELLO_MAX : (unsigned)CONN_READ_SIZE;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
  conn_t *c = handle->data;
  (void)suggested;
  /* One buffer for all: what is not consumed within on_read is copied. */
  *buf = uv_buf_init((char *)c->listener->env->read_buffer, read_size(c));
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
  conn_t *c = stream->data;
  if (nread == 0 || c->closing)
    return;
  if (nread < 0)
    take_end(c, nread == UV_EOF);
  else if (c->seat.wait.phase == PHASE_HANDSHAKE)
    await_step(c, (const uint8_t *)buf->base, (size_t)nread);
  else if (c->tls != NULL)
    take_cipher(c, (const uint8_t *)buf->base, (size_t)nread);
  else
    take_bytes(c, (const uint8_t *)buf->base, (size_t)nread);
}

void intake_start(conn_t *c)
{
  if (c->reading || c->closing)
    return;
  c->reading = true;
  if (uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) < 0)
    conn_close(c);
}

/* Going on */

void intake_resume(conn_t *c)
{
  if (c->in.bytes != NULL && c->in.len > 0)
    consume(c, c->in.bytes, c->in.len);
  if (conn_wants_bytes(c) && c->tls_ended)
    take_end(c, true);
  else if (conn_wants_bytes(c))
    intake_start(c);
}

void intake_take_turn(conn_t *c)
{
  c->in_turn = true;
  conn_enter(c, PHASE_IDLE);
  intake_resume(c);
}
