/* SPDX-License-Identifier: Apache-2.0 */
/* Calls to sisters, against small HTTP servers on the same loop and names that the test decides. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/http/keys.h"
#include "app/services/sister.h"
#include "common/base/error.h"

/* ---- names: stands in for common/dns/lookup.c ---- */

struct lookup_query {
  uv_timer_t timer;
  bool cancelled;
  lookup_addrs_cb addrs_cb;
  lookup_srvs_cb srvs_cb;
  void *ctx;
  int err;
  lookup_addrs_t addrs;
  lookup_srvs_t srvs;
};

static uv_loop_t loop;
static size_t addr_lookups, srv_lookups;
static int srv_error = SMPL_ENOENT, addr_error;
static lookup_srvs_t srv_answer;
static const char *addresses[4]; /* by text; of any name asked for */
static bool silent;              /* no answer at all */

static void free_query(uv_handle_t *handle)
{
  free(handle->data);
}

static void answer(uv_timer_t *timer)
{
  lookup_query_t *q = timer->data;
  if (q->addrs_cb != NULL)
    q->addrs_cb(q->ctx, q->err, q->err ? NULL : &q->addrs);
  else
    q->srvs_cb(q->ctx, q->err, q->err ? NULL : &q->srvs);
  uv_close((uv_handle_t *)timer, free_query);
}

static lookup_query_t *new_query(void *ctx)
{
  lookup_query_t *q = calloc(1, sizeof *q);
  uv_timer_init(&loop, &q->timer);
  q->timer.data = q;
  q->ctx = ctx;
  if (!silent)
    uv_timer_start(&q->timer, answer, 1, 0);
  return q;
}

int lookup_addresses(lookup_t *lookup, const char *owner, const dns_name_t *name, lookup_addrs_cb cb,
                     void *ctx, lookup_query_t **query)
{
  assert_null(owner); /* the program's own */
  (void)lookup;
  (void)name;
  addr_lookups++;
  *query = new_query(ctx);
  (*query)->addrs_cb = cb;
  (*query)->err = addr_error;
  for (size_t i = 0; i < 4 && addresses[i] != NULL; i++)
    assert_int_equal(ip_parse(addresses[i], &(*query)->addrs.addrs[(*query)->addrs.count++]), 0);
  return SMPL_OK;
}

int lookup_services(lookup_t *lookup, const char *owner, const dns_name_t *name, lookup_srvs_cb cb, void *ctx,
                    lookup_query_t **query)
{
  assert_null(owner);
  char text[DNS_NAME_TEXT_MAX];
  (void)lookup;
  assert_string_equal(dns_name_to_text(name, text), "_http._tcp.config.internal.");
  srv_lookups++;
  *query = new_query(ctx);
  (*query)->srvs_cb = cb;
  (*query)->err = srv_error;
  (*query)->srvs = srv_answer;
  return SMPL_OK;
}

void lookup_cancel(lookup_query_t *query)
{
  uv_timer_stop(&query->timer);
  uv_close((uv_handle_t *)&query->timer, free_query);
}

/* How many hold each of two lookups. */
static int holders[2];

lookup_t *lookup_hold(lookup_t *lookup)
{
  if (lookup != NULL)
    holders[(int *)(void *)lookup - holders]++;
  return lookup;
}

void lookup_free(lookup_t *lookup)
{
  if (lookup != NULL)
    holders[(int *)(void *)lookup - holders]--;
}

/* ---- servers ---- */

typedef struct server {
  uv_tcp_t tcp;
  const char *reply;
  int connections, requests;
  char last[4096];
} server_t;

typedef struct peer {
  uv_tcp_t tcp;
  server_t *server;
  char request[4096];
  size_t len;
} peer_t;

static void free_peer(uv_handle_t *handle)
{
  free(handle->data);
}

