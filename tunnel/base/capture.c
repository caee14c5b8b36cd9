/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/base/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"

extern char **environ;

enum { LOOK_MS = 10 };

/* Our environment behind one more variable; to be freed. */
static char **environment(const char *first)
{
  size_t count = 0;
  while (environ[count])
    count++;
  char **all = calloc(count + 2, sizeof *all);
  if (!all)
    return NULL;
  all[0] = (char *)first;
  for (size_t i = 0; i < count; i++)
    all[i + 1] = environ[i];
  return all;
}

static int spawn(const capture_t *c, const posix_spawn_file_actions_t *actions, pid_t *pid)
{
  char **env = c->variable ? environment(c->variable) : environ;
  posix_spawnattr_t how;
  posix_spawnattr_init(&how);
  posix_spawnattr_setflags(&how, c->alone ? POSIX_SPAWN_SETSID : c->group ? POSIX_SPAWN_SETPGROUP : 0);
  int error = env ? posix_spawnp(pid, c->argv[0], actions, &how, (char *const *)c->argv, env) : ENOMEM;
  posix_spawnattr_destroy(&how);
  if (c->variable)
    free(env);
  return error;
}

static int start(const capture_t *c, pid_t *pid, int *out)
{
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0)
    return errno;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (c->in >= 0)
    posix_spawn_file_actions_adddup2(&actions, c->in, 0);
  else
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
  if (c->quiet)
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  if (c->third > 0)
    posix_spawn_file_actions_adddup2(&actions, c->third, 3);
  int error = spawn(c, &actions, pid);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  if (error)
    close(ends[0]);
  *out = ends[0];
  return error;
}

/* All that comes, with a NUL. NULL: too much, too late, no memory. */
static char *read_all(int fd, const capture_t *c, uint64_t until)
{
  char *text = malloc(c->most + 2);
  size_t used = 0;
  while (text) {
    uint64_t now = clock_mono_ms();
    struct pollfd p = {fd, POLLIN, 0};
    ssize_t n =
        now < until && poll(&p, 1, (int)(until - now)) > 0 ? read(fd, text + used, c->most + 1 - used) : -1;
    if (n < 0 && errno == EINTR)
      continue;
    if (n == 0)
      break;
    used += n > 0 ? (size_t)n : 0;
    if (n < 0 || used > c->most) {
      free(text);
      return NULL;
    }
  }
  if (text)
    text[used] = '\0';
  return text;
}

/* Whether it has ended in time. Its output may be over long before. */
static bool wait_for_end(pid_t pid, uint64_t until, int *status)
{
  int fd = pidfd_open(pid, 0); /* where there is none it is looked at now and then */
  pid_t ended;
  while ((ended = waitpid(pid, status, WNOHANG)) == 0) {
    uint64_t now = clock_mono_ms();
    struct pollfd p = {fd, POLLIN, 0};
    if (now >= until)
      break;
    poll(&p, 1, fd >= 0 ? (int)(until - now) : LOOK_MS);
  }
  if (fd >= 0)
    close(fd);
  return ended == pid;
}

int capture_run(const capture_t *c, char **text, bool *fine)
{
  pid_t pid = 0;
  int fd = -1;
  *text = NULL;
  *fine = false;
  int error = start(c, &pid, &fd);
  if (error)
    return error;
  if (c->group)
    atomic_store(c->group, (int)pid);
  uint64_t until = clock_mono_ms() + (uint64_t)c->ms;
  *text = read_all(fd, c, until);
  close(fd);
  int status = 0;
  if (*text && wait_for_end(pid, until, &status)) {
    *fine = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (c->group)
      atomic_store(c->group, 0);
    return 0;
  }
  free(*text);
  *text = NULL;
  kill(c->group || c->alone ? -pid : pid, SIGKILL);
  if (c->group)
    atomic_store(c->group, 0);
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
    ;
  return 0;
}

void capture_end(atomic_int *group)
{
  int pid = group ? atomic_exchange(group, 0) : 0;
  if (pid > 0)
    kill(-pid, SIGKILL);
}
