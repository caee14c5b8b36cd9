/* SPDX-License-Identifier: Apache-2.0 */
#include "common/net/metrics_http.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/net/bind.h"
#include "common/net/crowd.h"
#include "common/base/error.h"
#include "common/net/http_head.h"

enum { HEAD_MAX = 256, BODY_MAX = 512 };

struct metrics_server {
  uv_tcp_t listener;
  metrics_source_t source;
  void *ctx;
  char **hosts; /* configured */
  size_t host_count;
  struct client *first;
  crowd_t *crowd; /* clients that are not closing */
  bool closing, listening;
};

typedef struct client {
  metrics_server_t *server;
  struct client *prev, *next;
  crowd_member_t place;
  endpoint_t local; /* that it came to */
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

static void server_free(metrics_server_t *m)
{
  for (size_t i = 0; i < m->host_count; i++)
    free(m->hosts[i]);
  free(m->hosts);
  crowd_free(m->crowd);
  free(m);
}

static void server_unref(metrics_server_t *m)
{
  if (m->closing && !m->listening && m->first == NULL)
    server_free(m);
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
  crowd_leave(c->server->crowd, &c->place);
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

static void refuse_why(client_t *c, const char *status, const char *more, const char *why)
{
  char *body = malloc(BODY_MAX);
  int n = body != NULL ? snprintf(body, BODY_MAX, "%s; %s\n", status, why) : 0;
  send_answer(c, status, more, "text/plain; charset=utf-8", body, (size_t)n);
}

static void refuse(client_t *c, const char *status, const char *more)
{
  refuse_why(c, status, more, "GET /metrics is all there is");
}

static void refuse_host(client_t *c)
{
  char why[BODY_MAX / 2];
  char address[ENDPOINT_TEXT_MAX];
  snprintf(why, sizeof why,
           "Host must be %s%s or a name of the configuration: metrics: {address: ..., hosts: [NAME]}",
           endpoint_format(&c->local, address), ip_is_loopback(&c->local.ip) ? ", localhost" : "");
  refuse_why(c, "421 Misdirected Request", "", why);
}

/* A name that is configured may stand before any port: who forwards a port has another one. */
static bool knows_host(const client_t *c, http_text_t host)
{
  const metrics_server_t *m = c->server;
  http_text_t name;
  uint16_t port;
  ip_t ip;
  if (http_host_split(host, &name, &port))
    return false;
  for (size_t i = 0; i < m->host_count; i++)
    if (http_host_same(name, m->hosts[i]))
      return true;
  if (port != 0 && port != c->local.port)
    return false;
  return (http_host_address(name, &ip) && ip_equal(&ip, &c->local.ip)) ||
         (ip_is_loopback(&c->local.ip) && http_host_same(name, "localhost"));
}

static void answer_metrics(client_t *c)
{
  size_t len = 0;
  char *text = c->server->source(c->server->ctx, &len);
  if (text != NULL)
    send_answer(c, "200 OK", "", "text/plain; version=0.0.4; charset=utf-8", text, len);
  else
    refuse(c, "503 Service Unavailable", "");
}

/* The head has arrived whole. */
static void on_request(client_t *c, size_t len)
{
  http_head_t head;
  if (http_head_read(c->request, len, &head))
    refuse_why(c, "400 Bad Request", "",
               "it must be HTTP/1.1 with one Host, or HTTP/1.0, in lines that end in CR LF");
  else if (head.has_host && !knows_host(c, head.host))
    refuse_host(c);
  else if (!http_text_is(head.target, "/metrics"))
    refuse(c, "404 Not Found", "");
  else if (!http_text_is(head.method, "GET"))
    refuse(c, "405 Method Not Allowed", "Allow: GET\r\n");
  else
    answer_metrics(c);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
  client_t *c = handle->data;
  (void)suggested;
  *buf = uv_buf_init(c->request + c->used, (unsigned)(sizeof c->request - c->used));
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
  size_t head = http_head_end(c->request, c->used);
  if (head == 0 && c->used < sizeof c->request)
    return;
  uv_read_stop(stream);
  if (head == 0)
    refuse(c, "431 Request Header Fields Too Large", "");
  else
    on_request(c, head);
}

/* Who it is and where it came to. For one too many the oldest of the source with most gives way. */
static int take_place(client_t *c)
{
  metrics_server_t *m = c->server;
  struct sockaddr_storage peer_sa;
  struct sockaddr_storage local_sa;
  int peer_len = sizeof peer_sa;
  int local_len = sizeof local_sa;
  endpoint_t peer;
  if (uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&peer_sa, &peer_len) != 0 ||
      uv_tcp_getsockname(&c->tcp, (struct sockaddr *)&local_sa, &local_len) != 0 ||
      endpoint_from_sockaddr((struct sockaddr *)&peer_sa, &peer) ||
      endpoint_from_sockaddr((struct sockaddr *)&local_sa, &c->local))
    return SMPL_ESYS;
  if (crowd_total(m->crowd) >= METRICS_CLIENTS_MAX)
    client_close((client_t *)((char *)crowd_heaviest(m->crowd) - offsetof(client_t, place)));
  return crowd_add(m->crowd, &c->place, &peer.ip, 1);
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
  if (uv_accept(listener, (uv_stream_t *)&c->tcp) != 0 || take_place(c) ||
      uv_timer_start(&c->timer, on_timeout, METRICS_TIMEOUT_MS, 0) != 0 ||
      uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0)
    client_close(c);
}

static metrics_server_t *server_new(const metrics_conf_t *conf)
{
  const char *const *hosts = conf->hosts.items;
  metrics_server_t *m = calloc(1, sizeof *m);
  if (m == NULL)
    return NULL;
  m->crowd = crowd_new();
  m->hosts = calloc(conf->hosts.count + 1, sizeof *m->hosts);
  bool whole = m->crowd != NULL && m->hosts != NULL;
  for (size_t i = 0; whole && i < conf->hosts.count; i++) {
    m->hosts[i] = strdup(hosts[i]);
    whole = m->hosts[i] != NULL;
    m->host_count++;
  }
  if (whole)
    return m;
  server_free(m);
  return NULL;
}

int metrics_server_open(uv_loop_t *loop, const metrics_conf_t *conf, metrics_source_t source, void *ctx,
                        metrics_server_t **out, diag_t *diag)
{
  char text[ENDPOINT_TEXT_MAX];
  *out = NULL;
  metrics_server_t *m = server_new(conf);
  if (m == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  endpoint_format(&conf->address, text);
  m->source = source;
  m->ctx = ctx;
  m->listening = true;
  uv_tcp_init(loop, &m->listener);
  m->listener.data = m;
  int e = bind_listener_uv(&m->listener, &conf->address, conf->free_bind);
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