static void alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
  static char bytes[4096];
  (void)handle;
  (void)suggested;
  *buf = uv_buf_init(bytes, sizeof bytes);
}

static bool complete(const peer_t *p)
{
  const char *end = strstr(p->request, "\r\n\r\n"), *length = strstr(p->request, "Content-Length: ");
  size_t body = length != NULL ? strtoul(length + 16, NULL, 10) : 0;
  return end != NULL && p->len >= (size_t)(end + 4 - p->request) + body;
}

static void on_written(uv_write_t *write, int status)
{
  (void)status;
  free(write);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
  peer_t *p = stream->data;
  if (n < 0 || p->len + (size_t)n >= sizeof p->request) {
    uv_close((uv_handle_t *)stream, free_peer);
    return;
  }
  memcpy(p->request + p->len, buf->base, (size_t)n);
  p->len += (size_t)n;
  p->request[p->len] = '\0';
  if (!complete(p))
    return;
  p->server->requests++;
  memcpy(p->server->last, p->request, p->len + 1);
  p->len = 0;
  if (p->server->reply[0] == '\0')
    return; /* a server that says nothing */
  uv_write_t *write = calloc(1, sizeof *write);
  uv_buf_t out = uv_buf_init((char *)p->server->reply, (unsigned)strlen(p->server->reply));
  write->data = write;
  uv_write(write, stream, &out, 1, on_written);
}

static void on_connection(uv_stream_t *stream, int status)
{
  server_t *s = stream->data;
  peer_t *p = calloc(1, sizeof *p);
  assert_int_equal(status, 0);
  uv_tcp_init(&loop, &p->tcp);
  p->tcp.data = p;
  p->server = s;
  s->connections++;
  assert_int_equal(uv_accept(stream, (uv_stream_t *)&p->tcp), 0);
  uv_read_start((uv_stream_t *)&p->tcp, alloc, on_read);
}

static uint16_t port; /* the same on every address */

static void serve(server_t *s, const char *address, const char *reply)
{
  struct sockaddr_in sin;
  *s = (server_t){.reply = reply};
  uv_tcp_init(&loop, &s->tcp);
  s->tcp.data = s;
  uv_ip4_addr(address, port, &sin);
  assert_int_equal(uv_tcp_bind(&s->tcp, (struct sockaddr *)&sin, 0), 0);
  assert_int_equal(uv_listen((uv_stream_t *)&s->tcp, 128, on_connection), 0);
  int len = sizeof sin;
  uv_tcp_getsockname(&s->tcp, (struct sockaddr *)&sin, &len);
  port = ntohs(sin.sin_port);
}

/* ---- calls ---- */

typedef struct outcome {
  int calls, err, status;
  char why[SISTER_WHY_MAX + SISTER_HOST_MAX + 2];
  json_t *body;
} outcome_t;

static sisters_t *sisters;

static void on_reply(void *ctx, const sister_reply_t *reply)
{
  outcome_t *o = ctx;
  o->calls++;
  o->err = reply->err;
  o->status = reply->status;
  snprintf(o->why, sizeof o->why, "%s", reply->why != NULL ? reply->why : "");
  o->body = json_incref((json_t *)reply->body);
}

static int start(const char *url, const json_t *body, uint64_t timeout_ms, outcome_t *o)
{
  sister_request_t request = {.method = body != NULL ? "POST" : "GET",
                              .base_url = url,
                              .path = "/internal/v1/x?y",
                              .body = body,
                              .request_id = "id-1",
                              .timeout_ms = timeout_ms};
  *o = (outcome_t){0};
  return sisters_call(sisters, &request, on_reply, o);
}

static void call(const char *url, outcome_t *o)
{
  json_t *body = json_pack("{s:s}", "key", "value");
  assert_int_equal(start(url, body, 5000, o), SMPL_OK);
  json_decref(body);
  assert_int_equal(o->calls, 0);
  while (o->calls == 0)
    uv_run(&loop, UV_RUN_ONCE);
  assert_int_equal(o->calls, 1);
  json_decref(o->body);
}

