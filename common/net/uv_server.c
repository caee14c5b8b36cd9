/* SPDX-License-Identifier: Apache-2.0 */
#include "common/net/uv_server.h"

#include <stdlib.h>

static void init_stream(uv_loop_t *loop, uv_handle_type kind, uv_stream_t *stream)
{
  if (kind == UV_TCP)
    uv_tcp_init(loop, (uv_tcp_t *)stream);
  else
    uv_pipe_init(loop, (uv_pipe_t *)stream, 0);
}

static void unref(uv_server_t *s)
{
  if (s->closed && !s->listening && list_empty(&s->clients))
    s->type->over(s);
}

static void on_client_closed(uv_handle_t *handle)
{
  uv_client_t *c = handle->data;
  uv_server_t *s = c->server;
  if (--c->handles > 0)
    return;
  list_remove(&c->link);
  c->server = NULL;
  s->type->gone(c);
  unref(s);
}

void uv_client_close(uv_client_t *c)
{
  if (c->closing)
    return;
  c->closing = true;
  if (c->server->type->left != NULL)
    c->server->type->left(c);
  uv_close((uv_handle_t *)&c->handle, on_client_closed);
  uv_close((uv_handle_t *)&c->timer, on_client_closed);
}

static void on_timeout(uv_timer_t *timer)
{
  uv_client_close(timer->data);
}

static void on_written(uv_write_t *write, int status)
{
  (void)status;
  uv_client_close(write->data);
}

void uv_client_answer(uv_client_t *c, const uv_buf_t *bufs, unsigned count)
{
  c->answering = true;
  c->write.data = c;
  if (uv_write(&c->write, &c->handle.stream, bufs, count, on_written) != 0)
    uv_client_close(c);
}

void uv_client_hold(uv_client_t *c)
{
  uv_read_stop(&c->handle.stream);
  uv_timer_stop(&c->timer);
}

void uv_client_restart(uv_client_t *c)
{
  uv_timer_start(&c->timer, on_timeout, c->server->type->timeout_ms, 0);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
  uv_client_t *c = handle->data;
  (void)suggested;
  *buf = c->server->type->room(c);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
  uv_client_t *c = stream->data;
  (void)buf;
  if (n < 0) /* also UV_ENOBUFS: more than there is room for */
    uv_client_close(c);
  else if (n > 0)
    c->server->type->received(c, (size_t)n);
}

static void on_connection(uv_stream_t *listener, int status)
{
  uv_server_t *s = listener->data;
  uv_client_t *c = status == 0 && !s->closed ? calloc(1, s->type->size) : NULL;
  if (c == NULL)
    return;
  c->server = s;
  init_stream(listener->loop, s->type->kind, &c->handle.stream);
  uv_timer_init(listener->loop, &c->timer);
  c->handle.stream.data = c;
  c->timer.data = c;
  c->handles = 2;
  list_add_first(&s->clients, &c->link);
  if (uv_accept(listener, &c->handle.stream) != 0 || !s->type->accepted(c) ||
      uv_timer_start(&c->timer, on_timeout, s->type->timeout_ms, 0) != 0 ||
      uv_read_start(&c->handle.stream, on_alloc, on_read) != 0)
    uv_client_close(c);
}

void uv_server_init(uv_server_t *s, uv_loop_t *loop, const uv_server_type_t *type)
{
  s->type = type;
  list_init(&s->clients);
  init_stream(loop, type->kind, &s->listener.stream);
  s->listener.stream.data = s;
  s->listening = true;
}

int uv_server_listen(uv_server_t *s, int backlog)
{
  return uv_listen(&s->listener.stream, backlog, on_connection);
}

static void on_listener_closed(uv_handle_t *handle)
{
  uv_server_t *s = handle->data;
  s->listening = false;
  unref(s);
}

void uv_server_close(uv_server_t *s, bool let_answers_leave)
{
  if (s->closed)
    return;
  s->closed = true;
  LIST_EACH(uv_client_t, c, &s->clients, link)
    if (!let_answers_leave || !c->answering)
      uv_client_close(c);
  uv_close((uv_handle_t *)&s->listener, on_listener_closed);
}
