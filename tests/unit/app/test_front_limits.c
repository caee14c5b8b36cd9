/* SPDX-License-Identifier: Apache-2.0 */
/* The waits and the number of connections of a real front on loopback, with limits small enough to be
 * reached. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "app/program/built_in.h"
#include "app/http/front.h"
#include "app/http/front_state.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "tests/unit/app/echo_service.h"

enum {
  CONNECTIONS = 4,
  MANY = 16,
  WAIT_MS = 200,
  PATIENT_MS = 20000, /* where no wait is to end */
  TICK_MS = 10,
  SLACK_MS = 5 * TICK_MS,
  LOOKS_MAX = 100000, /* in vain, a fraction of a millisecond each, before something counts as not coming */
  HEADS = 48 << 10,
  BODIES = 2 * LIMIT_BODY_FIRST,
  REPLIES = 40 << 20,
  VALUES = LIMIT_PARSE_HERE_VALUES,
  WAITING = 4,
  PARSED = 2,
  PARSED_SHARE = 1,
  FDS_MAX = 1024,
};

/* The time of this process, and of libuv in it, is the test's: it stands still but for turn(). */
static uint64_t now_ms = 1000000;

int clock_gettime(clockid_t id, struct timespec *ts)
{
  if (id != CLOCK_MONOTONIC && id != CLOCK_MONOTONIC_COARSE)
    return (int)syscall(SYS_clock_gettime, id, ts);
  *ts = (struct timespec){(time_t)(now_ms / 1000), (long)(now_ms % 1000) * 1000000};
  return 0;
}

typedef struct fixture {
  uv_loop_t loop;
  rule_t rule;
  listener_conf_t listener;
  bool balanced; /* every connection comes from a balancer, which names the source of each request */
  ip_net_t balancer;
  const char *sources[FDS_MAX]; /* of connections, by descriptor */
  access_log_t *access;
  void *service;
  front_t *front;
  bool drained;
  size_t abandoned;
} fixture_t;

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

static int set_up(void **state)
{
  return set_up_with(state, WAIT_MS, false, CONNECTIONS);
}

static int set_up_patient(void **state)
{
  return set_up_with(state, PATIENT_MS, false, CONNECTIONS);
}

static int set_up_balanced(void **state)
{
  return set_up_with(state, PATIENT_MS, true, CONNECTIONS);
}

static int set_up_many(void **state)
{
  return set_up_with(state, PATIENT_MS, false, MANY);
}

static int set_up_many_balanced(void **state)
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

static int tear_down(void **state)
{
  fixture_t *f = *state;
  if (!f->drained)
    front_drain(f->front, 0, on_drained, f);
  while (uv_run(&f->loop, UV_RUN_NOWAIT) != 0)
    now_ms++;
  front_free(f->front);
  router_free((router_t *)(uintptr_t)f->listener.admit.router);
  access_close(f->access);
  echo_service.close(f->service, ignore, NULL);
  return uv_loop_close(&f->loop);
}

/* Lets the front work without time going on: it does what it can, and what others do for it may come to an
 * end. */
static void look(fixture_t *f)
{
  uv_run(&f->loop, UV_RUN_NOWAIT);
  usleep(200);
}

/* Lets the front work for that long. */
static void turn(fixture_t *f, uint64_t ms)
{
  for (uint64_t end = now_ms + ms; now_ms < end; now_ms++)
    uv_run(&f->loop, UV_RUN_NOWAIT);
  look(f);
}

static int dial_from(fixture_t *f, const char *source)
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

static int dial(fixture_t *f)
{
  return dial_from(f, "127.0.0.1:0");
}

/* A balancer says behind the first line of a head whose request it is. */
static void send_text(const fixture_t *f, int fd, const char *text)
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

