/* SPDX-License-Identifier: Apache-2.0 */
/* A process that is made now and acts when it is told, or never. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tunnel/run/later.h"

static int say(void *ctx)
{
  const int *fd = ctx;
  return write(*fd, "x", 1) == 1 ? 0 : 1;
}

static int return_enoent(void *ctx)
{
  (void)ctx;
  return ENOENT;
}

static int run(void *ctx)
{
  (void)ctx;
  execl("/bin/sh", "sh", "-c", "exit 7", (char *)NULL);
  return errno;
}

static void it_acts_when_told_and_not_before(void **state)
{
  int ends[2];
  later_t l;
  char byte;
  (void)state;
  assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
  assert_true(later_make(&l, say, &ends[1]) && later_waits(&l));
  assert_true(read(ends[0], &byte, 1) < 0 && errno == EAGAIN);
  assert_int_equal(later_start(&l), 0);
  assert_false(later_waits(&l));
  assert_int_equal(waitpid(l.pid, NULL, 0), l.pid);
  assert_int_equal(read(ends[0], &byte, 1), 1);
  close(ends[0]);
  close(ends[1]);
}

static void a_failure_is_what_it_returned(void **state)
{
  later_t l;
  (void)state;
  assert_true(later_make(&l, return_enoent, NULL));
  assert_int_equal(later_start(&l), ENOENT);
  assert_int_equal(waitpid(l.pid, NULL, 0), l.pid);
}

static void it_may_become_another_program(void **state)
{
  later_t l;
  int status;
  (void)state;
  assert_true(later_make(&l, run, NULL));
  assert_int_equal(later_start(&l), 0);
  assert_int_equal(waitpid(l.pid, &status, 0), l.pid);
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

static void without_a_word_it_ends_and_does_nothing(void **state)
{
  int ends[2];
  later_t l;
  char byte;
  (void)state;
  assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
  assert_true(later_make(&l, say, &ends[1]));
  later_drop(&l);
  assert_false(later_waits(&l));
  assert_true(read(ends[0], &byte, 1) < 0 && errno == EAGAIN);
  later_drop(&l);
  close(ends[0]);
  close(ends[1]);
}

static void one_that_was_killed_meanwhile_fails(void **state)
{
  later_t l;
  (void)state;
  signal(SIGPIPE, SIG_IGN);
  assert_true(later_make(&l, say, NULL));
  kill(l.pid, SIGKILL);
  assert_int_equal(waitpid(l.pid, NULL, 0), l.pid);
  assert_int_equal(later_start(&l), EPIPE);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(it_acts_when_told_and_not_before),
      cmocka_unit_test(a_failure_is_what_it_returned),
      cmocka_unit_test(it_may_become_another_program),
      cmocka_unit_test(without_a_word_it_ends_and_does_nothing),
      cmocka_unit_test(one_that_was_killed_meanwhile_fails),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
