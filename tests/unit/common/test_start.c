/* SPDX-License-Identifier: Apache-2.0 */
/* common/net/bind.h, common/process/folders.h: what a service manager hands over at a start: folders, and
 * listeners. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/net/bind.h"
#include "common/base/error.h"
#include "common/process/folders.h"

struct dirent *__wrap_readdir(DIR *folder);

static int names_asked_for;

/* A folder without end, of files that are gone again. */
struct dirent *__wrap_readdir(DIR *folder)
{
  static struct dirent entry;
  (void)folder;
  assert_true(++names_asked_for <= 2 * FOLDERS_FILES_MAX);
  snprintf(entry.d_name, sizeof entry.d_name, "gone-%d", names_asked_for);
  return &entry;
}

static void of_a_folder_as_many_files_are_looked_at_as_the_limit_says(void **state)
{
  char folder[] = "/tmp/test_start_XXXXXX";
  (void)state;
  assert_non_null(mkdtemp(folder));
  setenv("STATE_DIRECTORY", folder, 1);
  assert_int_equal(folders_give(geteuid(), getegid(), NULL), SMPL_OK);
  unsetenv("STATE_DIRECTORY");
  rmdir(folder);
  assert_int_equal(names_asked_for, FOLDERS_FILES_MAX);
}

/* In a child: descriptors from 3 on, of which the one at last listens. Its number, or 255 for none. */
static int found_among(int count)
{
  enum { FIRST = 3, NONE = 255 };
  int status;
  pid_t child = fork();
  if (child == 0) {
    char text[16];
    struct sockaddr_storage sa;
    socklen_t len = sizeof sa;
    endpoint_t at = {0};
    int last = FIRST + count - 1;
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    if (fd < 0 || listen(fd, 1) < 0 || getsockname(fd, (struct sockaddr *)&sa, &len) < 0 ||
        endpoint_from_sockaddr((const struct sockaddr *)&sa, &at) || dup2(fd, last) < 0)
      _exit(1);
    if (fd != last)
      close(fd);
    snprintf(text, sizeof text, "%d", (int)getpid());
    setenv("LISTEN_PID", text, 1);
    snprintf(text, sizeof text, "%d", count);
    setenv("LISTEN_FDS", text, 1);
    int found = bind_inherited(&at);
    _exit(found < 0 ? NONE : found);
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status));
  return WEXITSTATUS(status);
}

static void as_many_listeners_are_taken_over_as_the_limit_says(void **state)
{
  (void)state;
  assert_int_equal(found_among(BIND_INHERITED_MAX), 3 + BIND_INHERITED_MAX - 1);
  assert_int_equal(found_among(BIND_INHERITED_MAX + 1), 255);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(of_a_folder_as_many_files_are_looked_at_as_the_limit_says),
      cmocka_unit_test(as_many_listeners_are_taken_over_as_the_limit_says),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