static void say(fixture_t *f, int fd, const char *text)
{
  send_text(f, fd, text);
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

/* True if the front has closed fd by now; what came before is thrown away. */
static bool is_closed(int fd)
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

/* True once the front has closed fd, without time going on. */
static bool gets_closed(fixture_t *f, int fd)
{
  for (int i = 0; i < LOOKS_MAX; i++, look(f))
    if (is_closed(fd))
      return true;
  return false;
}

static const char half_head[] = "GET /";
static const char half_body[] = "POST /api/v1/echo HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
                                "Content-Length: 9\r\n\r\n{";

static void the_source_with_most_connections_gives_way(fixture_t *f, const char *half)
{
  int modest = dial_from(f, "127.0.0.3:0");
  say(f, modest, half);
  int many[CONNECTIONS - 1];
  for (size_t i = 0; i < CONNECTIONS - 1; i++) {
    many[i] = dial_from(f, "127.0.0.2:0");
    say(f, many[i], half);
  }
  int newcomer = dial_from(f, "127.0.0.4:0");
  assert_true(gets_closed(f, many[0]));
  assert_false(is_closed(many[1]) || is_closed(many[2]) || is_closed(modest) || is_closed(newcomer));
  for (size_t i = 0; i < CONNECTIONS - 1; i++)
    close(many[i]);
  close(modest);
  close(newcomer);
}

static void when_nobody_is_idle_the_source_with_most_connections_gives_way(void **state)
{
  the_source_with_most_connections_gives_way(*state, half_body);
}

/* Of a head that has not come whole nobody knows yet whose it is, behind a balancer. */
static void when_only_heads_are_coming_the_source_with_most_connections_gives_way(void **state)
{
  the_source_with_most_connections_gives_way(*state, half_head);
}

static void idle_connections_of_one_source_do_not_drive_out_those_of_others(void **state)
{
  fixture_t *f = *state;
  int modest = dial_from(f, "127.0.0.3:0");
  int many[CONNECTIONS];
  for (size_t i = 0; i < CONNECTIONS; i++) /* the last one is one more than there are places */
    many[i] = dial_from(f, "127.0.0.2:0");
  assert_true(is_closed(many[0]));
  assert_false(is_closed(modest));
  for (size_t i = 0; i < CONNECTIONS; i++)
    close(many[i]);
  close(modest);
}

/* With no place left, whoever's requests hold most of them gives way, and the balancer's kept connections
 * stay. */
static void a_balancers_kept_connections_are_nobodys(void **state)
{
  fixture_t *f = *state;
  int kept[2], many[CONNECTIONS - 2];
  for (size_t i = 0; i < 2; i++) {
    kept[i] = dial_from(f, "127.0.0.3:0");
    say(f, kept[i], "GET /api/v1/echo/x HTTP/1.1\r\nHost: h\r\n\r\n");
  }
  for (size_t i = 0; i < CONNECTIONS - 2; i++) {
    many[i] = dial_from(f, "127.0.0.2:0");
    say(f, many[i], half_body);
  }
  int newcomer = dial_from(f, "127.0.0.4:0");
  assert_true(is_closed(many[0]));
  assert_false(is_closed(kept[0]) || is_closed(kept[1]) || is_closed(many[1]) || is_closed(newcomer));
  say(f, many[1], "       }");
  int last = dial_from(f, "127.0.0.4:0"); /* now all are kept: the one that is idle for longest goes */
  assert_true(is_closed(kept[0]));
  assert_false(is_closed(kept[1]) || is_closed(newcomer) || is_closed(last));
  for (size_t i = 0; i < 2; i++)
    close(kept[i]);
  for (size_t i = 0; i < CONNECTIONS - 2; i++)
    close(many[i]);
  close(newcomer);
  close(last);
}

static void a_newcomer_drives_nobody_out_who_holds_less(void **state)
{
  fixture_t *f = *state;
  int modest = dial_from(f, "127.0.0.3:0");
  say(f, modest, "GET /");
  int many[CONNECTIONS];
  for (size_t i = 0; i < CONNECTIONS; i++) {
    many[i] = dial_from(f, "127.0.0.2:0");
    if (i < CONNECTIONS - 1)
      say(f, many[i], "GET /api/v1/echo/later?ms=300 HTTP/1.1\r\nHost: h\r\n\r\n");
  }
  assert_true(gets_closed(f, many[CONNECTIONS - 1]));
  assert_false(is_closed(modest));
  for (size_t i = 0; i < CONNECTIONS; i++)
    close(many[i]);
  close(modest);
  turn(f, 400);
}

static void connections_leave_files_for_everything_else(void **state)
{
  (void)state;
  static const struct {
    uint64_t files;
    size_t listeners, connections;
  } cases[] = {
      {2 * LIMIT_CONNECTIONS + LIMIT_FILES_KEPT, 2, LIMIT_CONNECTIONS},
      {2 * LIMIT_CONNECTIONS + LIMIT_FILES_KEPT - 2, 2, LIMIT_CONNECTIONS - 1},
      {UINT64_MAX, LIMIT_LISTENERS, LIMIT_CONNECTIONS},
      {2 * LIMIT_FILES_KEPT, 1, LIMIT_FILES_KEPT},
      {300, 2, 75},
      {0, 2, 1},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_int_equal(front_connections_for(cases[i].files, cases[i].listeners), cases[i].connections);
}

/* The head of a request with a body of that length, and the body but for its last byte. */
static void begin_body(fixture_t *f, int fd, size_t length)
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

/* "503" and the like, once it has come; "" if nothing comes in so many looks. */
static const char *status_within(fixture_t *f, int fd, int looks)
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

static const char *status_of(fixture_t *f, int fd)
{
  return status_within(f, fd, LOOKS_MAX);
}

static void assert_unanswered(fixture_t *f, int fd)
{
  assert_string_equal(status_within(f, fd, 0), "");
}

static void unfinished_bodies_are_bounded_together(void **state)
{
  fixture_t *f = *state;
  int first = dial(f), second = dial(f), third = dial(f);
  begin_body(f, first, LIMIT_BODY_FIRST);
  begin_body(f, second, BODIES - LIMIT_BODY_FIRST);
  assert_unanswered(f, first);
  assert_unanswered(f, second);
  begin_body(f, third, 2);
  assert_string_equal(status_of(f, third), "503");
  assert_true(gets_closed(f, third));
  say(f, second, "]");
  assert_string_equal(status_of(f, second), "200");
  say(f, first, "]");
  assert_string_equal(status_of(f, first), "200");
  begin_body(f, first, LIMIT_BODY_FIRST);
  say(f, first, "]");
  assert_string_equal(status_of(f, first), "200");
  close(first);
  close(second);
  close(third);
}

static void a_body_takes_room_as_it_comes_not_as_it_is_announced(void **state)
{
  fixture_t *f = *state;
  int fds[CONNECTIONS];
  for (size_t i = 0; i < CONNECTIONS; i++) {
    fds[i] = dial(f);
    say(f, fds[i],
        "POST /api/v1/echo HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
        "Content-Length: 1048576\r\n\r\n");
  }
  for (size_t i = 0; i < CONNECTIONS; i++)
    assert_unanswered(f, fds[i]);
  say(f, fds[0], " ");
  say(f, fds[1], " ");
  assert_unanswered(f, fds[1]);
  say(f, fds[2], " ");
  assert_string_equal(status_of(f, fds[2]), "503");
  for (size_t i = 0; i < CONNECTIONS; i++)
    close(fds[i]);
}

static void the_source_with_most_unfinished_bytes_gives_way(void **state)
{
  fixture_t *f = *state;
  int first = dial_from(f, "127.0.0.2:0"), second = dial_from(f, "127.0.0.2:0");
  int modest = dial_from(f, "127.0.0.3:0");
  begin_body(f, first, LIMIT_BODY_FIRST);
  begin_body(f, second, LIMIT_BODY_FIRST);
  begin_body(f, modest, LIMIT_BODY_FIRST);
  assert_string_equal(status_of(f, first), "503");
  assert_unanswered(f, modest);
  say(f, modest, "]");
  assert_string_equal(status_of(f, modest), "200");
  say(f, second, "]");
  assert_string_equal(status_of(f, second), "200");
  close(first);
  close(second);
  close(modest);
}

static void an_abandoned_body_gives_its_room_back(void **state)
{
  fixture_t *f = *state;
  for (size_t i = 0; i < 3; i++) {
    int first = dial(f), second = dial(f);
    begin_body(f, first, LIMIT_BODY_FIRST);
    begin_body(f, second, LIMIT_BODY_FIRST);
    assert_unanswered(f, first);
    close(first);
    shutdown(second, SHUT_WR);
    assert_string_equal(status_of(f, second), "400");
    close(second);
    turn(f, 2 * TICK_MS);
  }
}

/* Small bodies with as many values as there is room for are held; then there is none, until they are
 * answered. */
static void parsed_values_are_bounded_together(void **state)
{
  fixture_t *f = *state;
  static const char head[] = "HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n";
  int first = dial(f), second = dial(f), third = dial(f);
  char text[2048];
  int at = snprintf(text, sizeof text, "POST /api/v1/echo/hold %sContent-Length: %d\r\n\r\n[", head,
                    2 * VALUES - 1);
  for (size_t i = 1; i < VALUES; i++)
    at += snprintf(text + at, sizeof text - (size_t)at, i == 1 ? "0" : ",0");
  snprintf(text + at, sizeof text - (size_t)at, "]");
  say(f, first, text);
  snprintf(text, sizeof text, "POST /api/v1/echo %sContent-Length: 2\r\n\r\n[]", head);
  say(f, second, text);
  assert_string_equal(status_of(f, second), "503");
  assert_true(gets_closed(f, second));
  say(f, third, "POST /api/v1/echo/release HTTP/1.1\r\nHost: h\r\n\r\n");
  assert_string_equal(status_of(f, third), "204");
  assert_string_equal(status_of(f, first), "204");
  say(f, first, text);
  assert_string_equal(status_of(f, first), "200");
  close(first);
  close(second);
  close(third);
}

/* ---- heads that do not come to an end ---- */

/* The beginning of a head, of that many bytes. */
static void begin_head(fixture_t *f, int fd, size_t length)
{
  static const char line[] = "GET /api/v1/echo/x HTTP/1.1\r\nHost: h\r\nX-Long: ";
  char text[HEADS];
  size_t at = sizeof line - 1;
  memcpy(text, line, at);
  memset(text + at, 'x', length - at);
  text[length] = '\0';
  say(f, fd, text);
}

static size_t held_heads(const fixture_t *f)
{
  return room_held(f->front->env.room, ROOM_HEADS);
}

static void await_heads(fixture_t *f, size_t bytes)
{
  for (int i = 0; i < LOOKS_MAX && held_heads(f) != bytes; i++)
    look(f);
  assert_int_equal(held_heads(f), bytes);
}

static void a_head_holds_as_much_as_has_come_of_it(void **state)
{
  fixture_t *f = *state;
  int fd = dial(f);
  begin_head(f, fd, 100);
  await_heads(f, LIMIT_HEAD_FIRST);
  for (size_t more = 100; more < 3000; more += 100) {
    char part[101];
    memset(part, 'x', 100);
    part[100] = '\0';
    say(f, fd, part);
  }
  await_heads(f, 4096);
  say(f, fd, "\r\n\r\n");
  assert_string_equal(status_of(f, fd), "200");
  await_heads(f, 0);
  begin_head(f, fd, 100);
  await_heads(f, LIMIT_HEAD_FIRST);
  close(fd);
  await_heads(f, 0);
}

static void unfinished_heads_are_bounded_together_and_the_source_with_most_gives_way(void **state)
{
  enum { SIZE = 16 << 10 }; /* a third of all there is */
  fixture_t *f = *state;
  int greedy[4], modest = dial_from(f, "127.0.0.3:0");
  for (size_t i = 0; i < 4; i++)
    greedy[i] = dial_from(f, "127.0.0.2:0");
  for (size_t i = 0; i < 3; i++)
    begin_head(f, greedy[i], SIZE - 1);
  await_heads(f, HEADS);
  begin_head(f, greedy[3], 100); /* nobody holds more than the source itself: it is refused */
  assert_true(gets_closed(f, greedy[3]));
  assert_unanswered(f, greedy[0]);
  begin_head(f, modest, 100); /* another source is not: the greedy one's first goes */
  assert_true(gets_closed(f, greedy[0]));
  await_heads(f, HEADS - SIZE + LIMIT_HEAD_FIRST);
  say(f, modest, "\r\n\r\n");
  assert_string_equal(status_of(f, modest), "200");
  say(f, greedy[1], "\r\n\r\n");
  assert_string_equal(status_of(f, greedy[1]), "200");
  for (size_t i = 0; i < 4; i++)
    close(greedy[i]);
  close(modest);
}

/* What a client sends behind a request that is not answered yet counts too. */
static void bytes_behind_a_request_count_like_those_of_a_head(void **state)
{
  fixture_t *f = *state;
  char text[2048];
  int head = snprintf(text, sizeof text, "GET /api/v1/echo/later?ms=300 HTTP/1.1\r\nHost: h\r\n\r\n");
  memset(text + head, 'x', sizeof text - (size_t)head - 1);
  text[sizeof text - 1] = '\0';
  int fd = dial(f);
  say(f, fd, text);
  await_heads(f, 2048);
  turn(f, 400);
  assert_string_equal(status_of(f, fd), "200");
  close(fd);
  await_heads(f, 0);
}

/* ---- bodies that are parsed by threads ---- */

enum { BIG = LIMIT_PARSE_HERE + 1 };

/* A body of that many bytes: "[   ]". */
static void post(fixture_t *f, int fd, const char *path, size_t length)
{
  char text[3 * LIMIT_BODY_FIRST];
  int head = snprintf(text, sizeof text,
                      "POST /api/v1/echo%s HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
                      "Content-Length: %zu\r\n\r\n[",
                      path, length);
  memset(text + head, ' ', length - 2);
  memcpy(text + (size_t)head + length - 2, "]", 2);
  send_text(f, fd, text);
}

static parse_counts_t counts(const fixture_t *f)
{
  return parse_counts(f->front->env.parse);
}

/* Until that many wait and are parsed. */
static void await_counts(fixture_t *f, size_t waiting, size_t parsed)
{
  for (int i = 0; i < LOOKS_MAX && (counts(f).waiting != waiting || counts(f).parsed != parsed); i++)
    look(f);
  assert_int_equal(counts(f).waiting, waiting);
  assert_int_equal(counts(f).parsed, parsed);
}

static void a_small_body_is_parsed_on_the_loop_and_a_big_one_is_not(void **state)
{
  static const size_t lengths[] = {LIMIT_PARSE_HERE - 1, LIMIT_PARSE_HERE, LIMIT_PARSE_HERE + 1};
  fixture_t *f = *state;
  int fd = dial(f);
  for (size_t i = 0; i < 3; i++) {
    post(f, fd, "", lengths[i]);
    assert_string_equal(status_of(f, fd), "200");
    assert_true(counts(f).here == (i < 2 ? i + 1 : 2) && counts(f).there == (i < 2 ? 0 : 1));
  }
  await_counts(f, 0, 0);
  close(fd);
}

static void a_body_of_many_values_is_not_parsed_on_the_loop(void **state)
{
  static const char head[] = "POST /api/v1/echo HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n";
  fixture_t *f = *state;
  int fd = dial(f);
  for (size_t more = 0; more < 2; more++) { /* "[0,0,...]" */
    char text[2048];
    size_t values = LIMIT_PARSE_HERE_VALUES + more, length = 2 * values - 1;
    int at = snprintf(text, sizeof text, "%sContent-Length: %zu\r\n\r\n[", head, length);
    for (size_t i = 1; i < values; i++)
      at += snprintf(text + at, sizeof text - (size_t)at, i == 1 ? "0" : ",0");
    snprintf(text + at, sizeof text - (size_t)at, "]");
    say(f, fd, text);
    assert_string_equal(status_of(f, fd), "200");
    assert_true(counts(f).here == 1 && counts(f).there == more);
  }
  close(fd);
}

static void big_bodies_wait_in_turns_and_the_source_with_most_gives_way(void **state)
{
  fixture_t *f = *state;
  int greedy[WAITING + 1], modest[2];
  for (size_t i = 0; i <= WAITING; i++)
    greedy[i] = dial_from(f, "127.0.0.2:0");
  for (size_t i = 0; i < 2; i++)
    modest[i] = dial_from(f, "127.0.0.3:0");
  post(f, greedy[0], "/hold", BIG);
  await_counts(f, 0, 1);
  for (size_t i = 1; i <= WAITING; i++) { /* one of his is parsed: the others wait until that is over */
    post(f, greedy[i], "/hold", BIG);
    await_counts(f, i, 1);
  }
  post(f, modest[0], "/hold", BIG); /* another's turn comes at once */
  await_counts(f, WAITING - 1, 2);
  assert_string_equal(status_of(f, greedy[WAITING]), "503");
  assert_true(gets_closed(f, greedy[WAITING]));
  post(f, modest[1], "/hold", BIG);
  await_counts(f, WAITING, 2);
  assert_unanswered(f, modest[0]);
  int other = dial_from(f, "127.0.0.4:0");
  for (size_t left = WAITING;
       counts(f).parsed > 0 ||
       left > 0;) { /* let all of them come to their end, one of each after the other */
    post(f, other, "/release", 2);
    assert_string_equal(status_of(f, other), "204");
    turn(f, TICK_MS);
    left = counts(f).waiting;
  }
  for (size_t i = 0; i < WAITING; i++)
    assert_string_equal(status_of(f, greedy[i]), "204");
  for (size_t i = 0; i < 2; i++)
    assert_string_equal(status_of(f, modest[i]), "204");
  for (size_t i = 0; i <= WAITING; i++)
    close(greedy[i]);
  close(modest[0]);
  close(modest[1]);
  close(other);
}

/* Whether its body waits, is with a thread, or was just handed back. */
static void a_client_that_goes_away_while_its_body_is_parsed_harms_nobody(void **state)
{
  fixture_t *f = *state;
  for (int round = 0; round < 50; round++) {
    int fds[CONNECTIONS];
    for (size_t i = 0; i < CONNECTIONS; i++)
      fds[i] = dial(f);
    for (size_t i = 0; i < CONNECTIONS; i++)
      post(f, fds[i], "", LIMIT_BODY_FIRST / 4 * 3);
    for (int i = 0; i < round % 10; i++)
      uv_run(&f->loop, UV_RUN_NOWAIT);
    int fd = dial(f); /* drives out one whose request is not with its handler yet */
    for (size_t i = 0; i < CONNECTIONS; i++)
      close(fds[i]);
    await_counts(f, 0, 0);
    post(f, fd, "", BIG);
    assert_string_equal(status_of(f, fd), "200");
    close(fd);
  }
}

static void a_drain_waits_for_what_a_thread_has(void **state)
{
  fixture_t *f = *state;
  int fds[CONNECTIONS];
  for (size_t i = 0; i < CONNECTIONS; i++)
    fds[i] = dial(f);
  for (size_t i = 0; i < CONNECTIONS; i++)
    post(f, fds[i], "", BIG);
  uv_run(&f->loop, UV_RUN_NOWAIT);
  front_drain(f->front, 0, on_drained, f);
  for (size_t i = 0; i < CONNECTIONS; i++) {
    assert_string_equal(status_of(f, fds[i]), "200");
    close(fds[i]);
  }
  for (int i = 0; i < LOOKS_MAX && !f->drained; i++)
    look(f);
  assert_true(f->drained && f->abandoned == 0);
}

static void ask_big(fixture_t *f, int fd, unsigned kb)
{
  char text[128];
  snprintf(text, sizeof text, "GET /api/v1/echo/big?kb=%u HTTP/1.1\r\nHost: h\r\n\r\n", kb);
  say(f, fd, text);
}

/* Bytes that come until the front closes, or until there are more than that many. */
static size_t read_out(fixture_t *f, int fd, size_t most)
{
  static char buffer[1 << 18];
  size_t got = 0;
  for (int vain = 0; got <= most && vain < LOOKS_MAX;) {
    ssize_t n = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno == ECONNRESET))
      break;
    if (n > 0)
      got += (size_t)n;
    vain = n > 0 ? 0 : vain + 1;
    if (n > 0)
      uv_run(&f->loop, UV_RUN_NOWAIT);
    else
      look(f);
  }
  return got;
}

