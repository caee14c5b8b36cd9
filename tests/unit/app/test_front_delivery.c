/* SPDX-License-Identifier: Apache-2.0 */
/* app/http/delivery.h: how answers go out, and what comes behind them. */
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

#include "tests/unit/app/small_front.h"

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

int main(void)
{
  const struct CMUnitTest tests[] = {
      WITH(set_up_patient, a_big_answer_goes_out_in_slices),
      WITH(set_up, a_small_body_is_passed_over_when_a_customer_asks_too_often),
      WITH(set_up, a_client_that_waits_to_send_its_body_is_closed_when_it_asks_too_often),
  };
  return cmocka_run_group_tests_name("front delivery", tests, NULL, NULL);
}
