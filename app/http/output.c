/* SPDX-License-Identifier: Apache-2.0 */
#include "app/http/output.h"

#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "app/limits.h"

size_t output_unacknowledged(const output_t *out)
{
  int fd = -1, queued = 0;
  if (uv_fileno((const uv_handle_t *)out->tcp, &fd) < 0 || ioctl(fd, SIOCOUTQ, &queued) < 0 || queued < 0)
    queued = 0;
  return uv_stream_get_write_queue_size((const uv_stream_t *)out->tcp) + (size_t)queued + out->left;
}

bool output_is_queued_whole(const output_t *out)
{
  return out->left == 0;
}

void output_free(output_t *out)
{
  free(out->copy);
  shared_drop(out->owned);
}

/* Asks for what the answer under way holds, once: head_left bytes and the body, unless it is static. */
static bool hold(output_t *out, size_t head_left)
{
  if (!out->held)
    out->held = out->calls->hold(out->ctx, head_left + (out->owned != NULL ? out->left : 0));
  return out->held;
}

static output_state_t all_gone(output_t *out)
{
  shared_drop(out->owned);
  out->owned = NULL;
  return OUTPUT_GONE;
}

static void on_written(uv_write_t *write, int status)
{
  output_t *out = write->data;
  free(out->copy);
  out->copy = NULL;
  out->calls->written(out->ctx, status);
}

static output_state_t queue(output_t *out, const uv_buf_t *bufs, unsigned count)
{
  out->write.data = out;
  if (uv_write(&out->write, (uv_stream_t *)out->tcp, bufs, count, on_written) < 0)
    return OUTPUT_BROKEN;
  return OUTPUT_QUEUED;
}

/* Keeps its own copy of bytes that the socket did not take. */
static bool keep_copy(output_t *out, const void *bytes, size_t len)
{
  out->copy = malloc(len);
  if (out->copy != NULL)
    memcpy(out->copy, bytes, len);
  return out->copy != NULL;
}

/* Bytes that the socket takes at once; negative if it is broken. */
static ssize_t try_write(output_t *out, const uv_buf_t *bufs, unsigned count)
{
  int n = uv_try_write((uv_stream_t *)out->tcp, bufs, count);
  return n == UV_EAGAIN ? 0 : n;
}

/* Plain: the body in slices */

/* The next slice of the body as a buffer, taken off it. */
static uv_buf_t next_slice(output_t *out)
{
  size_t len = out->left < LIMIT_SLICE ? out->left : LIMIT_SLICE;
  uv_buf_t buf = uv_buf_init((char *)(uintptr_t)out->at, (unsigned)len);
  if (len > 0)
    out->at += len;
  out->left -= len;
  return buf;
}

/* Queues the rest of the answer, of which the socket has taken nothing: head[0..head_left) and the body. */
static output_state_t write_rest(output_t *out, const char *head, size_t head_left)
{
  uv_buf_t bufs[2];
  unsigned count = 0;
  if (!hold(out, head_left))
    return OUTPUT_FULL;
  if (head_left > 0) {
    if (!keep_copy(out, head, head_left))
      return OUTPUT_NO_MEMORY;
    bufs[count++] = uv_buf_init(out->copy, (unsigned)head_left);
  }
  if (out->left > 0)
    bufs[count++] = next_slice(out);
  return queue(out, bufs, count);
}

static output_state_t send_plain(output_t *out, const answer_t *answer)
{
  uv_buf_t bufs[2] = {uv_buf_init((char *)(uintptr_t)answer->head, (unsigned)answer->head_len),
                      next_slice(out)};
  ssize_t sent = try_write(out, bufs, bufs[1].len > 0 ? 2 : 1);
  if (sent < 0)
    return OUTPUT_BROKEN;
  size_t head_sent = (size_t)sent < answer->head_len ? (size_t)sent : answer->head_len;
  size_t unsent = bufs[1].len - ((size_t)sent - head_sent);
  if (unsent > 0) {
    out->at -= unsent;
    out->left += unsent;
  }
  if (head_sent < answer->head_len || out->left > 0)
    return write_rest(out, answer->head + head_sent, answer->head_len - head_sent);
  return all_gone(out);
}

/* Encrypted: a piece at a time, so that a big answer is never there twice as a whole. */

