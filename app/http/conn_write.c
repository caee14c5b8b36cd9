/* SPDX-License-Identifier: Apache-2.0 */
/* The writing half of a connection: answers, plain or encrypted, and the wait for peers that take them
 * slowly. */
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "app/http/conn.h"
#include "common/base/log.h"

size_t conn_unacknowledged(const conn_t *c)
{
  int fd = -1, queued = 0;
  if (uv_fileno((const uv_handle_t *)&c->tcp, &fd) < 0 || ioctl(fd, SIOCOUTQ, &queued) < 0 || queued < 0)
    queued = 0;
  return uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp) + (size_t)queued + c->plain_left;
}

/* Counts what the answer under way holds, once; false if the connection has given way instead. */
static bool hold(conn_t *c, size_t bytes)
{
  if (c->phase == PHASE_WRITE || room_take(c, ROOM_REPLIES, bytes))
    return true;
  conn_give_way(c, ROOM_REPLIES);
  return false;
}

/* The answer was handed to the system whole. */
static void all_gone(conn_t *c)
{
  shared_drop(c->out_owned);
  c->out_owned = NULL;
  room_give_back(c, ROOM_REPLIES);
  conn_after_reply(c);
}

static void on_written(uv_write_t *write, int status);

/* From here on the peer must take something within write_ms, and all of it within reply_ms. */
static void wait_for_peer(conn_t *c, const uv_buf_t *bufs, unsigned count)
{
  bool first = c->phase != PHASE_WRITE;
  c->write.data = c;
  if (uv_write(&c->write, (uv_stream_t *)&c->tcp, bufs, count, on_written) < 0) {
    conn_close(c);
    return;
  }
  conn_enter(c, PHASE_WRITE);
  if (first)
    c->reply_deadline = c->since + c->listener->front->limits.reply_ms;
  c->write_left = conn_unacknowledged(c);
  conn_stop_reading(c);
}

/* Keeps its own copy of bytes that the socket did not take. */
static bool keep_copy(conn_t *c, const void *bytes, size_t len)
{
  c->out_head = malloc(len);
  if (c->out_head == NULL) {
    conn_out_of_memory(c);
    return false;
  }
  memcpy(c->out_head, bytes, len);
  return true;
}

/* Bytes that the socket takes at once; negative if it is broken. */
static ssize_t try_write(conn_t *c, const uv_buf_t *bufs, unsigned count)
{
  int n = uv_try_write((uv_stream_t *)&c->tcp, bufs, count);
  return n == UV_EAGAIN ? 0 : n;
}

/* Plain: the body in slices, so that the loop turns to others in the middle of a big answer. */

/* The next slice of the body as a buffer, taken off it. */
static uv_buf_t next_slice(conn_t *c)
{
  size_t len = c->plain_left < LIMIT_SLICE ? c->plain_left : LIMIT_SLICE;
  uv_buf_t buf = uv_buf_init((char *)(uintptr_t)c->plain_at, (unsigned)len);
  if (len > 0)
    c->plain_at += len;
  c->plain_left -= len;
  return buf;
}

/* Queues the rest of the answer, of which the socket has taken nothing: head[0..head_left) and the body. */
static void write_rest(conn_t *c, const char *head, size_t head_left)
{
  uv_buf_t bufs[2];
  unsigned count = 0;
  if (!hold(c, head_left + (c->out_owned != NULL ? c->plain_left : 0)))
    return;
  if (head_left > 0) {
    if (!keep_copy(c, head, head_left))
      return;
    bufs[count++] = uv_buf_init(c->out_head, (unsigned)head_left);
  }
  if (c->plain_left > 0)
    bufs[count++] = next_slice(c);
  wait_for_peer(c, bufs, count);
}

static void answer_plain(conn_t *c, const answer_t *answer)
{
  uv_buf_t bufs[2] = {uv_buf_init((char *)(uintptr_t)answer->head, (unsigned)answer->head_len),
                      next_slice(c)};
  ssize_t sent = try_write(c, bufs, bufs[1].len > 0 ? 2 : 1);
  if (sent < 0) {
    conn_close(c);
    return;
  }
  size_t head_sent = (size_t)sent < answer->head_len ? (size_t)sent : answer->head_len;
  size_t unsent = bufs[1].len - ((size_t)sent - head_sent);
  if (unsent > 0) {
    c->plain_at -= unsent;
    c->plain_left += unsent;
  }
  if (head_sent < answer->head_len || c->plain_left > 0)
    write_rest(c, answer->head + head_sent, answer->head_len - head_sent);
  else
    all_gone(c);
}

/* Encrypted: a piece at a time, so that a big answer is never there twice as a whole. */