/* A big answer to a peer that takes all of it: in slices, with turns of the loop for others between them. */
static void a_big_answer_goes_out_in_slices(void **state)
{
  enum { KB = 4096, WINDOW = 16 << 20 };
  static char buffer[1 << 18];
  fixture_t *f = *state;
  int fd = dial(f), window = WINDOW;
  size_t got = 0, most = 0, turns = 0;
  static const char request[] = "GET /api/v1/echo/big?kb=4096 HTTP/1.1\r\nHost: h\r\n\r\n";
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof window);
  assert_int_equal(send(fd, request, sizeof request - 1, MSG_NOSIGNAL), sizeof request - 1);
  for (int vain = 0; got < KB * 1024u && vain < LOOKS_MAX; vain++) {
    size_t in_turn = 0;
    ssize_t n;
    while ((n = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT)) > 0)
      in_turn += (size_t)n;
    if (in_turn > 0) {
      vain = 0;
      turns++;
    } else {
      usleep(200);
    }
    got += in_turn;
    most = in_turn > most ? in_turn : most;
    uv_run(&f->loop, UV_RUN_NOWAIT);
  }
  assert_true(got > KB * 1024u);
  assert_in_range(most, 1, 10 * LIMIT_SLICE + 4096);
  assert_true(turns >= KB * 1024u / (10 * LIMIT_SLICE));
  close(fd);
}

