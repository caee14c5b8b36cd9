/* SPDX-License-Identifier: Apache-2.0 */
/* app/http/conn.h: how long a connection may wait for each thing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "tests/unit/app/small_front.h"

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

static void a_drain_waits_for_handlers_but_not_for_ever(void **state)
{
  fixture_t *f = *state;
  int quick = dial(f), slow = dial(f);
  char answer[4096];
  say(f, quick, "GET /api/v1/echo/later?ms=120 HTTP/1.1\r\nHost: h\r\n\r\n");
  say(f, slow, "GET /api/v1/echo/later?ms=1000 HTTP/1.1\r\nHost: h\r\n\r\n");
  drain(f);
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
      WITH(set_up, an_idle_connection_is_closed),
      WITH(set_up, a_kept_connection_is_closed_when_idle),
      WITH(set_up, a_head_must_come_whole_in_time_however_it_trickles),
      WITH(set_up, a_body_must_come_whole_in_time),
      WITH(set_up, a_peer_that_takes_nothing_is_given_up),
      WITH(set_up, a_refused_peer_that_does_not_close_is_cut_off),
      WITH(set_up, a_reply_must_be_taken_whole_in_time_however_steadily),
      WITH(set_up, a_drain_waits_for_handlers_but_not_for_ever),
  };
  return cmocka_run_group_tests_name("front conn", tests, NULL, NULL);
}