/* The next piece of plaintext, the head in front of the body's first one. */
static size_t next_piece(output_t *out, const char *head, size_t head_len, const uint8_t **piece)
{
  size_t room = TLS_WRITE_MAX - head_len;
  size_t body = out->left < room ? out->left : room;
  *piece = out->at;
  if (head_len > 0) {
    memcpy(out->piece, head, head_len);
    if (body > 0)
      memcpy(out->piece + head_len, out->at, body);
    *piece = out->piece;
  }
  if (body > 0)
    out->at += body;
  out->left -= body;
  return head_len + body;
}

static output_state_t pump(output_t *out, const char *head, size_t head_len)
{
  size_t slice = LIMIT_SLICE;
  do {
    const uint8_t *piece, *cipher;
    size_t cipher_len;
    size_t len = next_piece(out, head, head_len, &piece);
    head_len = 0;
    int err = tls_write(out->tls, piece, len);
    tls_take_output(out->tls, &cipher, &cipher_len);
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)cipher, (unsigned)cipher_len);
    /* The last of this turn is queued, so that the rest comes in the next. */
    bool last = len >= slice && out->left > 0;
    slice -= len < slice ? len : slice;
    ssize_t sent = err ? err : last ? 0 : try_write(out, &buf, 1);
    if (sent < 0)
      return OUTPUT_BROKEN;
    size_t left = cipher_len - (size_t)sent;
    if (left > 0) {
      if (!hold(out, left))
        return OUTPUT_FULL;
      if (!keep_copy(out, cipher + sent, left))
        return OUTPUT_NO_MEMORY;
      buf = uv_buf_init(out->copy, (unsigned)left);
      return queue(out, &buf, 1);
    }
  } while (out->left > 0);
  return all_gone(out);
}

output_state_t output_next(output_t *out)
{
  if (out->left == 0)
    return all_gone(out);
  return out->tls != NULL ? pump(out, NULL, 0) : write_rest(out, NULL, 0);
}

output_state_t output_send(output_t *out, const answer_t *answer)
{
  out->owned = answer->owned;
  out->at = answer->body;
  out->left = answer->body_len;
  out->held = false;
  if (out->tls == NULL)
    return send_plain(out, answer);
  if (answer->head_len > TLS_WRITE_MAX)
    return OUTPUT_TOO_LONG;
  return pump(out, answer->head, answer->head_len);
}

/* What belongs to no answer */

typedef struct loose {
  uv_write_t write;
  output_t *out;
  char bytes[];
} loose_t;

static void on_loose_written(uv_write_t *write, int status)
{
  loose_t *loose = write->data;
  output_t *out = loose->out;
  free(loose);
  if (status < 0)
    out->calls->broken(out->ctx);
}

static output_state_t send_loose(output_t *out, const void *bytes, size_t len)
{
  uv_buf_t buf = uv_buf_init((char *)(uintptr_t)bytes, (unsigned)len);
  ssize_t sent = try_write(out, &buf, 1);
  if (sent < 0 || uv_stream_get_write_queue_size((uv_stream_t *)out->tcp) > LIMIT_LOOSE_BYTES)
    return OUTPUT_BROKEN;
  size_t left = len - (size_t)sent;
  if (left == 0)
    return OUTPUT_GONE;
  loose_t *loose = malloc(sizeof *loose + left);
  if (loose == NULL)
    return OUTPUT_NO_MEMORY;
  loose->out = out;
  loose->write.data = loose;
  memcpy(loose->bytes, (const char *)bytes + sent, left);
  buf = uv_buf_init(loose->bytes, (unsigned)left);
  if (uv_write(&loose->write, (uv_stream_t *)out->tcp, &buf, 1, on_loose_written) < 0) {
    free(loose);
    return OUTPUT_BROKEN;
  }
  return OUTPUT_GONE;
}

output_state_t output_flush_tls(output_t *out)
{
  const uint8_t *bytes;
  size_t len;
  tls_take_output(out->tls, &bytes, &len);
  return len > 0 ? send_loose(out, bytes, len) : OUTPUT_GONE;
}

output_state_t output_say(output_t *out, const char *text)
{
  if (out->tls == NULL)
    return send_loose(out, text, strlen(text));
  const uint8_t *bytes;
  size_t len;
  int err = tls_write(out->tls, (const uint8_t *)text, strlen(text));
  tls_take_output(out->tls, &bytes, &len);
  if (err)
    return OUTPUT_BROKEN;
  return len > 0 ? send_loose(out, bytes, len) : OUTPUT_GONE;
}