static void replies_not_taken_are_bounded_together(void **state)
{
  fixture_t *f = *state;
  int first = dial(f), second = dial(f);
  ask_big(f, first, 30 << 10);
  ask_big(f, second, 15 << 10);
  assert_int_equal(front_connections(f->front), 1);
  assert_true(read_out(f, second, 15 << 20) < 15 << 20);
  assert_true(read_out(f, first, 30 << 20) > 30 << 20);
  close(second);
  second = dial(f);
  ask_big(f, second, 15 << 10);
  assert_true(read_out(f, second, 15 << 20) > 15 << 20);
  close(first);
  close(second);
}

static void the_source_with_most_bytes_not_taken_gives_way(void **state)
{
  fixture_t *f = *state;
  int first = dial_from(f, "127.0.0.2:0"), second = dial_from(f, "127.0.0.2:0");
  int modest = dial_from(f, "127.0.0.3:0");
  ask_big(f, first, 18 << 10);
  ask_big(f, second, 18 << 10);
  assert_int_equal(front_connections(f->front), 3);
  ask_big(f, modest, 18 << 10);
  assert_int_equal(front_connections(f->front), 2);
  assert_true(read_out(f, first, 18 << 20) < 18 << 20);
  assert_true(read_out(f, second, 18 << 20) > 18 << 20);
  assert_true(read_out(f, modest, 18 << 20) > 18 << 20);
  close(first);
  close(second);
  close(modest);
}