/* The next piece of plaintext, the head in front of the body's first one. */
static size_t next_piece(conn_t *c, const char *head, size_t head_len, const uint8_t **piece)
{
  uint8_t *buffer = c->listener->front->piece;
  size_t room = TLS_WRITE_MAX - head_len;
  size_t body = c->plain_left < room ? c->plain_left : room;
  *piece = c->plain_at;
  if (head_len > 0) {
    memcpy(buffer, head, head_len);
    if (body > 0)
      memcpy(buffer + head_len, c->plain_at, body);
    *piece = buffer;
  }
  if (body > 0)
    c->plain_at += body;
  c->plain_left -= body;
  return head_len + body;
}

static void pump(conn_t *c, const char *head, size_t head_len)
{
  size_t slice = LIMIT_SLICE;
  do {
    const uint8_t *piece, *cipher;
    size_t cipher_len;
    size_t len = next_piece(c, head, head_len, &piece);
    head_len = 0;
    int err = tls_write(c->tls, piece, len);
    tls_take_output(c->tls, &cipher, &cipher_len);
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)cipher, (unsigned)cipher_len);
    bool last = len >= slice &&
                c->plain_left > 0; /* of this turn: it is queued, so that the rest comes in the next */
    slice -= len < slice ? len : slice;
    ssize_t sent = err ? err : last ? 0 : try_write(c, &buf, 1);
    if (sent < 0) {
      conn_close(c);
      return;
    }
    size_t left = cipher_len - (size_t)sent;
    if (left > 0) {
      if (!hold(c, left + (c->out_owned != NULL ? c->plain_left : 0)) || !keep_copy(c, cipher + sent, left))
        return;
      buf = uv_buf_init(c->out_head, (unsigned)left);
      wait_for_peer(c, &buf, 1);
      return;
    }
  } while (c->plain_left > 0);
  all_gone(c);
}

static void on_written(uv_write_t *write, int status)
{
  conn_t *c = write->data;
  free(c->out_head);
  c->out_head = NULL;
  if (c->closing)
    return; /* out_owned goes with the connection */
  if (status < 0) {
    conn_close(c);
    return;
  }
  if (c->plain_left == 0)
    all_gone(c);
  else if (uv_now(c->listener->front->loop) >= c->reply_deadline)
    conn_expire(c); /* each slice begins a wait of its own, and there are many */
  else if (c->tls != NULL)
    pump(c, NULL, 0);
  else
    write_rest(c, NULL, 0);
}

void conn_send(conn_t *c, const answer_t *answer)
{
  c->out_owned = answer->owned;
  c->plain_at = answer->body;
  c->plain_left = answer->body_len;
  if (c->tls == NULL) {
    answer_plain(c, answer);
    return;
  }
  if (answer->head_len > TLS_WRITE_MAX) {
    log_error("the head of an answer is too long");
    conn_close(c);
    return;
  }
  pump(c, answer->head, answer->head_len);
}

/* What belongs to no answer: handshakes, alerts, tickets, "100 Continue" */

typedef struct loose {
  uv_write_t write;
  conn_t *conn;
  char bytes[];
} loose_t;

static void on_loose_written(uv_write_t *write, int status)
{
  loose_t *loose = write->data;
  conn_t *c = loose->conn;
  free(loose);
  if (status < 0)
    conn_close(c);
}

static void send_loose(conn_t *c, const void *bytes, size_t len)
{
  uv_buf_t buf = uv_buf_init((char *)(uintptr_t)bytes, (unsigned)len);
  ssize_t sent = try_write(c, &buf, 1);
  if (sent < 0 || uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp) > LIMIT_LOOSE_BYTES) {
    conn_close(c);
    return;
  }
  size_t left = len - (size_t)sent;
  if (left == 0)
    return;
  loose_t *loose = malloc(sizeof *loose + left);
  if (loose == NULL) {
    conn_out_of_memory(c);
    return;
  }
  loose->conn = c;
  loose->write.data = loose;
  memcpy(loose->bytes, (const char *)bytes + sent, left);
  buf = uv_buf_init(loose->bytes, (unsigned)left);
  if (uv_write(&loose->write, (uv_stream_t *)&c->tcp, &buf, 1, on_loose_written) < 0) {
    free(loose);
    conn_close(c);
  }
}

void conn_flush_tls(conn_t *c)
{
  const uint8_t *bytes;
  size_t len;
  tls_take_output(c->tls, &bytes, &len);
  if (len > 0 && !c->closing)
    send_loose(c, bytes, len);
}

void conn_say(conn_t *c, const char *text)
{
  if (c->tls == NULL) {
    send_loose(c, text, strlen(text));
    return;
  }
  if (tls_write(c->tls, (const uint8_t *)text, strlen(text)))
    conn_close(c);
  conn_flush_tls(c);
}
