#include "bastion/worker_seal.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bastion/msg.h"
#include "bastion/worker.h"
#include "common/error.h"
#include "common/ssh_pump.h"

enum {
  /* Descriptors before any channel: standard ones, the pair, the client. */
  OWN_FDS = 5,
  /* Bytes of address space: libraries and libssh's buffers, then what a stalled channel may hold. */
  MEMORY_BASE = 192 << 20,
  MEMORY_CHANNEL = 3 << 20,
  /* Uids that nobody has (above those that systemd gives out), plus the process id: one each. */
  UID_BASE = 0x70000000,
  UID_NOBODY = 65534,
};

/* ---- template ---- */

/* A folder without a name: nothing can be made in it, not even by root. */
static int enter_empty_root(diag_t *diag)
{
  char path[] = "/tmp/smpl-bastion-XXXXXX";
  if (!mkdtemp(path))
    return diag_fail_errno(diag, "cannot create an empty root (%s)", path);
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  rmdir(path);
  if (fd < 0)
    return diag_fail_errno(diag, "cannot open the empty root");
  int rc = fchdir(fd) < 0 || chroot(".") < 0 ? -1 : 0;
  close(fd);
  return rc == 0 ? SMPL_OK : diag_fail_errno(diag, "cannot enter the empty root");
}

static int drop_capabilities(void)
{
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2] = {{0}, {0}};
  return syscall(SYS_capset, &header, data) == 0 ? SMPL_OK : SMPL_ESYS;
}

/* Bits that Debian's header does not know yet. A kernel that is older is asked for less. */
enum {
  LL_FS_REFER = 1 << 13,
  LL_FS_TRUNCATE = 1 << 14,
  LL_FS_IOCTL_DEV = 1 << 15,
  LL_NET_BIND_CONNECT = 3,
  LL_SCOPE_ABSTRACT_UNIX = 1,
};

static bool landlock_nothing_allowed(void)
{
  struct {
    uint64_t fs;
    uint64_t net;
    uint64_t scoped;
  } rules = {(1u << 13) - 1, 0, 0};
  long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (abi < 1)
    return false;
  size_t size = sizeof rules.fs;
  if (abi >= 2)
    rules.fs |= LL_FS_REFER;
  if (abi >= 3)
    rules.fs |= LL_FS_TRUNCATE;
  if (abi >= 4) {
    rules.net = LL_NET_BIND_CONNECT;
    size = sizeof rules.fs + sizeof rules.net;
  }
  if (abi >= 5)
    rules.fs |= LL_FS_IOCTL_DEV;
  if (abi >= 6) {
    rules.scoped = LL_SCOPE_ABSTRACT_UNIX;
    size = sizeof rules;
  }
  int fd = (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0);
  if (fd < 0)
    return false;
  bool stands = syscall(SYS_landlock_restrict_self, fd, 0) == 0;
  close(fd);
  return stands;
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
  if (landlock_nothing_allowed())
    *walls |= MSG_WALL_LANDLOCK;
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
      {RLIMIT_NOFILE, OWN_FDS + channels_max},
#ifndef SMPL_SANITIZER
      {RLIMIT_AS, (rlim_t)MEMORY_BASE + (rlim_t)MEMORY_CHANNEL * channels_max},
#endif
  };
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    struct rlimit r = {all[i].value, all[i].value};
    if (setrlimit((__rlimit_resource_t)all[i].what, &r) < 0)
      return fallen(diag, "setrlimit");
  }
  signal(SIGXFSZ, SIG_IGN); /* a log file as standard error must not kill the session */
  *walls |= MSG_WALL_RLIMITS;
  return SMPL_OK;
}

/* All that libssh, OpenSSL and malloc were seen to need. A call outside the list ends the process, one for a file too: what
 * is only refused would be on no record. */
static const int allowed[] = {
    SCMP_SYS(poll),
    SCMP_SYS(recvfrom),
    SCMP_SYS(close),
    SCMP_SYS(shutdown),
    SCMP_SYS(getpid),
    SCMP_SYS(futex),
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(exit_group),
    SCMP_SYS(getrandom),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(madvise),
    SCMP_SYS(gettimeofday),
#ifdef SMPL_SANITIZER
    /* What the sanitizers' run time needs to report and to manage its shadow. */
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(mprotect),
    SCMP_SYS(gettid),
    SCMP_SYS(tgkill),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(sched_yield),
    SCMP_SYS(read),
    SCMP_SYS(getrlimit),
    SCMP_SYS(prlimit64),
#endif
};

#ifdef SMPL_SANITIZER
/* A report looks for names; it shall come out without them. */
static const int denied[] = {
    SCMP_SYS(open),   SCMP_SYS(openat),    SCMP_SYS(stat),     SCMP_SYS(lstat),      SCMP_SYS(newfstatat),
    SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(readlink), SCMP_SYS(readlinkat),
};
#endif

/* Calls whose arguments matter. */
static int fill_narrowed(scmp_filter_ctx filter)
{
  const struct scmp_arg_cmp pair = SCMP_A0(SCMP_CMP_EQ, WORKER_PAIR_FD, 0);
  const struct scmp_arg_cmp nowhere = SCMP_A4(SCMP_CMP_EQ, 0, 0);
  const struct scmp_arg_cmp unexecutable = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
  /* An address beside the bytes would connect again (MSG_FASTOPEN) a socket that was given connected. */
  int rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(sendto), 1, nowhere);
  if (rc == 0) /* addresses and descriptors can stand in these: with the broker alone */
    rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(sendmsg), 1, pair);
  if (rc == 0)
    rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(recvmsg), 1, pair);
  if (rc == 0) /* memory that can be executed is never needed */
    rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, unexecutable);
  return rc;
}

static int fill_filter(scmp_filter_ctx filter)
{
  int rc = fill_narrowed(filter);
  for (size_t i = 0; i < sizeof allowed / sizeof *allowed && rc == 0; i++)
    rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
#ifdef SMPL_SANITIZER
  for (size_t i = 0; i < sizeof denied / sizeof *denied && rc == 0; i++)
    rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), denied[i], 0);
#endif
  return rc;
}

static int syscalls(uint32_t *walls, diag_t *diag)
{
  scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
  if (!filter)
    return diag_fail(diag, SMPL_ENOMEM, "seccomp: out of memory");
  int rc = fill_filter(filter);
  if (rc == 0)
    rc = seccomp_load(filter);
  seccomp_release(filter);
  if (rc != 0) {
    errno = -rc;
    return fallen(diag, "seccomp");
  }
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