static void a_reply_must_be_taken_whole_in_time_however_steadily(void **state)
{
  fixture_t *f = *state;
  static char buffer[1 << 18];
  int fd = dial(f);
  uint64_t start = clock_mono_ms();
  ask_big(f, fd, 38 << 10);
  while (front_connections(f->front) > 0 && clock_mono_ms() - start < 4 * WAIT_MS) {
    recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    turn(f, 10);
  }
  assert_in_range(clock_mono_ms() - start, 3 * WAIT_MS - 5 * TICK_MS, 4 * WAIT_MS - 1);
  close(fd);
}

/* How many come until there are two or the connection ends. */
static size_t answers_until_last(fixture_t *f, int fd, char *answer, size_t size)
{
  size_t len = 0, count = 0;
  ssize_t n = 1;
  for (unsigned i = 0; i < 20000 / TICK_MS && count < 2 && n != 0; i++) {
    turn(f, TICK_MS);
    n = recv(fd, answer + len, size - 1 - len, MSG_DONTWAIT);
    len += n > 0 ? (size_t)n : 0;
    answer[len] = '\0';
    count = 0;
    for (const char *at = answer; (at = strstr(at, "HTTP/1.1 ")) != NULL; at++)
      count++;
    if (n < 0 && errno != EAGAIN)
      break;
  }
  return count;
}

