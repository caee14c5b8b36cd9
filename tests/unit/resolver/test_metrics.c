/* SPDX-License-Identifier: Apache-2.0 */
/* What the metrics say, and the bounds of the http server that says it. */
#include "harness.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "resolver/limits.h"
#include "resolver/control/metrics.h"

static char address[ENDPOINT_TEXT_MAX]; /* one that no other run of this test has */

static snapshot_t *load(void)
{
  snapshot_t *s;
  diag_t diag = {""};
  FILE *f = fopen("test_metrics.yaml", "w");
  assert_non_null(f);
  fputs("listeners:\n  - {address: 127.41.9.1, port: 5300, views: ['a\"\\b']}\n"
        "views:\n  - {name: 'a\"\\b', clients: [127.0.0.0/8], zones: [org]}\n"
        "zones:\n  - {name: org, file: test_metrics.zone}\n",
        f);
  fclose(f);
  f = fopen("test_metrics.zone", "w");
  assert_non_null(f);
  fputs("$TTL 60\n@ SOA ns a 77 2 3 4 5\n@ NS ns\nns A 10.0.0.1\n", f);
  fclose(f);
  if (snapshot_load("test_metrics.yaml", 1, &s, &diag))
    fail_msg("%s", diag.text);
  unlink("test_metrics.yaml");
  unlink("test_metrics.zone");
  return s;
}

static void expect(const char *text, const char *line)
{
  if (strstr(text, line) == NULL)
    fail_msg("no %s in:\n%s", line, text);
}

static void counters_are_told_by_view_transport_and_rcode(void **state)
{
  (void)state;
  snapshot_t *s = load();
  admin_totals_t *totals = admin_totals_new();
  stats_add(snapshot_stats(s, 0, 0), STATS_UDP);
  stats_add(snapshot_stats(s, 0, 0), STATS_RCODE0 + 3);
  stats_add(snapshot_stats(s, 0, 1), STATS_TCP);
  zone_stats_add(snapshot_zone_stats(s, 0, snapshot_zone(s, 0)));
  assert_int_equal(admin_totals_fold(totals, s), 0); /* as after a reload: both count */
  admin_state_t a = {.snapshot = s,
                     .totals = totals,
                     .about = {.prefix = "smpl_resolver", .reloads = 3, .failures = 1, .last_failed = true},
                     .last_error = "bad",
                     .config = ""};
  latency_t l = {0};
  latency_note(&l, 10000, 2);
  latency_note(&l, 10001, 1);
  latency_note(&l, 1000000000, 1);
  latency_sum_add(&a.latency, &l);
  size_t len = 0;
  char *text = metrics_text(&a, &len);
  assert_non_null(text);
  assert_int_equal(strlen(text), len);
  expect(text, "\nsmpl_resolver_queries_total{view=\"a\\\"\\\\b\",transport=\"udp\"} 2\n");
  expect(text, "\nsmpl_resolver_queries_total{view=\"\",transport=\"tcp\"} 2\n");
  expect(text, "\nsmpl_resolver_answers_total{view=\"a\\\"\\\\b\",rcode=\"NXDOMAIN\"} 2\n");
  expect(text, "\nsmpl_resolver_zones 1\n");
  expect(text, "\nsmpl_resolver_zone_serial{zone=\"org\"} 77\n");
  expect(text, "\nsmpl_resolver_zone_queries_total{zone=\"org\"} 1\n");
  expect(text, "\nsmpl_resolver_reloads_total{result=\"ok\"} 3\n");
  expect(text, "\nsmpl_resolver_last_reload_successful 0\n");
  expect(text, "\nsmpl_resolver_udp_batch_seconds_bucket{le=\"1e-05\"} 2\n");
  expect(text, "\nsmpl_resolver_udp_batch_seconds_bucket{le=\"2.5e-05\"} 3\n");
  expect(text, "\nsmpl_resolver_udp_batch_seconds_bucket{le=\"+Inf\"} 4\n");
  expect(text, "\nsmpl_resolver_udp_batch_seconds_sum 1.000030001\n");
  expect(text, "\nsmpl_resolver_udp_batch_seconds_count 4\n");
  free(text);
  admin_totals_free(totals);
  snapshot_free(s);
}

