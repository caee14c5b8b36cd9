#include "resolver/walls.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/error.h"
#include "common/harden.h"
#include "common/log.h"

/* --- the user --- */

int walls_check_user(const settings_t *settings, diag_t *diag)
{
  if (settings->user == NULL || getpwnam(settings->user) != NULL)
    return SMPL_OK;
  return conf_fail(settings->conf, diag, &settings->user, "user: there is no user '%s'", settings->user);
}

static int check_readable(const settings_t *settings, const char *config, diag_t *diag)
{
  static const char text[] =
      "user '%s' cannot read %s: reloads would fail; let it read the file and enter its folders";
  if (faccessat(AT_FDCWD, config, R_OK, AT_EACCESS) < 0)
    return diag_fail(diag, SMPL_EDENIED, text, settings->user, config);
  for (size_t i = 0; i < settings->zones.count; i++) {
    const char *file = settings_zone_at(settings, i)->file;
    if (faccessat(AT_FDCWD, file, R_OK, AT_EACCESS) < 0)
      return diag_fail(diag, SMPL_EDENIED, text, settings->user, file);
  }
  return SMPL_OK;
}

static int become(const settings_t *settings, const struct passwd *pw, diag_t *diag)
{
  if (lchown(settings->control, pw->pw_uid, pw->pw_gid) < 0)
    return diag_fail_errno(diag, "%s: cannot be given to user '%s'", settings->control, settings->user);
  if (initgroups(settings->user, pw->pw_gid) < 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
      setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0)
    return diag_fail_errno(diag, "cannot become user '%s'", settings->user);
  if (pw->pw_uid != 0 && setresuid(0, 0, 0) == 0)
    return diag_fail(diag, SMPL_EDENIED, "user '%s': there is a way back to root", settings->user);
  if (harden_process()) /* the kernel takes a change of user for a reason to forget it */
    return diag_fail_errno(diag, "cannot harden the process");
  return SMPL_OK;
}

int walls_drop(const settings_t *settings, const char *config, walls_t *walls, diag_t *diag)
{
  if (settings->user != NULL) {
    int err = walls_check_user(settings, diag);
    if (err)
      return err;
    const struct passwd *pw = getpwnam(settings->user);
    if (geteuid() == 0)
      err = become(settings, pw, diag);
    else if (geteuid() != pw->pw_uid)
      err =
          conf_fail(settings->conf, diag, &settings->user, "user: only root can become '%s'", settings->user);
    if (!err)
      err = check_readable(settings, config, diag);
    if (err)
      return err;
    snprintf(walls->user, sizeof walls->user, "%s", settings->user);
  }
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
    return diag_fail_errno(diag, "no_new_privs");
  walls->no_new_privs = true;
  return SMPL_OK;
}

/* --- system calls --- */

/* What serving, reloading, watching files and ending need. Everything else is refused (EPERM). */
static const int allowed[] = {
    /* datagrams, connections, the loops */
    SCMP_SYS(recvmmsg),
    SCMP_SYS(sendmmsg),
    SCMP_SYS(recvmsg),
    SCMP_SYS(sendmsg),
    SCMP_SYS(recvfrom),
    SCMP_SYS(sendto),
    SCMP_SYS(accept4),
    SCMP_SYS(shutdown),
    SCMP_SYS(getsockopt),
    SCMP_SYS(setsockopt),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(fcntl),
    SCMP_SYS(close),
    /* files: opened for reading alone (see fill_filter), written if they are open already */
    SCMP_SYS(read),
    SCMP_SYS(readv),
    SCMP_SYS(pread64),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(lseek),
    SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(stat),
    SCMP_SYS(lstat),
    SCMP_SYS(statx),
    SCMP_SYS(access),
    SCMP_SYS(faccessat),
    SCMP_SYS(readlink),
    SCMP_SYS(readlinkat),
    SCMP_SYS(getcwd),
    SCMP_SYS(getdents64),
    SCMP_SYS(unlink),
    SCMP_SYS(unlinkat),
    SCMP_SYS(inotify_init1),
    SCMP_SYS(inotify_add_watch),
    SCMP_SYS(inotify_rm_watch),
    /* memory, threads that exist, time */
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    SCMP_SYS(futex),
    SCMP_SYS(membarrier),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(getcpu),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep),
    SCMP_SYS(getrandom),
    SCMP_SYS(sysinfo),
    SCMP_SYS(uname),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getegid),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(rseq),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
