/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/run/later.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdnoreturn.h>
#include <sys/wait.h>
#include <unistd.h>

/* The loop's handlers would write into pipes that are the parent's too. */
static void forget_signals(void)
{
  static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGCONT, SIGWINCH, SIGCHLD};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
    signal(numbers[i], SIG_DFL);
}

static noreturn void wait_and_act(int go, int report, later_work_t work, void *ctx)
{
  char word;
  ssize_t n;
  do
    n = read(go, &word, 1);
  while (n < 0 && errno == EINTR);
  if (n != 1)
    _exit(0);
  int error = work(ctx);
  n = error != 0 ? write(report, &error, sizeof error) : 0;
  _exit(n < 0 || error != 0);
}

bool later_make(later_t *l, later_work_t work, void *ctx)
{
  int go[2], report[2];
  *l = (later_t){0, -1, -1};
  if (pipe2(go, O_CLOEXEC) < 0)
    return false;
  if (pipe2(report, O_CLOEXEC) < 0) {
    close(go[0]);
    close(go[1]);
    return false;
  }
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0) {
    forget_signals();
    close(go[1]);
    close(report[0]);
    wait_and_act(go[0], report[1], work, ctx);
  }
  close(go[0]);
  close(report[1]);
  if (pid < 0) {
    close(go[1]);
    close(report[0]);
    return false;
  }
  *l = (later_t){pid, go[1], report[0]};
  return true;
}

int later_start(later_t *l)
{
  int error = 0;
  ssize_t n = write(l->go, "", 1);
  close(l->go);
  l->go = -1;
  if (n != 1)
    error = errno; /* it was killed meanwhile */
  else
    do
      n = read(l->report, &error, sizeof error);
    while (n < 0 && errno == EINTR);
  close(l->report);
  return n == 0 ? 0 : error;
}

bool later_waits(const later_t *l)
{
  return l->pid > 0 && l->go >= 0;
}

void later_drop(later_t *l)
{
  if (!later_waits(l))
    return;
  close(l->go);
  close(l->report);
  waitpid(l->pid, NULL, 0);
  *l = (later_t){0, -1, -1};
}