static void zones_go_on_counting_after_a_reload(void **state)
{
  (void)state;
  snapshot_t *s = load();
  for (unsigned reload = 1; reload <= 3; reload++) {
    zone_stats_add(snapshot_zone_stats(s, 0, snapshot_zone(s, 0)));
    assert_int_equal(snapshot_zone_queries(s, 0), reload);
    snapshot_t *fresh = load();
    snapshot_inherit(fresh, s);
    snapshot_free(s);
    s = fresh;
    assert_int_equal(snapshot_zone_queries(s, 0), reload);
  }
  snapshot_free(s);
}

/* ---- http ---- */

static char *source(void *ctx, size_t *len)
{
  (void)ctx;
  *len = 5;
  return strdup("text\n");
}

typedef struct rig {
  uv_loop_t loop;
  metrics_server_t *server;
} rig_t;

static int up(void **state)
{
  rig_t *r = calloc(1, sizeof *r);
  const char *hosts[] = {"metrics.internal.example", "192.0.2.7"};
  metrics_conf_t conf = {.hosts = {hosts, 2}};
  diag_t diag = {""};
  assert_non_null(r);
  assert_int_equal(uv_loop_init(&r->loop), 0);
  assert_int_equal(endpoint_parse(address, &conf.address), 0);
  if (metrics_server_open(&r->loop, &conf, source, NULL, &r->server, &diag))
    fail_msg("%s", diag.text);
  *state = r;
  return 0;
}

static int down(void **state)
{
  rig_t *r = *state;
  metrics_server_close(r->server);
  uv_run(&r->loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&r->loop), 0);
  free(r);
  return 0;
}

enum { PATIENCE_MS = 120000 };

static int dial_from(const char *source)
{
  struct sockaddr_storage sa;
  endpoint_t at;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  assert_int_equal(endpoint_parse(source, &at), 0);
  socklen_t len = endpoint_to_sockaddr(&at, &sa);
  assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
  assert_int_equal(endpoint_parse(address, &at), 0);
  len = endpoint_to_sockaddr(&at, &sa);
  assert_int_equal(connect(fd, (struct sockaddr *)&sa, len), 0);
  return fd;
}

static int dial(void)
{
  return dial_from("127.0.0.1:0");
}

/* What the server says until it closes, running its loop meanwhile. */
static const char *hear(rig_t *r, int fd, uint64_t patience_ms)
{
  static char text[4096];
  size_t used = 0;
  uint64_t end = clock_mono_ms() + patience_ms;
  while (clock_mono_ms() < end) {
    uv_run(&r->loop, UV_RUN_NOWAIT);
    ssize_t n = recv(fd, text + used, sizeof text - 1 - used, MSG_DONTWAIT);
    if (n > 0)
      used += (size_t)n;
    else if (n == 0)
      break;
    else
      usleep(1000);
  }
  text[used] = '\0';
  return text;
}

static const char *say(rig_t *r, const void *request, size_t len)
{
  int fd = dial();
  assert_int_equal(send(fd, request, len, MSG_NOSIGNAL), (ssize_t)len);
  const char *text = hear(r, fd, PATIENCE_MS);
  close(fd);
  return text;
}

