/* SPDX-License-Identifier: Apache-2.0 */
/* What the allow-list of system calls lets through and what it does not, in a child that seals itself. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "resolver/control/walls.h"

/* The child's status after it sealed itself and did what try does; its result is the exit status. */
static int sealed(int (*try)(void))
{
  int status = 0;
  fflush(NULL);
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    walls_t walls = {0};
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    walls_seal(&walls, -1);
    _exit(walls.seccomp ? try() : 99);
  }
  assert_int_equal(waitpid(pid, &status, 0), pid);
  return status;
}

static void check_works(int (*try)(void))
{
  int status = sealed(try);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 0);
}

static int read_a_file(void)
{
  char byte;
  int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
  return fd >= 0 && read(fd, &byte, 1) == 1 && close(fd) == 0 ? 0 : 1;
}

static int watch_a_folder(void)
{
  int fd = inotify_init1(IN_CLOEXEC);
  return fd >= 0 && inotify_add_watch(fd, "/", IN_MOVED_TO) >= 0 ? 0 : 1;
}

static int take_memory(void)
{
  void *p = malloc(64 << 20);
  memset(p, 1, 64 << 20);
  free(p);
  return p == NULL;
}

static void what_reloads_need_works(void **state)
{
  (void)state;
  check_works(read_a_file);
  check_works(watch_a_folder);
  check_works(take_memory);
}

#ifndef SMPL_SANITIZER
static int denied(long result)
{
  return result == -1 && errno == EPERM ? 0 : 1;
}

static int make_a_file(void)
{
  return denied(open("test_walls.made", O_WRONLY | O_CREAT, 0600));
}

static int write_a_file(void)
{
  return denied(open("/proc/self/comm", O_RDWR));
}

static int make_a_socket(void)
{
  return denied(socket(AF_INET, SOCK_STREAM, 0));
}

static int make_code(void)
{
  void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED || denied(mprotect(p, 4096, PROT_READ | PROT_EXEC)))
    return 1;
  return denied((long)(intptr_t)mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

static int make_a_process(void)
{
  return denied(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
}

static int run_a_program(void)
{
  execl("/bin/true", "true", (char *)NULL);
  return 1;
}

static void the_rest_is_refused(void **state)
{
  (void)state;
  check_works(make_a_file);
  assert_int_equal(access("test_walls.made", F_OK), -1);
  check_works(write_a_file);
  check_works(make_a_socket);
  check_works(make_code);
  check_works(make_a_process);
}

static void running_a_program_is_the_end(void **state)
{
  (void)state;
  int status = sealed(run_a_program);
  assert_true(WIFSIGNALED(status));
  assert_int_equal(WTERMSIG(status), SIGSYS);
}
#endif

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_reloads_need_works),
#ifndef SMPL_SANITIZER
      cmocka_unit_test(the_rest_is_refused),
      cmocka_unit_test(running_a_program_is_the_end),
#endif
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
