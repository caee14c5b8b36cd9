/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/app/small_front.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "tests/unit/app/echo_service.h"

/* The time of this process, and of libuv in it, is the test's: it stands still but for turn(). */
static uint64_t now_ms = 1000000;

int clock_gettime(clockid_t id, struct timespec *ts)
{
  if (id != CLOCK_MONOTONIC && id != CLOCK_MONOTONIC_COARSE)
    return (int)syscall(SYS_clock_gettime, id, ts);
  *ts = (struct timespec){(time_t)(now_ms / 1000), (long)(now_ms % 1000) * 1000000};
  return 0;
}

#define BALANCER "127.10.0.7"

static int set_up_with(void **state, uint64_t wait_ms, bool balanced, size_t connections)
{
  static fixture_t f;
  diag_t diag = {.text = ""};
  route_source_t source = {.routes = echo_service.routes,
                           .count = echo_service.route_count,
                           .guard = echo_service.guard};
  memset(&f, 0, sizeof f);
  f.balanced = balanced;
  ip_net_parse(BALANCER, &f.balancer);
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
  front_conf_t conf = {
      .listeners = &f.listener,
      .listener_count = 1,
      .access = f.access,
      .balancers = &f.balancer,
      .balancer_count = 1,
      .limits = {.connections = connections,
                 .held = {[ROOM_HEADS] = HEADS, [ROOM_BODIES] = BODIES, [ROOM_REPLIES] = REPLIES},
                 .values = VALUES,
                 .bodies_waiting = WAITING,
                 .bodies_parsed = PARSED,
                 .bodies_parsed_share = PARSED_SHARE,
                 .head_ms = wait_ms,
                 .body_ms = wait_ms,
                 .idle_ms = wait_ms,
                 .write_ms = wait_ms,
                 .reply_ms = 3 * wait_ms,
                 .linger_ms = wait_ms,
                 .drain_ms = WAIT_MS,
                 .tick_ms = TICK_MS}};
  *state = &f;
  return front_open(&f.loop, &conf, &f.front, &diag);
}

int set_up(void **state)
{
  return set_up_with(state, WAIT_MS, false, CONNECTIONS);
}

int set_up_patient(void **state)
{
  return set_up_with(state, PATIENT_MS, false, CONNECTIONS);
}

int set_up_balanced(void **state)
{
  return set_up_with(state, PATIENT_MS, true, CONNECTIONS);
}

int set_up_many(void **state)
{
  return set_up_with(state, PATIENT_MS, false, MANY);
}

int set_up_many_balanced(void **state)
{
  return set_up_with(state, PATIENT_MS, true, MANY);
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

void drain(fixture_t *f)
{
  front_drain(f->front, 0, on_drained, f);
}

int tear_down(void **state)
{
  fixture_t *f = *state;
  if (!f->drained)
    drain(f);
  while (uv_run(&f->loop, UV_RUN_NOWAIT) != 0)
    now_ms++;
  front_free(f->front);
  router_free((router_t *)(uintptr_t)f->listener.admit.router);
  access_close(f->access);
  echo_service.close(f->service, ignore, NULL);
  return uv_loop_close(&f->loop);
}

void look(fixture_t *f)
{
  uv_run(&f->loop, UV_RUN_NOWAIT);
  usleep(200);
}

void turn(fixture_t *f, uint64_t ms)
{
  for (uint64_t end = now_ms + ms; now_ms < end; now_ms++)
    uv_run(&f->loop, UV_RUN_NOWAIT);
  look(f);
}

int dial_from(fixture_t *f, const char *source)
{
  struct sockaddr_storage sa;
  endpoint_t at, from;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_in_range(fd, 0, FDS_MAX - 1);
  f->sources[fd] = source;
  assert_int_equal(endpoint_parse(f->balanced ? BALANCER ":0" : source, &from), SMPL_OK);
  socklen_t len = endpoint_to_sockaddr(&from, &sa);
  assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
  at = front_address(f->front, 0);
  len = endpoint_to_sockaddr(&at, &sa);
  assert_int_equal(connect(fd, (struct sockaddr *)&sa, len), 0);
  turn(f, 2 * TICK_MS);
  return fd;
}

int dial(fixture_t *f)
{
  return dial_from(f, "127.0.0.1:0");
}

void send_text(const fixture_t *f, int fd, const char *text)
{
  const char *line_end = f->balanced ? strstr(text, " HTTP/1.1\r\n") : NULL;
  if (line_end != NULL) {
    char head[256];
    int len = snprintf(head, sizeof head, "%.*s HTTP/1.1\r\nX-Forwarded-For: 192.0.2.9, %.*s\r\n",
                       (int)(line_end - text), text, (int)strcspn(f->sources[fd], ":"), f->sources[fd]);
    assert_int_equal(send(fd, head, (size_t)len, MSG_NOSIGNAL), len);
    text = line_end + strlen(" HTTP/1.1\r\n");
  }
  assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

void say(fixture_t *f, int fd, const char *text)
{
  send_text(f, fd, text);
  turn(f, 2 * TICK_MS);
}

uint64_t closed_after(fixture_t *f, int fd)
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

bool is_closed(int fd)
{
  char buffer[4096];
  for (;;) {
    ssize_t n = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno == ECONNRESET))
      return true;
    if (n < 0)
      return false;
  }
}

bool gets_closed(fixture_t *f, int fd)
{
  for (int i = 0; i < LOOKS_MAX; i++, look(f))
    if (is_closed(fd))
      return true;
  return false;
}

const char *status_within(fixture_t *f, int fd, int looks)
{
  static char answer[4096];
  ssize_t n;
  for (turn(f, 2 * TICK_MS); (n = recv(fd, answer, sizeof answer - 1, MSG_DONTWAIT)) <= 0 && looks > 0;
       looks--)
    look(f);
  answer[n < 0 ? 0 : n] = '\0';
  if (n <= 12)
    return "";
  answer[12] = '\0';
  return answer + 9;
}

const char *status_of(fixture_t *f, int fd)
{
  return status_within(f, fd, LOOKS_MAX);
}

void assert_unanswered(fixture_t *f, int fd)
{
  assert_string_equal(status_within(f, fd, 0), "");
}

void begin_body(fixture_t *f, int fd, size_t length)
{
  char text[LIMIT_BODY_FIRST + 256];
  int head = snprintf(text, sizeof text,
                      "POST /api/v1/echo HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
                      "Content-Length: %zu\r\n\r\n[",
                      length);
  assert_true(head > 0 && (size_t)head + length < sizeof text);
  memset(text + head, ' ', length - 2);
  text[(size_t)head + length - 2] = '\0';
  say(f, fd, text);
}

void ask_big(fixture_t *f, int fd, unsigned kb)
{
  char text[128];
  snprintf(text, sizeof text, "GET /api/v1/echo/big?kb=%u HTTP/1.1\r\nHost: h\r\n\r\n", kb);
  say(f, fd, text);
}
