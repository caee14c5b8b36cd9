/* The waits and the number of connections of a real front on loopback, with limits small enough to be reached. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "app/built_in.h"
#include "app/front.h"
#include "common/clock.h"
#include "common/error.h"
#include "tests/unit/app/echo_service.h"

enum { CONNECTIONS = 4, WAIT_MS = 200, TICK_MS = 10, SLACK_MS = 3000 };

typedef struct fixture {
  uv_loop_t loop;
  rule_t rule;
  listener_conf_t listener;
  access_log_t *access;
  void *service;
  front_t *front;
  bool drained;
  size_t abandoned;
} fixture_t;

static int set_up(void **state)
{
  static fixture_t f;
  diag_t diag = {.text = ""};
  route_source_t source = {.routes = echo_service.routes, .count = echo_service.route_count};
  memset(&f, 0, sizeof f);
  uv_loop_init(&f.loop);
  service_env_t env = {.loop = &f.loop};
  if (echo_service.open(&env, &f.service, &diag) || rule_parse("/api/v1/*", &f.rule))
    return -1;
  source.context = f.service;
  router_t *router = NULL;
  if (router_new(&f.rule, 1, &source, 1, &router, &diag) || access_open("/dev/null", &f.access, &diag))
    return -1;
  f.listener = (listener_conf_t){
      .name = "public",
      .admit = {.rules = &f.rule, .rule_count = 1, .own_address = "127.0.0.1", .router = router}};
  endpoint_parse("127.0.0.1:0", &f.listener.address);
  front_conf_t conf = {.listeners = &f.listener,
                       .listener_count = 1,
                       .access = f.access,
                       .limits = {.connections = CONNECTIONS,
                                  .head_ms = WAIT_MS,
                                  .body_ms = WAIT_MS,
                                  .idle_ms = WAIT_MS,
                                  .write_ms = WAIT_MS,
                                  .linger_ms = WAIT_MS,
                                  .drain_ms = WAIT_MS,
                                  .tick_ms = TICK_MS}};
  *state = &f;
  return front_open(&f.loop, &conf, &f.front, &diag);
}

static void on_drained(void *ctx, size_t abandoned)
{
  fixture_t *f = ctx;
  f->drained = true;
  f->abandoned = abandoned;
}

static void ignore(void *ctx)
{
  (void)ctx;
}

static int tear_down(void **state)
{
  fixture_t *f = *state;
  if (!f->drained)
    front_drain(f->front, on_drained, f);
  uv_run(&f->loop, UV_RUN_DEFAULT);
  front_free(f->front);
  router_free((router_t *)(uintptr_t)f->listener.admit.router);
  access_close(f->access);
  echo_service.close(f->service, ignore, NULL);
  return uv_loop_close(&f->loop);
}

/* Lets the front work for that long. */
static void turn(fixture_t *f, uint64_t ms)
{
  uint64_t end = clock_mono_ms() + ms;
  do {
    uv_run(&f->loop, UV_RUN_NOWAIT);
    usleep(1000);
  } while (clock_mono_ms() < end);
}

static int dial(fixture_t *f)
{
  struct sockaddr_storage sa;
  endpoint_t at = front_address(f->front, 0);
  socklen_t len = endpoint_to_sockaddr(&at, &sa);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_true(fd >= 0);
  assert_int_equal(connect(fd, (struct sockaddr *)&sa, len), 0);
  turn(f, 2 * TICK_MS);
  return fd;
}

static void say(fixture_t *f, int fd, const char *text)
{
  assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
  turn(f, 2 * TICK_MS);
}

/* Milliseconds until the front closes fd; what comes before is thrown away. */
static uint64_t closed_after(fixture_t *f, int fd)
{
  uint64_t start = clock_mono_ms();
  char buffer[4096];
  for (;;) {
    ssize_t n = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    uint64_t ms = clock_mono_ms() - start;
    if (n == 0 || (n < 0 && errno == ECONNRESET))
      return ms;
    assert_true(ms < WAIT_MS + SLACK_MS);
    turn(f, 1);
  }
}

static void assert_waited(uint64_t ms)
{
  assert_in_range(ms, WAIT_MS - 5 * TICK_MS, WAIT_MS + SLACK_MS);
}

static void an_idle_connection_is_closed(void **state)
{
  int fd = dial(*state);
  assert_waited(closed_after(*state, fd));
  close(fd);
}

static void a_kept_connection_is_closed_when_idle(void **state)
{
  int fd = dial(*state);
  say(*state, fd, "GET /api/v1/echo/x HTTP/1.1\r\nHost: h\r\n\r\n");
  assert_waited(closed_after(*state, fd));
  close(fd);
}

