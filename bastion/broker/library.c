/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/broker/library.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"

enum { ANSWER_MAX = 512 };

static pid_t start(const char *worker, int out)
{
  char *const argv[] = {(char *)(uintptr_t)worker, (char *)(uintptr_t) "--version", NULL};
  char *const env[] = {NULL};
  posix_spawn_file_actions_t actions;
  pid_t pid = -1;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  if (posix_spawn(&pid, worker, &actions, NULL, argv, env) != 0)
    pid = -1;
  posix_spawn_file_actions_destroy(&actions);
  return pid;
}

static size_t read_all(int fd, char *text, size_t cap)
{
  size_t used = 0;
  ssize_t n;
  while (used < cap && (n = read(fd, text + used, cap - used)) > 0)
    used += (size_t)n;
  return used;
}

void library_ask(const char *worker, char *version)
{
  static const char word[] = "\nlibssh ";
  char text[ANSWER_MAX];
  int ends[2];
  version[0] = '\0';
  if (pipe2(ends, O_CLOEXEC) < 0)
    return;
  pid_t pid = start(worker, ends[1]);
  close(ends[1]);
  text[pid > 0 ? read_all(ends[0], text, sizeof text - 1) : 0] = '\0';
  close(ends[0]);
  if (pid > 0)
    waitpid(pid, NULL, 0);
  char *at = strstr(text, word);
  if (at == NULL)
    return;
  at += sizeof word - 1;
  at[strcspn(at, "\n/")] = '\0'; /* behind a slash: what it was built with */
  if (text_copy(version, LIBSSH_VERSION_MAX, at))
    version[0] = '\0';
}

int library_check(const char *version, const libssh_conf_t *conf, const char *config_path, diag_t *diag)
{
  char warning[LIBSSH_WARNING_MAX];
  int err = libssh_check(version[0] != '\0' ? version : NULL, conf, config_path, warning, diag);
  if (!err && warning[0] != '\0')
    log_warn("%s", warning);
  return err;
}