static int set_up(void **state)
{
  diag_t diag = {""};
  (void)state;
  uv_loop_init(&loop);
  addr_lookups = srv_lookups = 0;
  srv_error = SMPL_ENOENT;
  addr_error = 0;
  silent = false;
  port = 0;
  memset(addresses, 0, sizeof addresses);
  srv_answer = (lookup_srvs_t){0};
  return sisters_new(&loop, NULL, NULL, NULL, &sisters, &diag);
}

static server_t servers[2]; /* outlive the tests' stacks: closed in tear_down */

static void close_handle(uv_handle_t *handle, void *ctx)
{
  (void)ctx;
  bool server = handle == (uv_handle_t *)&servers[0].tcp || handle == (uv_handle_t *)&servers[1].tcp;
  if (!uv_is_closing(handle) && handle->type == UV_TCP)
    uv_close(handle, server ? NULL : free_peer);
}

static void on_closed(void *ctx)
{
  *(bool *)ctx = true;
}

static int tear_down(void **state)
{
  bool closed = false;
  (void)state;
  sisters_close(sisters, on_closed, &closed);
  while (!closed)
    uv_run(&loop, UV_RUN_ONCE);
  uv_run(&loop, UV_RUN_NOWAIT);
  assert_true(holders[0] == 0 && holders[1] == 0);
  uv_walk(&loop, close_handle, NULL);
  uv_run(&loop, UV_RUN_DEFAULT);
  return uv_loop_close(&loop);
}

static void use_srv(uint16_t at)
{
  srv_error = 0;
  srv_answer.count = 1;
  srv_answer.srvs[0].port = at;
  assert_int_equal(dns_name_from_text("target.internal", &srv_answer.srvs[0].target), 0);
}

#define OK_REPLY                                                                                             \
  "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{\"a\": true}"
#define A    "127.45.0.1"
#define B    "127.45.0.2"
#define NAME "http://config.internal"

static void urls_are_read_strictly(void **state)
{
  static const struct {
    const char *text, *host;
    int port;
  } good[] = {{"http://Config.Internal", "config.internal", 0},
              {"http://config.internal/", "config.internal", 0},
              {"http://config.internal.", "config.internal", 0},
              {"http://config.internal:8000", "config.internal", 8000},
              {"http://127.0.0.1:65535", "127.0.0.1", 65535},
              {"http://[::1]:80/", "::1", 80},
              {"http://[fc00::1]", "fc00::1", 0}};
  static const char *const bad[] = {"",
                                    "config.internal",
                                    "https://config.internal",
                                    "ftp://x",
                                    "http://",
                                    "http:///",
                                    "http://a b",
                                    "http://a/b",
                                    "http://a?b",
                                    "http://a#b",
                                    "http://u@a",
                                    "http://a:",
                                    "http://a:0",
                                    "http://a:65536",
                                    "http://a:80x",
                                    "http://[::1",
                                    "http://[1.2.3.4]",
                                    "http://[a]",
                                    "http://8.8.8.8",
                                    "http://8.8.8.8:8080",
                                    "http://[2001:4860:4860::8888]",
                                    "http://0.0.0.0",
                                    "http://a..b",
                                    "http://.",
                                    "HTTP://a",
                                    "http://a\r\nb",
                                    "http://\xc3\xa4"};
  sister_url_t url;
  char name[320] = "http://";
  (void)state;
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    assert_int_equal(sister_url_parse(good[i].text, &url, NULL), SMPL_OK);
    assert_string_equal(url.host, good[i].host);
    assert_int_equal(url.port, good[i].port);
  }
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    diag_t diag = {""};
    if (sister_url_parse(bad[i], &url, &diag) == SMPL_OK || diag.text[0] == '\0')
      fail_msg("'%s' was taken", bad[i]);
  }
  memset(name + 7, 'a', 300);
  assert_true(sister_url_parse(name, &url, NULL) < 0);
}

