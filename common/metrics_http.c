#include "common/metrics_http.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/error.h"

enum { HEAD_MAX = 256 };

struct metrics_server {
  uv_tcp_t listener;
  metrics_source_t source;
  void *ctx;
  struct client *first;
  size_t clients; /* that are not closing */
  bool closing, listening;
};

typedef struct client {
  metrics_server_t *server;
  struct client *prev, *next;
  uv_tcp_t tcp;
  uv_timer_t timer;
  uv_write_t write;
  unsigned handles; /* still open */
  bool answered, closing;
  char *body;
  char head[HEAD_MAX];
  size_t used;
  char request[METRICS_REQUEST_MAX];
} client_t;

static void server_unref(metrics_server_t *m)
{
  if (m->closing && !m->listening && m->first == NULL)
    free(m);
}

static void on_handle_closed(uv_handle_t *handle)
{
  client_t *c = handle->data;
  metrics_server_t *m = c->server;
  if (--c->handles > 0)
    return;
  *(c->prev != NULL ? &c->prev->next : &m->first) = c->next;
  if (c->next != NULL)
    c->next->prev = c->prev;
  free(c->body);
  free(c);
  server_unref(m);
}

static void client_close(client_t *c)
{
  if (c->closing)
    return;
  c->closing = true;
  c->server->clients--;
  uv_close((uv_handle_t *)&c->tcp, on_handle_closed);
  uv_close((uv_handle_t *)&c->timer, on_handle_closed);
}

static void on_timeout(uv_timer_t *timer)
{
  client_close(timer->data);
}

static void on_written(uv_write_t *write, int status)
{
  (void)status;
  client_close(write->data);
}

/* Takes over body, which is malloc'ed. */
static void send_answer(client_t *c, const char *status, const char *more, const char *type, char *body,
                        size_t len)
{
  c->answered = true;
  c->body = body;
  int n = snprintf(c->head, sizeof c->head,
                   "HTTP/1.1 %s\r\nContent-Type: %s\r\n%sContent-Length: %zu\r\nConnection: close\r\n\r\n",
                   status, type, more, len);
  uv_buf_t bufs[2] = {uv_buf_init(c->head, (unsigned)n), uv_buf_init(body, (unsigned)len)};
  c->write.data = c;
  if (body == NULL || n < 0 || (size_t)n >= sizeof c->head ||
      uv_write(&c->write, (uv_stream_t *)&c->tcp, bufs, 2, on_written) != 0)
    client_close(c);
}

static void refuse(client_t *c, const char *status, const char *more)
{
  char *body = malloc(HEAD_MAX);
  int n = body != NULL ? snprintf(body, HEAD_MAX, "%s; GET /metrics is all there is\n", status) : 0;
  send_answer(c, status, more, "text/plain; charset=utf-8", body, (size_t)n);
}

/* The head has arrived whole. */
static void on_request(client_t *c)
{
  static const char wanted[] = "/metrics";
  char *end = strstr(c->request, "\r\n");
  *end = '\0';
  char *method_end = strchr(c->request, ' ');
  char *target = method_end != NULL ? method_end + 1 : NULL;
  char *target_end = target != NULL ? strchr(target, ' ') : NULL;
  if (target_end == NULL || (strcmp(target_end, " HTTP/1.1") != 0 && strcmp(target_end, " HTTP/1.0") != 0)) {
    refuse(c, "400 Bad Request", "");
    return;
  }
  *method_end = '\0';
  *target_end = '\0';
  if (strcmp(target, wanted) != 0) {
    refuse(c, "404 Not Found", "");
  } else if (strcmp(c->request, "GET") != 0) {
    refuse(c, "405 Method Not Allowed", "Allow: GET\r\n");
  } else {
    size_t len = 0;
    char *text = c->server->source(c->server->ctx, &len);
    if (text != NULL)
      send_answer(c, "200 OK", "", "text/plain; version=0.0.4; charset=utf-8", text, len);
    else
      refuse(c, "503 Service Unavailable", "");
  }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
  client_t *c = handle->data;
  (void)suggested;
  *buf = uv_buf_init(c->request + c->used, (unsigned)(sizeof c->request - 1 - c->used));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
  client_t *c = stream->data;
  (void)buf;
  if (n < 0) {
    client_close(c);
    return;
  }
  c->used += (size_t)n;
  c->request[c->used] = '\0';
  bool bad = memchr(c->request, '\0', c->used) != NULL;
  bool whole = strstr(c->request, "\r\n\r\n") != NULL;
  bool full = c->used == sizeof c->request - 1;
  if (!bad && !whole && !full)
    return;
  uv_read_stop(stream);
  if (bad)
    refuse(c, "400 Bad Request", "");
  else if (!whole)
    refuse(c, "431 Request Header Fields Too Large", "");
  else
    on_request(c);
}

static void on_connection(uv_stream_t *listener, int status)
{
  metrics_server_t *m = listener->data;
  client_t *c = status == 0 && !m->closing ? calloc(1, sizeof *c) : NULL;
  if (c == NULL)
    return;
  c->server = m;
  uv_tcp_init(listener->loop, &c->tcp);
  uv_timer_init(listener->loop, &c->timer);
  c->tcp.data = c;
  c->timer.data = c;
  c->handles = 2;
  c->next = m->first;
  if (m->first != NULL)
    m->first->prev = c;
  m->first = c;
  m->clients++;
  if (uv_accept(listener, (uv_stream_t *)&c->tcp) != 0 || m->clients > METRICS_CLIENTS_MAX ||
      uv_timer_start(&c->timer, on_timeout, METRICS_TIMEOUT_MS, 0) != 0 ||
      uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0)
    client_close(c);
}

int metrics_server_open(uv_loop_t *loop, const endpoint_t *at, metrics_source_t source, void *ctx,
                        metrics_server_t **out, diag_t *diag)
{
  char text[ENDPOINT_TEXT_MAX];
  struct sockaddr_storage sa;
  *out = NULL;
  metrics_server_t *m = calloc(1, sizeof *m);
  if (m == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  endpoint_to_sockaddr(at, &sa);
  endpoint_format(at, text);
  m->source = source;
  m->ctx = ctx;
  m->listening = true;
  uv_tcp_init(loop, &m->listener);
  m->listener.data = m;
  int e = uv_tcp_bind(&m->listener, (const struct sockaddr *)&sa, 0);
  if (e == 0)
    e = uv_listen((uv_stream_t *)&m->listener, METRICS_CLIENTS_MAX, on_connection);
  if (e == 0) {
    *out = m;
    return SMPL_OK;
  }
  metrics_server_close(m);
  if (e == UV_EADDRINUSE)
    return diag_fail(diag, SMPL_EBUSY,
                     "metrics: %s: address in use: stop the program that has it (ss -lntp shows it) or "
                     "choose another port",
                     text);
  return diag_fail(diag, SMPL_ESYS, "metrics: %s: cannot listen: %s", text, uv_strerror(e));
}

static void on_listener_closed(uv_handle_t *handle)
{
  metrics_server_t *m = handle->data;
  m->listening = false;
  server_unref(m);
}

void metrics_server_close(metrics_server_t *m)
{
  if (m == NULL || m->closing)
    return;
  m->closing = true;
  for (client_t *c = m->first; c != NULL; c = c->next)
    client_close(c);
  uv_close((uv_handle_t *)&m->listener, on_listener_closed);
}