/* A request that is refused before its body is read, and one behind it; returns how many answers came. Some
 * of the body is sent with the head, the rest later. */
static size_t answers_behind_a_refusal(fixture_t *f, size_t length, size_t at_once, const char *more,
                                       char kind)
{
  char head[512], answer[8192], *body = calloc(1, length + 1);
  size_t count;
  assert_non_null(body);
  memset(body, ' ', length);
  int fd = dial(f);
  snprintf(
      head, sizeof head,
      "PUT /api/v1/echo/x HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n%s"
      "Authorization: Bearer sk_api_%caaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nContent-Length: %zu\r\n\r\n",
      more, kind, length);
  send_text(f, fd, head);
  assert_int_equal(send(fd, body, at_once, MSG_NOSIGNAL), (ssize_t)at_once);
  turn(f, 2 * TICK_MS);
  send(fd, body + at_once, length - at_once, MSG_NOSIGNAL);
  turn(f, 2 * TICK_MS);
  send(fd, "GET /api/v1/echo/y HTTP/1.1\r\nHost: h\r\n\r\n", 40, MSG_NOSIGNAL);
  count = answers_until_last(f, fd, answer, sizeof answer);
  assert_int_equal(count == 1, strstr(answer, "Connection: close") != NULL);
  assert_non_null(strstr(answer, kind == 'b' ? " 401 Unauthorized" : " 429 Too Many Requests"));
  assert_int_equal(count == 2, strstr(answer, " 200 OK") != NULL);
  close(fd);
  free(body);
  return count;
}