static void a_head_must_come_whole_in_time_however_it_trickles(void **state)
{
  fixture_t *f = *state;
  int fd = dial(f);
  uint64_t start = clock_mono_ms();
  say(f, fd, "GET /api/v1/echo/x HTTP/1.1\r\n");
  while (clock_mono_ms() - start < WAIT_MS / 2)
    say(f, fd, "X: y\r\n");
  closed_after(f, fd);
  assert_waited(clock_mono_ms() - start);
  close(fd);
}

static void a_body_must_come_whole_in_time(void **state)
{
  int fd = dial(*state);
  say(*state, fd,
      "POST /api/v1/echo HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: "
      "9\r\n\r\n{");
  assert_waited(closed_after(*state, fd));
  close(fd);
}

static void a_peer_that_takes_nothing_is_given_up(void **state)
{
  fixture_t *f = *state;
  int fd = dial(f);
  say(f, fd, "GET /api/v1/echo/big?kb=30000 HTTP/1.1\r\nHost: h\r\n\r\n");
  assert_int_equal(front_connections(f->front), 1);
  turn(f, 3 * WAIT_MS);
  assert_int_equal(front_connections(f->front), 0);
  close(fd);
}

static void a_refused_peer_that_does_not_close_is_cut_off(void **state)
{
  fixture_t *f = *state;
  int fd = dial(f);
  say(f, fd, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
  assert_int_equal(front_connections(f->front), 1);
  turn(f, 2 * WAIT_MS);
  assert_int_equal(front_connections(f->front), 0);
  close(fd);
}

static void connections_are_bounded_and_the_longest_idle_gives_way(void **state)
{
  fixture_t *f = *state;
  int fds[CONNECTIONS + 1];
  for (size_t i = 0; i < CONNECTIONS; i++)
    fds[i] = dial(f);
  assert_int_equal(front_connections(f->front), CONNECTIONS);
  fds[CONNECTIONS] = dial(f);
  assert_int_equal(front_connections(f->front), CONNECTIONS);
  assert_true(closed_after(f, fds[0]) < WAIT_MS / 2);
  for (size_t i = 0; i <= CONNECTIONS; i++)
    close(fds[i]);
}

static void with_nobody_idle_the_newcomer_is_closed(void **state)
{
  fixture_t *f = *state;
  int fds[CONNECTIONS + 1];
  for (size_t i = 0; i < CONNECTIONS; i++) {
    fds[i] = dial(f);
    say(f, fds[i], "GET /api/v1/echo/later?ms=300 HTTP/1.1\r\nHost: h\r\n\r\n");
  }
  fds[CONNECTIONS] = dial(f);
  assert_true(closed_after(f, fds[CONNECTIONS]) < WAIT_MS / 2);
  assert_int_equal(front_connections(f->front), CONNECTIONS);
  for (size_t i = 0; i <= CONNECTIONS; i++)
    close(fds[i]);
  turn(f, 400);
}

static void a_drain_waits_for_handlers_but_not_for_ever(void **state)
{
  fixture_t *f = *state;
  int quick = dial(f), slow = dial(f);
  char answer[4096];
  say(f, quick, "GET /api/v1/echo/later?ms=120 HTTP/1.1\r\nHost: h\r\n\r\n");
  say(f, slow, "GET /api/v1/echo/later?ms=1000 HTTP/1.1\r\nHost: h\r\n\r\n");
  front_drain(f->front, on_drained, f);
  turn(f, WAIT_MS);
  ssize_t n = recv(quick, answer, sizeof answer - 1, MSG_DONTWAIT);
  assert_true(n > 0);
  answer[n] = '\0';
  assert_non_null(strstr(answer, "200 OK"));
  assert_non_null(strstr(answer, "Connection: close"));
  turn(f, 3 * WAIT_MS);
  assert_true(f->drained);
  assert_int_equal(f->abandoned, 1);
  /* A program ends here. The test lets the handler reply, so that everything can be freed. */
  turn(f, 600);
  close(quick);
  close(slow);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(an_idle_connection_is_closed, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_kept_connection_is_closed_when_idle, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_head_must_come_whole_in_time_however_it_trickles, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_body_must_come_whole_in_time, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_peer_that_takes_nothing_is_given_up, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_refused_peer_that_does_not_close_is_cut_off, set_up, tear_down),
      cmocka_unit_test_setup_teardown(connections_are_bounded_and_the_longest_idle_gives_way, set_up,
                                      tear_down),
      cmocka_unit_test_setup_teardown(with_nobody_idle_the_newcomer_is_closed, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_drain_waits_for_handlers_but_not_for_ever, set_up, tear_down),
  };
  return cmocka_run_group_tests_name("front limits", tests, NULL, NULL);
}