static void a_call_says_name_port_and_id_and_gets_json(void **state)
{
  server_t *s = &servers[0];
  outcome_t o;
  char host[64];
  (void)state;
  serve(s, A, OK_REPLY);
  use_srv(port);
  addresses[0] = A;
  call(NAME, &o);
  assert_int_equal(o.err, SMPL_OK);
  assert_int_equal(o.status, 200);
  assert_non_null(o.body);
  snprintf(host, sizeof host, "\r\nHost: config.internal:%u\r\n", port);
  assert_non_null(strstr(s->last, host));
  assert_ptr_equal(strstr(s->last, "POST /internal/v1/x?y HTTP/1.1\r\n"), s->last);
  assert_non_null(strstr(s->last, "\r\nX-Request-Id: id-1\r\n"));
  assert_non_null(strstr(s->last, "\r\nContent-Type: application/json\r\n"));
  assert_non_null(strstr(s->last, "\r\n\r\n{\"key\":\"value\"}"));
  assert_null(strstr(s->last, "Expect"));
}

static void use_way(int *lookup, const char *key)
{
  char padded[KEY_TEXT_MAX] = "";
  sisters_way_t *way;
  snprintf(padded, sizeof padded, "%s", key);
  assert_int_equal(sisters_way_new((lookup_t *)(void *)lookup, NULL, padded, &way), SMPL_OK);
  sisters_use(sisters, way);
}

/* Its key and its resolver: no call has one of before and one of after a reload. */
static void a_call_under_way_goes_on_as_it_began(void **state)
{
  server_t *s = &servers[0];
  outcome_t o;
  (void)state;
  serve(s, A, OK_REPLY);
  use_srv(port);
  addresses[0] = A;
  use_way(&holders[0], "before");
  assert_int_equal(start(NAME, NULL, 5000, &o), SMPL_OK);
  use_way(&holders[1], "after");
  assert_true(holders[0] == 1 && holders[1] == 1);
  while (o.calls == 0)
    uv_run(&loop, UV_RUN_ONCE);
  json_decref(o.body);
  assert_non_null(strstr(s->last, "\r\nAuthorization: Bearer before\r\n"));
  uv_run(&loop, UV_RUN_NOWAIT);
  assert_true(holders[0] == 0 && holders[1] == 1);
  call(NAME, &o);
  assert_non_null(strstr(s->last, "\r\nAuthorization: Bearer after\r\n"));
}

static void a_kept_connection_serves_only_the_address_it_leads_to(void **state)
{
  server_t *a = &servers[0], *b = &servers[1];
  outcome_t o;
  (void)state;
  serve(a, A, OK_REPLY);
  serve(b, B, OK_REPLY);
  use_srv(port);
  addresses[0] = A;
  call(NAME, &o);
  call(NAME, &o);
  assert_true(a->connections == 1 && a->requests == 2);
  addresses[0] = B; /* the record moved */
  call(NAME, &o);
  assert_true(b->connections == 1 && b->requests == 1 && a->requests == 2);
  addresses[0] = A;
  call(NAME, &o);
  assert_true(a->requests == 3 && b->requests == 1);
  assert_int_equal(srv_lookups, 4);
  assert_int_equal(addr_lookups, 4);
}

static void another_address_is_tried_when_one_cannot_be_connected(void **state)
{
  server_t *s = &servers[0];
  outcome_t o;
  (void)state;
  serve(s, B, OK_REPLY);
  use_srv(port);
  addresses[0] = A;
  addresses[1] = B;
  call(NAME, &o);
  assert_int_equal(o.err, SMPL_OK);
  /* Nor is more tried than the limit says. */
  srv_answer.count = 6;
  for (int i = 0; i < 6; i++)
    srv_answer.srvs[i] = (lookup_srv_t){.port = 1, .target = srv_answer.srvs[0].target};
  addresses[1] = NULL;
  addr_lookups = 0;
  call(NAME, &o);
  assert_int_equal(o.err, SMPL_ECLOSED);
  assert_int_equal(addr_lookups, SISTER_TRIES_MAX);
}

