/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/worker/worker_seal.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bastion/contract/msg.h"
#include "common/base/count.h"
#include "common/base/error.h"
#include "common/process/landlock.h"
#include "common/process/seal.h"
#include "common/ssh/ssh_pump.h"

enum {
  /* Uids that nobody has (above those that systemd gives out), plus the process id: one each. */
  UID_BASE = 0x70000000,
  UID_NOBODY = 65534,
};

/* ---- template ---- */

/* The folder of a process in /proc is empty for ever once the process is gone, nothing can be made in it, and
 * no process of the same number gets it. A child that shares root and working folder with us enters its own,
 * and ends. */
static int enter_proc(void)
{
  int status = 0;
  pid_t pid = (pid_t)syscall(SYS_clone, CLONE_FS | SIGCHLD, 0, 0, 0, 0);
  if (pid == 0)
    _exit(chdir("/proc/self") < 0 || chroot(".") < 0 ? 1 : 0);
  while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return pid > 0 && status == 0 ? SMPL_OK : SMPL_ESYS;
}

/* Where there is no /proc: a folder without a name. */
static int enter_removed_folder(diag_t *diag)
{
  char path[] = "/tmp/smpl-bastion-XXXXXX";
  if (mkdtemp(path) == NULL)
    return diag_fail_errno(diag, "cannot create an empty root (%s)", path);
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  rmdir(path);
  if (fd < 0)
    return diag_fail_errno(diag, "cannot open the empty root");
  int rc = fchdir(fd) < 0 || chroot(".") < 0 ? -1 : 0;
  close(fd);
  return rc == 0 ? SMPL_OK : diag_fail_errno(diag, "cannot enter the empty root");
}

/* Nothing is in it and nothing can be made in it, not even by root. */
static int enter_empty_root(diag_t *diag)
{
  return enter_proc() == SMPL_OK ? SMPL_OK : enter_removed_folder(diag);
}

static int drop_capabilities(void)
{
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2] = {{0}, {0}};
  return syscall(SYS_capset, &header, data) == 0 ? SMPL_OK : SMPL_ESYS;
}

/* What a template does once its walls stand, beside what its workers do, which inherit this list: it forks,
 * ends and buries them. Before it, the launcher's list stood alone (walls.c). */
static const seal_rule_t template_calls[] = {
    SEAL_CALL(recvfrom),
    SEAL_CALL_IF(sendto, SEAL_ARG(4, IS, 0)),
    SEAL_CALL(poll),
    SEAL_CALL(ppoll),
    SEAL_CALL(recvmsg),
    SEAL_CALL_IF(sendmsg, SEAL_ARG(2, WITHOUT, MSG_FASTOPEN)),
    SEAL_CALL(close),
    SEAL_CALL(close_range),
    SEAL_CALL(shutdown),
    SEAL_CALL(clone),
    SEAL_CALL(wait4),
    SEAL_CALL_IF(kill, SEAL_ARG(1, IS, SIGKILL)), /* whom else: Landlock says */
    SEAL_CALL(read),
    SEAL_CALL(readv),
    SEAL_CALL(write),
    SEAL_CALL(writev),
    SEAL_CALL(fstat),
    SEAL_CALL(newfstatat),
    SEAL_CALL(dup2),
    SEAL_CALL(dup3),
    SEAL_CALL_IF(fcntl, SEAL_ARG(1, IS, F_DUPFD)),
    SEAL_CALL_IF(fcntl, SEAL_ARG(1, IS, F_DUPFD_CLOEXEC)),
    SEAL_CALL_IF(fcntl, SEAL_ARG(1, IS, F_GETFL)),
    SEAL_CALL_IF(fcntl, SEAL_ARG(1, IS, F_SETFL), SEAL_ARG(2, WITHOUT, O_ASYNC)),
    /* its workers, until theirs stand */
    SEAL_CALL(getsockopt),
    SEAL_CALL(getsockname),
    SEAL_CALL(getpeername),
    SEAL_CALL_IF(setsockopt, SEAL_ARG(1, IS, SOL_SOCKET), SEAL_ARG(2, IS, SO_KEEPALIVE)),
    SEAL_CALL_IF(setsockopt, SEAL_ARG(1, IS, IPPROTO_TCP)),
    SEAL_CALL(setgroups),
    SEAL_CALL(setresgid),
    SEAL_CALL(setresuid),
    SEAL_CALL(setrlimit),
    SEAL_CALL_IF(prlimit64, SEAL_ARG(0, IS, 0)),
    SEAL_CALL_IF(prctl, SEAL_ARG(0, IS, PR_SET_DUMPABLE), SEAL_ARG(1, IS, 0)),
    SEAL_CALL_IF(prctl, SEAL_ARG(0, IS, PR_SET_NO_NEW_PRIVS)),
    SEAL_CALL_IF(prctl, SEAL_ARG(0, IS, PR_SET_SECCOMP)),
    SEAL_CALL_IF(prctl, SEAL_ARG(0, IS, PR_GET_SECCOMP)),
    SEAL_CALL(seccomp),
};

static bool seal_template(void)
{
  seal_t *seal = seal_new(SEAL_REFUSE);
  seal_add(seal, SEAL_ALLOW, template_calls, COUNT_OF(template_calls));
  seal_add(seal, SEAL_ALLOW, seal_runtime, seal_runtime_count);
#ifdef SMPL_SANITIZER
  seal_add(seal, SEAL_ALLOW, seal_wide, seal_wide_count);
  seal_add(seal, SEAL_ALLOW, seal_files, seal_files_count);
#else
  seal_add(seal, SEAL_MISS, seal_absent, seal_absent_count);
  seal_add(seal, SEAL_END, seal_never, seal_never_count);
#endif
  return seal_load(seal, false) == SMPL_OK;
}

