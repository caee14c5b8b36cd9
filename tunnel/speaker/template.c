/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/speaker/template.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdnoreturn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/count.h"
#include "common/base/error.h"
#include "common/process/packet.h"
#include "tunnel/speaker/exchange.h"
#include "tunnel/speaker/pair.h"
#include "tunnel/speaker/speaker.h"

enum { SOCK_FD = SPEAKER_PAIR_FD }; /* the template's own end stands where its speakers' do */

/* ---- in the template ---- */

/* Whoever ends the supervisor from the terminal ends us through it. */
static void ignore_signals(void)
{
  static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
  for (size_t i = 0; i < COUNT_OF(numbers); i++)
    signal(numbers[i], SIG_IGN);
}

static bool die_with(pid_t parent)
{
  return prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent;
}

/* fd on the number that the walls know, and no other descriptor but the void and standard error, which the
 * speaker's walls close. */
static bool keep(int fd)
{
  int high = fcntl(fd, F_DUPFD_CLOEXEC, SPEAKER_PAIR_FD + 1);
  int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
  return high >= 0 && nothing >= 0 && dup2(high, SPEAKER_PAIR_FD) >= 0 &&
         dup2(nothing, SPEAKER_VOID_FD) >= 0 && dup2(nothing, STDIN_FILENO) >= 0 &&
         dup2(nothing, STDOUT_FILENO) >= 0 && close_range(SPEAKER_PAIR_FD + 1, ~0u, 0) == 0;
}

static noreturn void become_speaker(int pair, pid_t template, gauge_t *gauge)
{
  prctl(PR_SET_NAME, "smpl-speaker");
  if (!die_with(template) || dup2(pair, SPEAKER_PAIR_FD) < 0 || close_range(SPEAKER_PAIR_FD + 1, ~0u, 0) < 0)
    _exit(1);
  speaker_run(gauge);
}

static void end_speaker(pid_t *pid)
{
  if (*pid <= 0)
    return;
  kill(*pid, SIGKILL);
  waitpid(*pid, NULL, 0);
  *pid = 0;
}

static noreturn void serve(gauge_t *gauge)
{
  pid_t speaker = 0, self = getpid();
  char word;
  size_t len;
  int pair;
  bool lost;
  while (packet_receive(SOCK_FD, &word, sizeof word, &len, &pair, &lost) == SMPL_OK) {
    end_speaker(&speaker);
    if (pair < 0)
      continue;
    atomic_store(&gauge->received, 0);
    atomic_store(&gauge->up, 0);
    atomic_store(&gauge->down, 0);
    speaker = fork();
    if (speaker == 0)
      become_speaker(pair, self, gauge);
    close(pair);
  }
  end_speaker(&speaker);
  _exit(0);
}

/* ---- in the supervisor ---- */

int template_start(template_t *t)
{
  int ends[2];
  pid_t self = getpid();
  *t = (template_t){0, -1, NULL};
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
    return SMPL_ESYS;
  exchange_warm(); /* here: what OpenSSL makes is in the memory of all three once */
  void *gauge = mmap(NULL, sizeof(gauge_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  pid_t pid = gauge == MAP_FAILED ? -1 : fork();
  if (pid == 0) {
    ignore_signals();
    prctl(PR_SET_NAME, "smpl-template");
    if (!die_with(self) || !keep(ends[1]))
      _exit(1);
    serve(gauge);
  }
  close(ends[1]);
  if (pid < 0) {
    close(ends[0]);
    if (gauge != MAP_FAILED)
      munmap(gauge, sizeof(gauge_t));
    return SMPL_ESYS;
  }
  *t = (template_t){pid, ends[0], gauge};
  return SMPL_OK;
}

int template_spawn(template_t *t, int *pair)
{
  int ends[2];
  *pair = -1;
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
    return SMPL_ESYS;
  int err = packet_send(t->sock, "s", 1, ends[1]);
  close(ends[1]);
  if (err)
    close(ends[0]);
  else
    *pair = ends[0];
  return err;
}

void template_kill(template_t *t)
{
  packet_send(t->sock, "k", 1, -1);
}

void template_end(template_t *t)
{
  if (t->pid <= 0)
    return;
  close(t->sock);
  waitpid(t->pid, NULL, 0);
  munmap(t->gauge, sizeof *t->gauge);
  *t = (template_t){0, -1, NULL};
}