static void only_private_addresses_are_called(void **state)
{
  outcome_t o;
  (void)state;
  use_srv(80);
  addresses[0] = "203.0.113.5";
  call(NAME, &o);
  assert_int_equal(o.err, SMPL_EDENIED);
  assert_non_null(strstr(o.why, "203.0.113.5"));
  assert_int_equal(start("http://8.8.8.8", NULL, 5000, &o), SMPL_EINVAL);
}

static void names_that_lead_nowhere_say_so(void **state)
{
  outcome_t o;
  (void)state;
  addr_error = SMPL_ENOENT;
  call(NAME, &o);
  assert_int_equal(o.err, SMPL_ENOENT);
  assert_string_equal(o.why, "config.internal: config.internal.: no such name");
  srv_error = SMPL_EDENIED;
  call(NAME, &o);
  assert_int_equal(o.err, SMPL_EDENIED);
  srv_error = SMPL_ETIMEOUT;
  call(NAME, &o);
  assert_int_equal(o.err, SMPL_ETIMEOUT);
  use_srv(80);
  srv_answer.srvs[0].target = (dns_name_t){.len = 1};
  call(NAME, &o);
  assert_int_equal(o.err, SMPL_ENOENT);
}

static void a_url_with_a_port_asks_for_no_srv_record(void **state)
{
  server_t *s = &servers[0];
  outcome_t o;
  char url[64];
  (void)state;
  serve(s, A, OK_REPLY);
  addresses[0] = A;
  snprintf(url, sizeof url, "http://config.internal:%u", port);
  call(url, &o);
  assert_int_equal(o.status, 200);
  assert_true(srv_lookups == 0 && addr_lookups == 1);
  snprintf(url, sizeof url, "http://" A ":%u", port);
  call(url, &o);
  assert_int_equal(o.status, 200);
  assert_int_equal(addr_lookups, 1);
}

static void neither_redirect_nor_proxy_is_followed(void **state)
{
  server_t *s = &servers[0];
  outcome_t o;
  (void)state;
  setenv("http_proxy", "http://127.45.9.9:1", 1);
  setenv("ALL_PROXY", "http://127.45.9.9:1", 1);
  serve(s, A, "HTTP/1.1 302 Found\r\nLocation: http://127.45.9.9/\r\nContent-Length: 0\r\n\r\n");
  use_srv(port);
  addresses[0] = A;
  call(NAME, &o);
  unsetenv("http_proxy");
  unsetenv("ALL_PROXY");
  assert_int_equal(o.err, SMPL_OK);
  assert_int_equal(o.status, 302);
  assert_null(o.body);
}