static void only_get_metrics_is_answered(void **state)
{
  static const char *const cases[][2] = {
      {"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 200 OK\r\n"},
      {"GET /metrics HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\n"},
      {"POST /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 405 Method Not Allowed\r\n"},
      {"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 404 Not Found\r\n"},
      {"GET /metrics/.. HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 404 Not Found\r\n"},
      {"GET /metrics\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
      {"GET /metrics HTTP/2\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
      {"nonsense\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
      {"\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const char *text = say(*state, cases[i][0], strlen(cases[i][0]));
    assert_int_equal(strncmp(text, cases[i][1], strlen(cases[i][1])), 0);
  }
  assert_non_null(strstr(say(*state, cases[0][0], strlen(cases[0][0])),
                         "Content-Length: 5\r\nConnection: close\r\n\r\ntext\n"));
  assert_int_equal(strncmp(say(*state, "GET /\0 HTTP/1.1\r\n\r\n", 19), "HTTP/1.1 400", 12), 0);
}

/* %s is the listener's address with its port. */
static void host_is_the_listener_s_own_or_a_configured_one(void **state)
{
  static const char *const good[] = {"%s",
                                     "localhost",
                                     "LOCALHOST:9153",
                                     "localhost.",
                                     "metrics.internal.example",
                                     "Metrics.Internal.Example.:80",
                                     "metrics.internal.example:9153",
                                     "192.0.2.7",
                                     "192.0.2.7:1234"};
  static const char *const foreign[] = {"rebound.attacker.example",
                                        "rebound.attacker.example:9153",
                                        "%s0",
                                        "127.0.0.1",
                                        "127.0.0.1:9153",
                                        "localhost:80",
                                        "localhost:0",
                                        "localhost:",
                                        "x.localhost",
                                        "metrics.internal.example.attacker.example",
                                        "attacker.example:metrics.internal.example",
                                        "[::1]",
                                        "[::1",
                                        "[",
                                        "[]:9153",
                                        "192.0.2.7:99999",
                                        "192.0.2.8",
                                        ""};
  char host[100];
  char request[200];
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    snprintf(host, sizeof host, strcmp(good[i], "%s") == 0 ? "%s" : "%.0s%s", address, good[i]);
    snprintf(request, sizeof request, "GET /metrics HTTP/1.1\r\nHost: %s\r\n\r\n", host);
    const char *text = say(*state, request, strlen(request));
    if (strncmp(text, "HTTP/1.1 200 ", 13) != 0)
      fail_msg("%s: %s", host, text);
  }
  for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
    snprintf(host, sizeof host, strcmp(foreign[i], "%s0") == 0 ? "%s0" : "%.0s%s", address, foreign[i]);
    snprintf(request, sizeof request, "GET /metrics HTTP/1.1\r\nHost: %s\r\n\r\n", host);
    const char *text = say(*state, request, strlen(request));
    if (strncmp(text, "HTTP/1.1 421 ", 13) != 0 || strstr(text, "\ntext\n") != NULL)
      fail_msg("%s: %s", host, text);
    assert_non_null(strstr(text, "metrics: {address: ..., hosts: [NAME]}"));
    assert_non_null(strstr(text, address));
  }
}

/* A listener on all addresses: its own is the one that the connection came to. */
static void own_address_is_where_the_connection_came_to(void **state)
{
  rig_t *r = *state;
  static char usual[sizeof address];
  metrics_conf_t conf = {0};
  metrics_server_t *server;
  diag_t diag = {""};
  memcpy(usual, address, sizeof usual);
  char *port = strrchr(address, ':');
  snprintf(port, sizeof address - (size_t)(port - address), ":%u", 20000 + (unsigned)getpid() % 10000);
  char all[ENDPOINT_TEXT_MAX];
  snprintf(all, sizeof all, "0.0.0.0%s", port);
  assert_int_equal(endpoint_parse(all, &conf.address), 0);
  if (metrics_server_open(&r->loop, &conf, source, NULL, &server, &diag))
    fail_msg("%s", diag.text);
  static const char *const cases[][2] = {{"0.0.0.0", "421"},
                                         {"127.0.0.1", "421"},
                                         {"localhost", "200"},
                                         {"%s", "200"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char request[200];
    snprintf(request, sizeof request, "GET /metrics HTTP/1.1\r\nHost: %s\r\n\r\n",
             strcmp(cases[i][0], "%s") == 0 ? address : cases[i][0]);
    assert_int_equal(strncmp(say(r, request, strlen(request)) + sizeof "HTTP/1.1", cases[i][1], 3), 0);
  }
  metrics_server_close(server);
  memcpy(address, usual, sizeof address);
}

static void one_host_is_needed_and_no_second(void **state)
{
  static const char *const bad[] = {"GET /metrics HTTP/1.1\r\n\r\n",
                                    "GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
                                    "GET /metrics HTTP/1.1\r\nHost: localhost\r\nhOST: evil.example\r\n\r\n",
                                    "GET /metrics HTTP/1.0\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
                                    "GET /metrics HTTP/1.1\r\nHost : localhost\r\n\r\n",
                                    "GET /metrics HTTP/1.1\r\n Host: localhost\r\n\r\n",
                                    "GET /metrics HTTP/1.1\r\nX: 1\r\n Host: localhost\r\n\r\n",
                                    "GET /metrics HTTP/1.1\r\nX: 1\nHost: localhost\r\n\r\n"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_int_equal(strncmp(say(*state, bad[i], strlen(bad[i])), "HTTP/1.1 400 ", 13), 0);
  assert_non_null(strstr(say(*state, bad[0], strlen(bad[0])), "one Host"));
  static const char old[] = "GET /metrics HTTP/1.0\r\nHost: evil.example\r\n\r\n";
  assert_int_equal(strncmp(say(*state, old, sizeof old - 1), "HTTP/1.1 421 ", 13), 0);
}

static void requests_are_bounded(void **state)
{
  static const char begin[] = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: ";
  char request[METRICS_REQUEST_MAX];
  memset(request, 'a', sizeof request);
  memcpy(request, begin, sizeof begin - 1);
  assert_int_equal(strncmp(say(*state, request, METRICS_REQUEST_MAX), "HTTP/1.1 431", 12), 0);
  memcpy(request + METRICS_REQUEST_MAX - 4, "\r\n\r\n", 4);
  assert_int_equal(strncmp(say(*state, request, METRICS_REQUEST_MAX), "HTTP/1.1 200", 12), 0);
}

static void connections_are_bounded_and_time_out(void **state)
{
  rig_t *r = *state;
  int fds[METRICS_CLIENTS_MAX + 1];
  for (size_t i = 0; i <= METRICS_CLIENTS_MAX; i++) {
    fds[i] = dial();
    uv_run(&r->loop, UV_RUN_NOWAIT);
  }
  char byte;
  hear(r, fds[0], PATIENCE_MS);
  assert_int_equal(recv(fds[0], &byte, 1, MSG_DONTWAIT), 0); /* one too many: the oldest gave way */
  for (size_t i = 1; i <= METRICS_CLIENTS_MAX; i++)
    assert_int_equal(recv(fds[i], &byte, 1, MSG_DONTWAIT), -1); /* may still ask */
  hear(r, fds[1], PATIENCE_MS);
  assert_int_equal(recv(fds[1], &byte, 1, MSG_DONTWAIT), 0);
  for (size_t i = 0; i <= METRICS_CLIENTS_MAX; i++)
    close(fds[i]);
}

/* One source with more connections than there are places; those of the others stay. */
static void places_are_taken_from_the_source_with_most(void **state)
{
  rig_t *r = *state;
  enum { GREEDY = 3 * METRICS_CLIENTS_MAX };
  int other = dial_from("127.41.7.1:0");
  uv_run(&r->loop, UV_RUN_NOWAIT);
  int greedy[GREEDY];
  for (size_t i = 0; i < GREEDY; i++) {
    greedy[i] = dial_from(i % 2 == 0 ? "127.41.8.1:0" : "127.41.8.2:0");
    uv_run(&r->loop, UV_RUN_NOWAIT);
  }
  static const char request[] = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
  assert_int_equal(send(other, request, sizeof request - 1, MSG_NOSIGNAL), sizeof request - 1);
  assert_int_equal(strncmp(hear(r, other, PATIENCE_MS), "HTTP/1.1 200 ", 13), 0);
  close(other);
  for (size_t i = 0; i < GREEDY; i++)
    close(greedy[i]);
}

static void a_busy_address_is_named(void **state)
{
  rig_t *r = *state;
  metrics_conf_t conf = {0};
  diag_t diag = {""};
  metrics_server_t *second;
  assert_int_equal(endpoint_parse(address, &conf.address), 0);
  assert_int_equal(metrics_server_open(&r->loop, &conf, source, NULL, &second, &diag), SMPL_EBUSY);
  assert_null(second);
  assert_non_null(strstr(diag.text, address));
  assert_non_null(strstr(diag.text, ": address in use"));
}

int main(void)
{
  snprintf(address, sizeof address, "127.41.%u.%u:9153", (unsigned)getpid() >> 8 & 255,
           (unsigned)getpid() & 255);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(zones_go_on_counting_after_a_reload),
      cmocka_unit_test(counters_are_told_by_view_transport_and_rcode),
      cmocka_unit_test_setup_teardown(only_get_metrics_is_answered, up, down),
      cmocka_unit_test_setup_teardown(host_is_the_listener_s_own_or_a_configured_one, up, down),
      cmocka_unit_test_setup_teardown(own_address_is_where_the_connection_came_to, up, down),
      cmocka_unit_test_setup_teardown(one_host_is_needed_and_no_second, up, down),
      cmocka_unit_test_setup_teardown(requests_are_bounded, up, down),
      cmocka_unit_test_setup_teardown(places_are_taken_from_the_source_with_most, up, down),
      cmocka_unit_test_setup_teardown(connections_are_bounded_and_time_out, up, down),
      cmocka_unit_test_setup_teardown(a_busy_address_is_named, up, down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
