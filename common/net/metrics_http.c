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
#include "common/net/uv_server.h"

enum { HEAD_MAX = 256, BODY_MAX = 512 };

struct metrics_server {
  uv_server_t server;
  metrics_source_t source;
  void *ctx;
  char **hosts; /* configured */
  size_t host_count;
  crowd_t *crowd; /* clients that are not closing */
};

typedef struct client {
  uv_client_t client;
  crowd_member_t place;
  endpoint_t local; /* that it came to */
  char *body;
  char head[HEAD_MAX];
  size_t used;
  char request[METRICS_REQUEST_MAX];
} client_t;

static metrics_server_t *server_of(const client_t *c)
{
  return (metrics_server_t *)c->client.server;
}

static void server_free(metrics_server_t *m)
{
  for (size_t i = 0; i < m->host_count; i++)
    free(m->hosts[i]);
  free(m->hosts);
  crowd_free(m->crowd);
  free(m);
}

static void on_over(uv_server_t *server)
{
  server_free((metrics_server_t *)server);
}

static void on_gone(uv_client_t *client)
{
  client_t *c = (client_t *)client;
  free(c->body);
  free(c);
}

static void on_left(uv_client_t *client)
{
  client_t *c = (client_t *)client;
  crowd_leave(server_of(c)->crowd, &c->place);
}

/* Takes over body, which is malloc'ed. */
static void send_answer(client_t *c, const char *status, const char *more, const char *type, char *body,
                        size_t len)
{
  c->body = body;
  int n = snprintf(c->head, sizeof c->head,
                   "HTTP/1.1 %s\r\nContent-Type: %s\r\n%sContent-Length: %zu\r\nConnection: close\r\n\r\n",
                   status, type, more, len);
  uv_buf_t bufs[2] = {uv_buf_init(c->head, (unsigned)n), uv_buf_init(body, (unsigned)len)};
  if (body == NULL || n < 0 || (size_t)n >= sizeof c->head)
    uv_client_close(&c->client);
  else
    uv_client_answer(&c->client, bufs, 2);
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
  const metrics_server_t *m = server_of(c);
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
  char *text = server_of(c)->source(server_of(c)->ctx, &len);
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

static uv_buf_t room_of(uv_client_t *client)
{
  client_t *c = (client_t *)client;
  return uv_buf_init(c->request + c->used, (unsigned)(sizeof c->request - c->used));
}

static void on_received(uv_client_t *client, size_t n)
{
  client_t *c = (client_t *)client;
  c->used += n;
  size_t head = http_head_end(c->request, c->used);
  if (head == 0 && c->used < sizeof c->request)
    return;
  uv_read_stop(&client->handle.stream);
  if (head == 0)
    refuse(c, "431 Request Header Fields Too Large", "");
  else
    on_request(c, head);
}

/* Who it is and where it came to. For one too many the oldest of the source with most gives way. */
static int take_place(client_t *c)
{
  metrics_server_t *m = server_of(c);
  struct sockaddr_storage peer_sa;
  struct sockaddr_storage local_sa;
  int peer_len = sizeof peer_sa;
  int local_len = sizeof local_sa;
  endpoint_t peer;
  if (uv_tcp_getpeername(&c->client.handle.tcp, (struct sockaddr *)&peer_sa, &peer_len) != 0 ||
      uv_tcp_getsockname(&c->client.handle.tcp, (struct sockaddr *)&local_sa, &local_len) != 0 ||
      endpoint_from_sockaddr((struct sockaddr *)&peer_sa, &peer) ||
      endpoint_from_sockaddr((struct sockaddr *)&local_sa, &c->local))
    return SMPL_ESYS;
  if (crowd_total(m->crowd) >= METRICS_CLIENTS_MAX)
    uv_client_close(&LIST_ITEM(crowd_heaviest(m->crowd), client_t, place)->client);
  return crowd_add(m->crowd, &c->place, &peer.ip, 1);
}

static bool on_accepted(uv_client_t *client)
{
  return take_place((client_t *)client) == SMPL_OK;
}

static const uv_server_type_t server_type = {.kind = UV_TCP,
                                             .size = sizeof(client_t),
                                             .timeout_ms = METRICS_TIMEOUT_MS,
                                             .accepted = on_accepted,
                                             .room = room_of,
                                             .received = on_received,
                                             .left = on_left,
                                             .gone = on_gone,
                                             .over = on_over};

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
  uv_server_init(&m->server, loop, &server_type);
  int e = bind_listener_uv(&m->server.listener.tcp, &conf->address, conf->free_bind);
  if (e == 0)
    e = uv_server_listen(&m->server, METRICS_CLIENTS_MAX);
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

void metrics_server_close(metrics_server_t *m)
{
  if (m != NULL)
    uv_server_close(&m->server, false);
}
