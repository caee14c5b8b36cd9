/* SPDX-License-Identifier: Apache-2.0 */
/* How long the resolver waits for the process that keeps its copies, and when it tries again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include <uv.h>

#include "common/base/error.h"
#include "resolver/control/keeper.h"
#include "resolver/control/saver.h"

int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout);
int __real_poll(struct pollfd *fds, nfds_t count, int timeout);
int __wrap_uv_timer_start(uv_timer_t *timer, uv_timer_cb cb, uint64_t timeout, uint64_t repeat);
int __real_uv_timer_start(uv_timer_t *timer, uv_timer_cb cb, uint64_t timeout, uint64_t repeat);
void __wrap_keeper_free(keeper_t *keeper);
void __real_keeper_free(keeper_t *keeper);
void __wrap_keeper_give_up(keeper_t *keeper);
void __wrap_keeper_save(keeper_t *keeper, const snapshot_t *snapshot);
bool __wrap_keeper_can(const keeper_t *keeper);
bool __wrap_keeper_works(const keeper_t *keeper);

static int waited = -1;
static struct timeval sending, taking;

/* The other process has answered, but we are told that the time is over. */
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout)
{
  socklen_t len = sizeof sending;
  if (count != 1 || timeout <= 0)
    return __real_poll(fds, count, timeout);
  waited = timeout;
  getsockopt(fds->fd, SOL_SOCKET, SO_SNDTIMEO, &sending, &len);
  getsockopt(fds->fd, SOL_SOCKET, SO_RCVTIMEO, &taking, &len);
  __real_poll(fds, count, timeout);
  return 0;
}

static void a_writer_that_does_not_answer_in_time_counts_as_gone(void **state)
{
  char folder[] = "/tmp/test_keeper_XXXXXX", lock[64];
  keeper_t *keeper = NULL;
  diag_t diag = {""};
  (void)state;
  assert_non_null(mkdtemp(folder));
  settings_t settings = {.state = folder};
  assert_int_equal(keeper_start(&settings, &keeper, &diag), SMPL_OK);
  assert_non_null(keeper);
  assert_int_equal(waited, KEEPER_WAIT_MS);
  assert_int_equal(sending.tv_sec * 1000, KEEPER_WAIT_MS);
  assert_int_equal(taking.tv_sec * 1000, KEEPER_WAIT_MS);
  keeper_free(keeper);
  snprintf(lock, sizeof lock, "%s/lock", folder);
  unlink(lock);
  rmdir(folder);
}

static int saves, fails; /* how many of the first saves cannot be kept */
static uint64_t pause_ms;
static unsigned pauses;

static char stand_in; /* in the keeper's place */

void __wrap_keeper_free(keeper_t *keeper)
{
  if ((void *)keeper != &stand_in)
    __real_keeper_free(keeper);
}

void __wrap_keeper_give_up(keeper_t *keeper)
{
  (void)keeper;
}

void __wrap_keeper_save(keeper_t *keeper, const snapshot_t *snapshot)
{
  (void)keeper;
  (void)snapshot;
  saves++;
}

bool __wrap_keeper_can(const keeper_t *keeper)
{
  return keeper != NULL;
}

bool __wrap_keeper_works(const keeper_t *keeper)
{
  return keeper == NULL || saves > fails;
}

/* The time is over at once. */
int __wrap_uv_timer_start(uv_timer_t *timer, uv_timer_cb cb, uint64_t timeout, uint64_t repeat)
{
  pause_ms = timeout;
  pauses++;
  return __real_uv_timer_start(timer, cb, 0, repeat);
}

static void copies_that_could_not_be_written_are_tried_again_until_they_can(void **state)
{
  uv_loop_t loop;
  static const char zones; /* nobody looks into it */
  (void)state;
  assert_int_equal(uv_loop_init(&loop), 0);
  saver_t *saver = saver_new(&loop, (keeper_t *)(void *)&stand_in);
  assert_non_null(saver);
  fails = 3;
  saver_save(saver, (const snapshot_t *)(const void *)&zones);
  uv_run(&loop, UV_RUN_DEFAULT);
  assert_int_equal(saves, fails + 1);
  assert_int_equal(pauses, fails);
  assert_int_equal(pause_ms, KEEPER_RETRY_MS);
  assert_true(saver_works(saver));
  saver_close(saver);
  uv_run(&loop, UV_RUN_DEFAULT);
  saver_free(saver);
  assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_writer_that_does_not_answer_in_time_counts_as_gone),
      cmocka_unit_test(copies_that_could_not_be_written_are_tried_again_until_they_can),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
