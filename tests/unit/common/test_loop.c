/* SPDX-License-Identifier: Apache-2.0 */
/* Event loops behind a filter that has no io_uring. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/net/loop.h"
#include "common/process/seal.h"

static int seal_as_programs_do(void)
{
  seal_t *seal = seal_new(SEAL_REFUSE);
  seal_add(seal, SEAL_ALLOW, seal_runtime, seal_runtime_count);
  seal_add(seal, SEAL_ALLOW, seal_traffic, seal_traffic_count);
  seal_add(seal, SEAL_ALLOW, seal_files, seal_files_count);
#ifdef SMPL_SANITIZER
  seal_add(seal, SEAL_ALLOW, seal_wide, seal_wide_count);
#else
  seal_add(seal, SEAL_MISS, seal_absent, seal_absent_count);
#endif
  return seal_load(seal, true);
}

static void on_byte(uv_poll_t *poll, int status, int events)
{
  *(bool *)poll->data = status == 0 && (events & UV_READABLE) != 0;
  uv_close((uv_handle_t *)poll, NULL);
}

/* A descriptor watched from before the filter, and one from after it. */
static bool serves(void)
{
  uv_loop_t loop;
  uv_poll_t polls[2];
  int ends[2];
  bool heard[2] = {false, false};
  if (pipe(ends) != 0 || loop_init(&loop) != SMPL_OK)
    return false;
  for (int i = 0; i < 2; i++) {
    if (i == 1 && seal_as_programs_do() != SMPL_OK)
      return false;
    polls[i].data = &heard[i];
    int copy = i == 0 ? dup(ends[0]) : ends[0];
    if (uv_poll_init(&loop, &polls[i], copy) != 0 || uv_poll_start(&polls[i], UV_READABLE, on_byte) != 0)
      return false;
  }
  if (write(ends[1], "x", 1) != 1)
    return false;
  uv_run(&loop, UV_RUN_DEFAULT);
  return heard[0] && heard[1] && uv_loop_close(&loop) == 0;
}

static void a_loop_serves_behind_a_filter_that_has_no_io_uring(void **state)
{
  (void)state;
  int status = 0;
  fflush(NULL);
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0)
    _exit(serves() ? 0 : 1);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(status, 0);
}

static unsigned rings_of_this_process(void)
{
  char path[300], target[64];
  unsigned count = 0;
  DIR *fds = opendir("/proc/self/fd");
  assert_non_null(fds);
  for (struct dirent *e; (e = readdir(fds)) != NULL;) {
    snprintf(path, sizeof path, "/proc/self/fd/%s", e->d_name);
    ssize_t n = readlink(path, target, sizeof target - 1);
    target[n > 0 ? n : 0] = '\0';
    count += strstr(target, "io_uring") != NULL;
  }
  closedir(fds);
  return count;
}

static void a_loop_holds_no_ring(void **state)
{
  (void)state;
  uv_loop_t loop;
  assert_int_equal(loop_init(&loop), SMPL_OK);
  assert_int_equal(rings_of_this_process(), 0);
  assert_int_equal(uv_loop_close(&loop), 0);
}

/* What a tunnel runs for its user may be sudo, or a program that wants its rings. */
static void who_made_a_loop_has_no_filter_from_it(void **state)
{
  (void)state;
  uv_loop_t loop;
  int filters = prctl(PR_GET_SECCOMP), privileges = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
  assert_int_equal(loop_init(&loop), SMPL_OK);
  assert_int_equal(prctl(PR_GET_SECCOMP), filters);
  assert_int_equal(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), privileges);
  assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_loop_serves_behind_a_filter_that_has_no_io_uring),
      cmocka_unit_test(a_loop_holds_no_ring),
      cmocka_unit_test(who_made_a_loop_has_no_filter_from_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
