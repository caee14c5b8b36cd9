/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/speaker/speaker_walls.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/count.h"
#include "common/base/error.h"
#include "common/process/landlock.h"
#include "common/process/seal.h"
#include "tunnel/speaker/pair.h"

enum { OWN_FDS = 16 }; /* beside those of connections */

/* All that libssh, OpenSSL and malloc were seen to need. A call outside the list ends the process. */
static const seal_rule_t calls[] = {
    SEAL_CALL(poll),
    SEAL_CALL(recvfrom),
    /* An address beside the bytes would connect again (MSG_FASTOPEN) a socket that was given connected. */
    SEAL_CALL_IF(sendto, SEAL_ARG(4, IS, 0)),
    /* Addresses and descriptors can stand in these: with the supervisor alone. */
    SEAL_CALL_IF(sendmsg, SEAL_ARG(0, IS, SPEAKER_PAIR_FD)),
    SEAL_CALL_IF(recvmsg, SEAL_ARG(0, IS, SPEAKER_PAIR_FD)),
    SEAL_CALL(close),
    SEAL_CALL(shutdown),
    SEAL_CALL_IF(fcntl, SEAL_ARG(1, IS, F_GETFL)),
    SEAL_CALL_IF(fcntl, SEAL_ARG(1, IS, F_SETFL), SEAL_ARG(2, WITHOUT, O_ASYNC)),
    SEAL_CALL_IF(setsockopt, SEAL_ARG(1, IS, IPPROTO_TCP)),
    SEAL_CALL(getsockopt),
    /* the standard three descriptors become nothing's */
    SEAL_CALL_IF(dup2, SEAL_ARG(0, IS, SPEAKER_VOID_FD)),
    SEAL_CALL_IF(dup3, SEAL_ARG(0, IS, SPEAKER_VOID_FD)),
    SEAL_CALL(getpid),
    SEAL_CALL(futex),
    SEAL_CALL(brk),
    /* Memory that can be executed is never needed. */
    SEAL_CALL_IF(mmap, SEAL_ARG(2, WITHOUT, PROT_EXEC)),
    SEAL_CALL(munmap),
    SEAL_CALL(mremap),
    SEAL_CALL(exit_group),
    SEAL_CALL(getrandom),
    SEAL_CALL(clock_gettime),
    SEAL_CALL(restart_syscall),
    SEAL_CALL(rt_sigreturn),
    SEAL_CALL(madvise),
    SEAL_CALL(gettimeofday),
#ifdef SMPL_SANITIZER
    /* What the sanitizers' run time needs to report and to manage its shadow. */
    SEAL_CALL(write),
    SEAL_CALL(writev),
    SEAL_CALL(sigaltstack),
    SEAL_CALL(mprotect),
    SEAL_CALL(gettid),
    SEAL_CALL(tgkill),
    SEAL_CALL(rt_sigaction),
    SEAL_CALL(rt_sigprocmask),
    SEAL_CALL(sched_yield),
    SEAL_CALL(read),
    SEAL_CALL(getrlimit),
    SEAL_CALL(prlimit64),
#endif
};

/* libssh looks for known_hosts whatever it is told, and does without. */
static const seal_rule_t missed[] = {
    SEAL_CALL(open),      SEAL_CALL(openat),     SEAL_CALL(stat),
    SEAL_CALL(lstat),     SEAL_CALL(newfstatat), SEAL_CALL(access),
    SEAL_CALL(faccessat), SEAL_CALL(readlink),   SEAL_CALL(readlinkat),
};

/* What it may not have more of than it was given. */
static bool limit(void)
{
  struct rlimit files;
  const int none[] = {RLIMIT_NPROC, RLIMIT_CORE};
  bool ok = getrlimit(RLIMIT_NOFILE, &files) == 0;
  if (files.rlim_max > TUNNEL_CONNECTIONS_MAX + OWN_FDS)
    files.rlim_max = TUNNEL_CONNECTIONS_MAX + OWN_FDS;
  files.rlim_cur = files.rlim_max;
  ok = ok && setrlimit(RLIMIT_NOFILE, &files) == 0;
  for (size_t i = 0; i < COUNT_OF(none); i++) {
    struct rlimit r = {0, 0};
    ok = ok && setrlimit((__rlimit_resource_t)none[i], &r) == 0;
  }
  return ok;
}

static bool seal(void)
{
  seal_t *list = seal_new(SEAL_END);
  seal_add(list, SEAL_ALLOW, calls, COUNT_OF(calls));
  seal_add(list, SEAL_REFUSE, missed, COUNT_OF(missed));
  return seal_load(list, false) == SMPL_OK;
}

uint32_t speaker_seal(void)
{
  uint32_t walls = 0;
#ifndef SMPL_SANITIZER /* whose run time reads and writes files, and traces its own process */
  if (prctl(PR_SET_DUMPABLE, 0) < 0)
    pair_end();
#endif
  if (limit())
    walls |= SPEECH_WALL_RLIMITS;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
    pair_end();
  if (landlock_enforce(LANDLOCK_LEFT_OUT ? NULL : landlock_new(true))) /* nothing is allowed */
    walls |= SPEECH_WALL_LANDLOCK;
  if (!seal())
    pair_end();
  walls |= SPEECH_WALL_SECCOMP;
#ifndef SMPL_SANITIZER
  for (int fd = 0; fd <= STDERR_FILENO; fd++)
    dup2(SPEAKER_VOID_FD, fd);
#endif
  return walls;
}