#ifdef SMPL_SANITIZER
    /* The wide list: what the sanitizers' run time needs to look for leaks and to report. */
    SCMP_SYS(clone),
    SCMP_SYS(clone3),
    SCMP_SYS(ptrace),
    SCMP_SYS(wait4),
    SCMP_SYS(prctl),
    SCMP_SYS(arch_prctl),
    SCMP_SYS(tgkill),
    SCMP_SYS(tkill),
    SCMP_SYS(kill),
    SCMP_SYS(prlimit64),
    SCMP_SYS(getrlimit),
    SCMP_SYS(open),
    SCMP_SYS(openat),
    SCMP_SYS(mmap),
    SCMP_SYS(mprotect),
    SCMP_SYS(personality),
    SCMP_SYS(getppid),
    SCMP_SYS(pipe2),
    SCMP_SYS(dup2),
    SCMP_SYS(ioctl),
    SCMP_SYS(socket),
    SCMP_SYS(set_tid_address),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(getdents),
#endif
};

#ifndef SMPL_SANITIZER
/* Only somebody who has taken the process over would try these: the process ends. */
static const int deadly[] = {
    SCMP_SYS(execve),      SCMP_SYS(execveat),          SCMP_SYS(fork),    SCMP_SYS(vfork),
    SCMP_SYS(ptrace),      SCMP_SYS(process_vm_writev), SCMP_SYS(mount),   SCMP_SYS(bpf),
    SCMP_SYS(init_module), SCMP_SYS(finit_module),      SCMP_SYS(setuid),  SCMP_SYS(connect),
    SCMP_SYS(bind),        SCMP_SYS(kexec_load),        SCMP_SYS(unshare), SCMP_SYS(chroot),
};

static int fill_narrow(scmp_filter_ctx filter)
{
  static const int requests[] = {FIONBIO, FIOCLEX, FIONREAD};
  int rc = 0;
  for (size_t i = 0; i < sizeof deadly / sizeof *deadly && rc == 0; i++)
    rc = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, deadly[i], 0);
  for (size_t i = 0; i < sizeof requests / sizeof *requests && rc == 0; i++)
    rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                          SCMP_A1(SCMP_CMP_EQ, (scmp_datum_t)requests[i]));
  if (rc == 0)
    rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
                          SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY));
  /* memory that can be executed is never needed */
  if (rc == 0)
    rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                          SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
  if (rc == 0)
    rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                          SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
  return rc;
}
#else
static int fill_narrow(scmp_filter_ctx filter)
{
  (void)filter;
  return 0;
}
#endif

static int load(void)
{
  scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
  if (filter == NULL)
    return -ENOMEM;
  int rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
  for (size_t i = 0; i < sizeof allowed / sizeof *allowed && rc == 0; i++)
    rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
  if (rc == 0)
    rc = fill_narrow(filter);
  if (rc == 0)
    rc = seccomp_load(filter);
  seccomp_release(filter);
  return rc;
}

void walls_seal(walls_t *walls)
{
  int rc = load();
  walls->seccomp = rc == 0;
  if (rc != 0)
    log_warn("seccomp: %s: the process may make every system call", strerror(-rc));
}

json_t *walls_json(const walls_t *walls)
{
  json_t *list = json_array();
  if (walls->user[0] != '\0')
    json_array_append_new(list, json_sprintf("user %s", walls->user));
  if (walls->no_new_privs)
    json_array_append_new(list, json_string("no_new_privs"));
#ifdef SMPL_SANITIZER
  static const char seccomp[] = "seccomp (wide list of a sanitizer build)";
#else
  static const char seccomp[] = "seccomp";
#endif
  if (walls->seccomp)
    json_array_append_new(list, json_string(seccomp));
  return list;
}
