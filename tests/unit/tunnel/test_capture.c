/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that are run for what they print: their limits, and how they end. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tunnel/base/capture.h"

enum { LONG_MS = 60000, SHORT_MS = 200 };

/* What a shell command prints; NULL: too much or too late. */
static char *run(const char *command, size_t most, int ms, bool *fine)
{
  const char *const argv[] = {"sh", "-c", command, NULL};
  char *text = NULL;
  assert_int_equal(capture_run(&(capture_t){.argv = argv, .in = -1, .most = most, .ms = ms}, &text, fine), 0);
  return text;
}

static void test_what_is_printed_counts_up_to_the_limit(void **state)
{
  (void)state;
  bool fine;
  char *text = run("printf 12345678", 8, LONG_MS, &fine);
  assert_string_equal(text, "12345678");
  assert_true(fine);
  free(text);
  assert_null(run("printf 123456789", 8, LONG_MS, &fine));
  assert_false(fine);
  assert_null(run("exec yes", 1 << 20, LONG_MS, &fine)); /* would print for ever */
  assert_false(fine);
}

static void test_a_failure_is_told(void **state)
{
  (void)state;
  bool fine;
  char *text = run("echo words; exit 3", 64, LONG_MS, &fine);
  assert_string_equal(text, "words\n");
  assert_false(fine);
  free(text);
}

/* None of these ends by itself. */
static void test_a_program_that_does_not_end_is_killed(void **state)
{
  (void)state;
  static const char *const commands[] = {
      "exec sleep 1000000",
      "echo words; exec sleep 1000000",
      "echo words; exec >&-; exec sleep 1000000", /* its output is over, and it is not */
      "trap '' TERM HUP INT; exec >&-; while :; do sleep 1; done",
  };
  for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
    bool fine = true;
    assert_null(run(commands[i], 64, SHORT_MS, &fine));
    assert_false(fine);
  }
}

/* Its children hold the pipe's other end, and are gone with it: killed for its limit, or by whoever ends us.
 */
static void test_its_children_end_with_it(void **state)
{
  (void)state;
  atomic_int group = 0;
  const char *const argv[] = {"sh", "-c", "sleep 1000000 & sleep 1000000 & wait", NULL};
  char *text = NULL;
  bool fine;
  int ends[2];
  assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
  const capture_t c = {.argv = argv, .in = -1, .third = ends[1], .most = 64, .ms = SHORT_MS, .group = &group};
  assert_int_equal(capture_run(&c, &text, &fine), 0);
  assert_null(text);
  assert_int_equal(group, 0);
  close(ends[1]);
  struct pollfd p = {ends[0], POLLIN, 0};
  assert_int_equal(poll(&p, 1, LONG_MS), 1);
  assert_true(p.revents & POLLHUP);
  close(ends[0]);
}

typedef struct running {
  capture_t capture;
  bool fine;
} running_t;

static void *run_it(void *arg)
{
  running_t *r = arg;
  char *text = NULL;
  assert_int_equal(capture_run(&r->capture, &text, &r->fine), 0);
  free(text);
  return NULL;
}

static void test_what_runs_can_be_ended_from_outside(void **state)
{
  (void)state;
  atomic_int group = 0;
  const char *const argv[] = {"sh", "-c", "sleep 1000000 & wait", NULL};
  running_t r = {.capture = {.argv = argv, .in = -1, .most = 64, .ms = LONG_MS * 10, .group = &group}};
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, run_it, &r), 0);
  while (atomic_load(&group) == 0)
    poll(NULL, 0, 1);
  capture_end(&group);
  pthread_join(thread, NULL);
  assert_false(r.fine);
}

static void test_one_that_ends_after_its_output_is_waited_for(void **state)
{
  (void)state;
  bool fine;
  char *text = run("echo words; exec >&-; sleep 0.3; exit 0", 64, LONG_MS, &fine);
  assert_string_equal(text, "words\n");
  assert_true(fine);
  free(text);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_what_is_printed_counts_up_to_the_limit),
      cmocka_unit_test(test_a_failure_is_told),
      cmocka_unit_test(test_a_program_that_does_not_end_is_killed),
      cmocka_unit_test(test_its_children_end_with_it),
      cmocka_unit_test(test_what_runs_can_be_ended_from_outside),
      cmocka_unit_test(test_one_that_ends_after_its_output_is_waited_for),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