static void a_small_body_is_passed_over_when_a_customer_asks_too_often(void **state)
{
  fixture_t *f = *state;
  assert_int_equal(answers_behind_a_refusal(f, LIMIT_SKIP, LIMIT_SKIP, "", 'e'), 2);
  assert_int_equal(answers_behind_a_refusal(f, LIMIT_SKIP, 100, "", 'e'), 2);
  assert_int_equal(answers_behind_a_refusal(f, 1000, 1000, "", 'f'),
                   2); /* the answer comes behind the body */
  assert_int_equal(answers_behind_a_refusal(f, LIMIT_SKIP + 1, LIMIT_SKIP + 1, "", 'e'), 1);
  assert_int_equal(answers_behind_a_refusal(f, 1000, 1000, "", 'b'),
                   1); /* whoever has no good key is closed */
}

/* It may send the body or the next request. */
static void a_client_that_waits_to_send_its_body_is_closed_when_it_asks_too_often(void **state)
{
  assert_int_equal(answers_behind_a_refusal(*state, 1000, 0, "Expect: 100-continue\r\n", 'e'), 1);
}

static void a_drain_waits_for_handlers_but_not_for_ever(void **state)
{
  fixture_t *f = *state;
  int quick = dial(f), slow = dial(f);
  char answer[4096];
  say(f, quick, "GET /api/v1/echo/later?ms=120 HTTP/1.1\r\nHost: h\r\n\r\n");
  say(f, slow, "GET /api/v1/echo/later?ms=1000 HTTP/1.1\r\nHost: h\r\n\r\n");
  front_drain(f->front, 0, on_drained, f);
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

/* The same test, with every connection coming from a balancer. */
#define BALANCED(test)                                                                                       \
  {                                                                                                          \
#test "_behind_a_balancer", test, set_up_balanced, tear_down, NULL                                       \
  }

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(an_idle_connection_is_closed, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_kept_connection_is_closed_when_idle, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_small_body_is_passed_over_when_a_customer_asks_too_often, set_up,
                                      tear_down),
      cmocka_unit_test_setup_teardown(a_client_that_waits_to_send_its_body_is_closed_when_it_asks_too_often,
                                      set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_head_must_come_whole_in_time_however_it_trickles, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_body_must_come_whole_in_time, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_peer_that_takes_nothing_is_given_up, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_refused_peer_that_does_not_close_is_cut_off, set_up, tear_down),
      cmocka_unit_test_setup_teardown(connections_are_bounded_and_the_longest_idle_gives_way, set_up,
                                      tear_down),
      cmocka_unit_test_setup_teardown(with_nobody_idle_the_newcomer_is_closed, set_up, tear_down),
      cmocka_unit_test_setup_teardown(when_nobody_is_idle_the_source_with_most_connections_gives_way,
                                      set_up_patient, tear_down),
      BALANCED(when_nobody_is_idle_the_source_with_most_connections_gives_way),
      cmocka_unit_test_setup_teardown(when_only_heads_are_coming_the_source_with_most_connections_gives_way,
                                      set_up_patient, tear_down),
      cmocka_unit_test_setup_teardown(idle_connections_of_one_source_do_not_drive_out_those_of_others,
                                      set_up_patient, tear_down),
      cmocka_unit_test_setup_teardown(a_balancers_kept_connections_are_nobodys, set_up_balanced, tear_down),
      cmocka_unit_test_setup_teardown(a_newcomer_drives_nobody_out_who_holds_less, set_up_patient, tear_down),
      cmocka_unit_test(connections_leave_files_for_everything_else),
      cmocka_unit_test_setup_teardown(unfinished_bodies_are_bounded_together, set_up_patient, tear_down),
      cmocka_unit_test_setup_teardown(a_body_takes_room_as_it_comes_not_as_it_is_announced, set_up_patient,
                                      tear_down),
      cmocka_unit_test_setup_teardown(the_source_with_most_unfinished_bytes_gives_way, set_up_patient,
                                      tear_down),
      BALANCED(the_source_with_most_unfinished_bytes_gives_way),
      cmocka_unit_test_setup_teardown(an_abandoned_body_gives_its_room_back, set_up_patient, tear_down),
      cmocka_unit_test_setup_teardown(parsed_values_are_bounded_together, set_up_patient, tear_down),
      cmocka_unit_test_setup_teardown(a_head_holds_as_much_as_has_come_of_it, set_up_patient, tear_down),
      cmocka_unit_test_setup_teardown(
          unfinished_heads_are_bounded_together_and_the_source_with_most_gives_way, set_up_many, tear_down),
      cmocka_unit_test_setup_teardown(bytes_behind_a_request_count_like_those_of_a_head, set_up_patient,
                                      tear_down),
      cmocka_unit_test_setup_teardown(a_small_body_is_parsed_on_the_loop_and_a_big_one_is_not, set_up_patient,
                                      tear_down),
      cmocka_unit_test_setup_teardown(a_body_of_many_values_is_not_parsed_on_the_loop, set_up_patient,
                                      tear_down),
      cmocka_unit_test_setup_teardown(big_bodies_wait_in_turns_and_the_source_with_most_gives_way,
                                      set_up_many, tear_down),
      {"big_bodies_wait_in_turns_and_the_source_with_most_gives_way_behind_a_balancer",
       big_bodies_wait_in_turns_and_the_source_with_most_gives_way, set_up_many_balanced, tear_down, NULL},
      cmocka_unit_test_setup_teardown(a_client_that_goes_away_while_its_body_is_parsed_harms_nobody,
                                      set_up_patient, tear_down),
      cmocka_unit_test_setup_teardown(a_drain_waits_for_what_a_thread_has, set_up_patient, tear_down),
      cmocka_unit_test_setup_teardown(a_big_answer_goes_out_in_slices, set_up_patient, tear_down),
      cmocka_unit_test_setup_teardown(replies_not_taken_are_bounded_together, set_up_patient, tear_down),
      cmocka_unit_test_setup_teardown(the_source_with_most_bytes_not_taken_gives_way, set_up_patient,
                                      tear_down),
      BALANCED(the_source_with_most_bytes_not_taken_gives_way),
      cmocka_unit_test_setup_teardown(a_reply_must_be_taken_whole_in_time_however_steadily, set_up,
                                      tear_down),
      cmocka_unit_test_setup_teardown(a_drain_waits_for_handlers_but_not_for_ever, set_up, tear_down),
  };
  return cmocka_run_group_tests_name("front limits", tests, NULL, NULL);
}