static size_t write_head(char *text, int length)
{
  return (size_t)snprintf(text, 128, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", length);
}

static void answers_have_a_limit_and_must_be_json(void **state)
{
  server_t *s = &servers[0];
  outcome_t o;
  (void)state;
  char *text = malloc(SISTER_RESPONSE_MAX + 256);
  size_t head = write_head(text, SISTER_RESPONSE_MAX);
  memset(text + head, ' ', SISTER_RESPONSE_MAX);
  memcpy(text + head, "[1]", 3);
  text[head + SISTER_RESPONSE_MAX] = '\0';
  serve(s, A, text);
  use_srv(port);
  addresses[0] = A;
  call(NAME, &o);
  assert_int_equal(o.err, SMPL_OK);
  head = write_head(text, SISTER_RESPONSE_MAX + 1);
  memset(text + head, ' ', SISTER_RESPONSE_MAX + 1);
  memcpy(text + head, "[1]", 3);
  text[head + SISTER_RESPONSE_MAX + 1] = '\0';
  call(NAME, &o);
  assert_int_equal(o.err, SMPL_EPROTO);
  s->reply = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n<html";
  call(NAME, &o);
  assert_int_equal(o.err, SMPL_EPROTO);
  s->reply = "nonsense\r\n\r\n";
  call(NAME, &o);
  assert_int_not_equal(o.err, SMPL_OK);
  free(text);
}

static void a_call_ends_in_time_whatever_is_silent(void **state)
{
  server_t *s = &servers[0];
  outcome_t o;
  (void)state;
  serve(s, A, "");
  use_srv(port);
  addresses[0] = A;
  for (int i = 0; i < 2; i++) {
    silent = i == 1; /* first the sister, then the resolver */
    assert_int_equal(start(NAME, NULL, 150, &o), SMPL_OK);
    while (o.calls == 0)
      uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(o.err, SMPL_ETIMEOUT);
  }
}

static void calls_have_a_limit_and_closing_drops_them(void **state)
{
  static outcome_t o[SISTER_CALLS_MAX + 1];
  (void)state;
  silent = true;
  for (int i = 0; i < SISTER_CALLS_MAX; i++)
    assert_int_equal(start(NAME, NULL, 60000, &o[i]), SMPL_OK);
  assert_int_equal(start(NAME, NULL, 60000, &o[SISTER_CALLS_MAX]), SMPL_ELIMIT);
  assert_int_equal(start("http://a b", NULL, 60000, &o[SISTER_CALLS_MAX]), SMPL_ELIMIT);
  /* tear_down closes; nobody is called back then */
}

static void on_late(uv_timer_t *timer)
{
  *(bool *)timer->data = true;
}

static void connections_have_a_limit_and_calls_beyond_wait(void **state)
{
  static outcome_t o[SISTER_CONNECTIONS_MAX + 8];
  server_t *s = &servers[0];
  uv_timer_t timer;
  bool late = false;
  (void)state;
  serve(s, A, "");
  use_srv(port);
  addresses[0] = A;
  for (int i = 0; i < SISTER_CONNECTIONS_MAX + 8; i++)
    assert_int_equal(start(NAME, NULL, 60000, &o[i]), SMPL_OK);
  uv_timer_init(&loop, &timer);
  timer.data = &late;
  uv_timer_start(&timer, on_late, 400, 0);
  while (!late)
    uv_run(&loop, UV_RUN_ONCE);
  uv_close((uv_handle_t *)&timer, NULL);
  uv_run(&loop, UV_RUN_NOWAIT);
  assert_int_equal(s->connections, SISTER_CONNECTIONS_MAX);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(urls_are_read_strictly),
      cmocka_unit_test_setup_teardown(a_call_says_name_port_and_id_and_gets_json, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_call_under_way_goes_on_as_it_began, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_kept_connection_serves_only_the_address_it_leads_to, set_up,
                                      tear_down),
      cmocka_unit_test_setup_teardown(another_address_is_tried_when_one_cannot_be_connected, set_up,
                                      tear_down),
      cmocka_unit_test_setup_teardown(only_private_addresses_are_called, set_up, tear_down),
      cmocka_unit_test_setup_teardown(names_that_lead_nowhere_say_so, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_url_with_a_port_asks_for_no_srv_record, set_up, tear_down),
      cmocka_unit_test_setup_teardown(neither_redirect_nor_proxy_is_followed, set_up, tear_down),
      cmocka_unit_test_setup_teardown(answers_have_a_limit_and_must_be_json, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_call_ends_in_time_whatever_is_silent, set_up, tear_down),
      cmocka_unit_test_setup_teardown(connections_have_a_limit_and_calls_beyond_wait, set_up, tear_down),
      cmocka_unit_test_setup_teardown(calls_have_a_limit_and_closing_drops_them, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