int worker_seal_template(uint32_t *walls, diag_t *diag)
{
  bool root = geteuid() == 0;
  const int apart = CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWNS;
  *walls = 0;
  /* Without root, a user namespace is what allows an empty root. As root, namespaces are one wall more. */
  bool namespaces = unshare(root ? apart : apart | CLONE_NEWUSER) == 0;
  if (namespaces && !root)
    *walls |= MSG_WALL_USER_NAMESPACE;
  if (root || namespaces) {
    int err = enter_empty_root(diag);
    if (err && root)
      return err;
    if (!err)
      *walls |= MSG_WALL_EMPTY_ROOT;
  }
  if (namespaces && !root && drop_capabilities() != SMPL_OK)
    return diag_fail_errno(diag, "cannot give up the capabilities of the user namespace");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
    return diag_fail_errno(diag, "no_new_privs");
  if (landlock_enforce(landlock_new(true))) /* nothing is allowed */
    *walls |= MSG_WALL_LANDLOCK;
  if (!seal_template())
    return diag_fail_errno(diag, "seccomp");
  return SMPL_OK;
}

/* ---- worker ---- */

/* A wall that the caller's errno explains. */
static int fallen(diag_t *diag, const char *what)
{
  return diag_fail_errno(diag, "%s", what);
}

static int own_uid(uint32_t *walls, diag_t *diag)
{
  if (geteuid() != 0)
    return SMPL_OK;
  uid_t uid = (uid_t)(UID_BASE + getpid());
  if (setgroups(0, NULL) < 0)
    return fallen(diag, "setgroups");
  if (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0) {
    uid = UID_NOBODY; /* a container that maps few uids */
    if (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
      return fallen(diag, "setresuid");
  }
  *walls |= MSG_WALL_OWN_UID;
  return SMPL_OK;
}

static int limits(uint32_t channels_max, uint32_t *walls, diag_t *diag)
{
  const struct {
    int what;
    rlim_t value;
  } all[] = {
      {RLIMIT_NPROC, 0},
      {RLIMIT_FSIZE, 0},
      {RLIMIT_CORE, 0},
      /* One more descriptor than granted channels is dropped by the kernel, and the open refused. */
      {RLIMIT_NOFILE, WORKER_OWN_FDS + channels_max},
#ifndef SMPL_SANITIZER
      {RLIMIT_AS, (rlim_t)WORKER_MEMORY_BASE + (rlim_t)WORKER_MEMORY_CHANNEL * channels_max},
#endif
  };
  for (size_t i = 0; i < COUNT_OF(all); i++) {
    struct rlimit r = {all[i].value, all[i].value};
    if (setrlimit((__rlimit_resource_t)all[i].what, &r) < 0)
      return fallen(diag, "setrlimit");
  }
  signal(SIGXFSZ, SIG_IGN); /* a log file as standard error must not kill the session */
  *walls |= MSG_WALL_RLIMITS;
  return SMPL_OK;
}

/* All that libssh, OpenSSL and malloc were seen to need. A call outside the list ends the process, one for a
 * file too: what is only refused would be on no record. */
static const seal_rule_t worker_calls[] = {
    SEAL_CALL(poll),
    SEAL_CALL(recvfrom),
    /* An address beside the bytes would connect again (MSG_FASTOPEN) a socket that was given connected. */
    SEAL_CALL_IF(sendto, SEAL_ARG(4, IS, 0)),
    /* Addresses and descriptors can stand in these: with the broker alone. */
    SEAL_CALL_IF(sendmsg, SEAL_ARG(0, IS, WORKER_PAIR_FD)),
    SEAL_CALL_IF(recvmsg, SEAL_ARG(0, IS, WORKER_PAIR_FD)),
    SEAL_CALL(close),
    SEAL_CALL(shutdown),
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

#ifdef SMPL_SANITIZER
/* A report looks for names; it shall come out without them. */
static const seal_rule_t refused[] = {
    SEAL_CALL(open),      SEAL_CALL(openat),     SEAL_CALL(stat),
    SEAL_CALL(lstat),     SEAL_CALL(newfstatat), SEAL_CALL(access),
    SEAL_CALL(faccessat), SEAL_CALL(readlink),   SEAL_CALL(readlinkat),
};
#endif

static int syscalls(uint32_t *walls, diag_t *diag)
{
  seal_t *seal = seal_new(SEAL_END);
  seal_add(seal, SEAL_ALLOW, worker_calls, COUNT_OF(worker_calls));
#ifdef SMPL_SANITIZER
  seal_add(seal, SEAL_REFUSE, refused, COUNT_OF(refused));
#endif
  if (seal_load(seal, false) != SMPL_OK)
    return fallen(diag, "seccomp");
  *walls |= MSG_WALL_SECCOMP;
#ifdef SMPL_SANITIZER
  *walls |= MSG_WALL_SANITIZER;
#endif
  return SMPL_OK;
}

int worker_seal(uint32_t channels_max, uint32_t *walls, diag_t *diag)
{
  int err = own_uid(walls, diag);
  if (!err)
    err = limits(channels_max, walls, diag);
  if (err)
    return err;
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
    return fallen(diag, "prctl");
  *walls |= MSG_WALL_NO_NEW_PRIVS;
  return syscalls(walls, diag);
}
