/* SPDX-License-Identifier: Apache-2.0 */
/* app/http/parse.h: bodies that are parsed by threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/app/small_front.h"

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
  drain(f);
  for (size_t i = 0; i < CONNECTIONS; i++) {
    assert_string_equal(status_of(f, fds[i]), "200");
    close(fds[i]);
  }
  for (int i = 0; i < LOOKS_MAX && !f->drained; i++)
    look(f);
  assert_true(f->drained && f->abandoned == 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      WITH(set_up_patient, a_small_body_is_parsed_on_the_loop_and_a_big_one_is_not),
      WITH(set_up_patient, a_body_of_many_values_is_not_parsed_on_the_loop),
      WITH(set_up_many, big_bodies_wait_in_turns_and_the_source_with_most_gives_way),
      {"big_bodies_wait_in_turns_and_the_source_with_most_gives_way_behind_a_balancer",
       big_bodies_wait_in_turns_and_the_source_with_most_gives_way, set_up_many_balanced, tear_down, NULL},
      WITH(set_up_patient, a_client_that_goes_away_while_its_body_is_parsed_harms_nobody),
      WITH(set_up_patient, a_drain_waits_for_what_a_thread_has),
  };
  return cmocka_run_group_tests_name("front parse", tests, NULL, NULL);
}
