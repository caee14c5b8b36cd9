/* SPDX-License-Identifier: Apache-2.0 */
/* app/http/room.h: what connections hold together, heads, bodies and answers, is bounded. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/app/small_front.h"

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

int main(void)
{
  const struct CMUnitTest tests[] = {
      WITH(set_up_patient, unfinished_bodies_are_bounded_together),
      WITH(set_up_patient, a_body_takes_room_as_it_comes_not_as_it_is_announced),
      WITH(set_up_patient, the_source_with_most_unfinished_bytes_gives_way),
      BALANCED(the_source_with_most_unfinished_bytes_gives_way),
      WITH(set_up_patient, an_abandoned_body_gives_its_room_back),
      WITH(set_up_patient, parsed_values_are_bounded_together),
      WITH(set_up_patient, a_head_holds_as_much_as_has_come_of_it),
      WITH(set_up_many, unfinished_heads_are_bounded_together_and_the_source_with_most_gives_way),
      WITH(set_up_patient, bytes_behind_a_request_count_like_those_of_a_head),
      WITH(set_up_patient, replies_not_taken_are_bounded_together),
      WITH(set_up_patient, the_source_with_most_bytes_not_taken_gives_way),
      BALANCED(the_source_with_most_bytes_not_taken_gives_way),
  };
  return cmocka_run_group_tests_name("front room", tests, NULL, NULL);
}
