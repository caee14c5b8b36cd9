/* SPDX-License-Identifier: Apache-2.0 */
#include "common/process/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/count.h"
#include "common/base/error.h"

struct seal {
  scmp_filter_ctx filter;
  uint32_t otherwise;
  int rc; /* the first failure, as libseccomp says it */
};

static uint32_t action_of(seal_verdict_t verdict)
{
  switch (verdict) {
  case SEAL_ALLOW:
    return SCMP_ACT_ALLOW;
  case SEAL_MISS:
    return SCMP_ACT_ERRNO(ENOSYS);
  case SEAL_END:
    return SCMP_ACT_KILL_PROCESS;
  default:
    return SCMP_ACT_ERRNO(EPERM);
  }
}

seal_t *seal_new(seal_verdict_t otherwise)
{
  seal_t *seal = calloc(1, sizeof *seal);
  if (seal == NULL)
    return NULL;
  seal->otherwise = action_of(otherwise);
  seal->filter = seccomp_init(seal->otherwise);
  if (seal->filter == NULL) {
    free(seal);
    return NULL;
  }
  seal->rc = seccomp_attr_set(seal->filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  /* A tree over the numbers instead of a chain: every call costs a few comparisons. */
  if (seal->rc == 0)
    seal->rc = seccomp_attr_set(seal->filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
  return seal;
}

static struct scmp_arg_cmp comparison(const seal_check_t *c)
{
  struct scmp_arg_cmp a = {.arg = c->arg, .op = SCMP_CMP_EQ, .datum_a = c->bits};
  if (c->test == SEAL_IS)
    return a;
  a.op = SCMP_CMP_MASKED_EQ;
  a.datum_a = c->test == SEAL_LOW_IS ? UINT32_MAX : c->bits;
  a.datum_b = c->test == SEAL_WITHOUT ? 0 : c->bits;
  return a;
}

static void add_one(seal_t *seal, uint32_t action, const seal_rule_t *rule)
{
  struct scmp_arg_cmp args[SEAL_CHECKS_MAX];
  unsigned count = 0;
  while (count < SEAL_CHECKS_MAX && rule->checks[count].test != SEAL_NO_CHECK) {
    args[count] = comparison(&rule->checks[count]);
    count++;
  }
  if (seal->rc == 0 && action != seal->otherwise)
    seal->rc = seccomp_rule_add_array(seal->filter, action, rule->call, count, args);
  if (seal->rc == -EEXIST) /* two lists may name the same */
    seal->rc = 0;
}

void seal_add(seal_t *seal, seal_verdict_t verdict, const seal_rule_t *rules, size_t count)
{
  for (size_t i = 0; seal != NULL && i < count; i++)
    add_one(seal, action_of(verdict), &rules[i]);
}

/* Signals to a thread of its own: abort() and raise(). */
static void allow_own_signals(seal_t *seal)
{
  const seal_rule_t own = {SCMP_SYS(tgkill), {{SEAL_IS, 0, (uint64_t)getpid()}}};
  if (seal->otherwise != SCMP_ACT_ALLOW && seal->otherwise != SCMP_ACT_KILL_PROCESS)
    add_one(seal, SCMP_ACT_ALLOW, &own);
}

int seal_load(seal_t *seal, bool every_thread)
{
  if (seal == NULL) {
    errno = ENOMEM;
    return SMPL_ESYS;
  }
  allow_own_signals(seal);
  int rc = seal->rc;
  if (rc == 0 && every_thread)
    rc = seccomp_attr_set(seal->filter, SCMP_FLTATR_CTL_TSYNC, 1);
  if (rc == 0)
    rc = seccomp_load(seal->filter);
  seccomp_release(seal->filter);
  free(seal);
  errno = rc < 0 ? -rc : rc;
  return rc == 0 ? SMPL_OK : SMPL_ESYS;
}

/* ---- lists ---- */

const seal_rule_t seal_never[] = {
    SEAL_CALL(ptrace),
    SEAL_CALL(process_vm_readv),
    SEAL_CALL(process_vm_writev),
    SEAL_CALL(pidfd_getfd),
    SEAL_CALL(kcmp),
    SEAL_CALL(bpf),
    SEAL_CALL(perf_event_open),
    SEAL_CALL(userfaultfd),
    SEAL_CALL(keyctl),
    SEAL_CALL(add_key),
    SEAL_CALL(request_key),
    SEAL_CALL(init_module),
    SEAL_CALL(finit_module),
    SEAL_CALL(delete_module),
    SEAL_CALL(kexec_load),
    SEAL_CALL(kexec_file_load),
    SEAL_CALL(reboot),
    SEAL_CALL(swapon),
    SEAL_CALL(swapoff),
    SEAL_CALL(acct),
    SEAL_CALL(syslog),
    SEAL_CALL(quotactl),
    SEAL_CALL(mount),
    SEAL_CALL(umount2),
    SEAL_CALL(pivot_root),
    SEAL_CALL(open_by_handle_at),
    SEAL_CALL(settimeofday),
    SEAL_CALL(clock_settime),
    SEAL_CALL(sethostname),
    SEAL_CALL(setdomainname),
    SEAL_CALL(iopl),
    SEAL_CALL(ioperm),
    SEAL_CALL(modify_ldt),
    SEAL_CALL(fanotify_init),
};
const size_t seal_never_count = COUNT_OF(seal_never);

const seal_rule_t seal_deadly[] = {
    SEAL_CALL(execve), SEAL_CALL(execveat),  SEAL_CALL(fork),     SEAL_CALL(vfork),     SEAL_CALL(unshare),
    SEAL_CALL(setns),  SEAL_CALL(chroot),    SEAL_CALL(setuid),   SEAL_CALL(setresuid), SEAL_CALL(setreuid),
    SEAL_CALL(setgid), SEAL_CALL(setresgid), SEAL_CALL(setregid), SEAL_CALL(setgroups), SEAL_CALL(capset),
};
const size_t seal_deadly_count = COUNT_OF(seal_deadly);

const seal_rule_t seal_runtime[] = {
    SEAL_CALL(futex),
    SEAL_CALL(clock_gettime),
    SEAL_CALL(gettimeofday),
    SEAL_CALL(munmap),
    SEAL_CALL(mremap),
    SEAL_CALL(madvise),
    SEAL_CALL(brk),
    /* memory that can be executed is never needed */
    SEAL_CALL_IF(mmap, SEAL_ARG(2, WITHOUT, PROT_EXEC)),
    SEAL_CALL_IF(mprotect, SEAL_ARG(2, WITHOUT, PROT_EXEC)),
    SEAL_CALL(membarrier),
    SEAL_CALL(sched_yield),
    SEAL_CALL(sched_getaffinity),
    SEAL_CALL(getcpu),
    SEAL_CALL(clock_getres),
    SEAL_CALL(clock_nanosleep),
    SEAL_CALL(nanosleep),
    SEAL_CALL(getrandom),
    SEAL_CALL(sysinfo),
    SEAL_CALL(uname),
    SEAL_CALL(getpid),
    SEAL_CALL(gettid),
    SEAL_CALL(getuid),
    SEAL_CALL(geteuid),
    SEAL_CALL(getgid),
    SEAL_CALL(getegid),
    SEAL_CALL(getrusage),
    SEAL_CALL(rt_sigprocmask),
    SEAL_CALL(rt_sigaction),
    SEAL_CALL(rt_sigreturn),
    SEAL_CALL(sigaltstack),
    SEAL_CALL(restart_syscall),
    SEAL_CALL(rseq),
    SEAL_CALL(set_robust_list),
    SEAL_CALL(exit),
    SEAL_CALL(exit_group),
};
const size_t seal_runtime_count = COUNT_OF(seal_runtime);

const seal_rule_t seal_traffic[] = {
    SEAL_CALL(epoll_pwait),
    SEAL_CALL(epoll_wait),
    SEAL_CALL(recvmmsg),
    SEAL_CALL(recvfrom),
    SEAL_CALL(recvmsg),
    /* With MSG_FASTOPEN these three connect; an address beside the bytes stands in messages alone. */
    SEAL_CALL_IF(sendmmsg, SEAL_ARG(3, WITHOUT, MSG_FASTOPEN)),
    SEAL_CALL_IF(sendmsg, SEAL_ARG(2, WITHOUT, MSG_FASTOPEN)),
    SEAL_CALL_IF(sendto, SEAL_ARG(3, WITHOUT, MSG_FASTOPEN), SEAL_ARG(4, IS, 0)),
    SEAL_CALL(accept4),
    SEAL_CALL(epoll_ctl),
    SEAL_CALL(epoll_pwait2),
    SEAL_CALL(poll),
    SEAL_CALL(ppoll),
    SEAL_CALL(close),
    SEAL_CALL(getsockopt),
    SEAL_CALL(getsockname),
    SEAL_CALL(getpeername),
    SEAL_CALL_IF(setsockopt, SEAL_ARG(1, IS, IPPROTO_TCP), SEAL_ARG(2, IS, TCP_NODELAY)),
    /* F_SETOWN, F_SETSIG and O_ASYNC would send signals; a second number for a descriptor would get past
       checks of it. */
    SEAL_CALL_IF(fcntl, SEAL_ARG(1, IS, F_GETFL)),
    SEAL_CALL_IF(fcntl, SEAL_ARG(1, IS, F_SETFL), SEAL_ARG(2, WITHOUT, O_ASYNC)),
    SEAL_CALL_IF(fcntl, SEAL_ARG(1, IS, F_GETFD)),
    SEAL_CALL_IF(fcntl, SEAL_ARG(1, IS, F_SETFD)),
    SEAL_CALL_IF(ioctl, SEAL_ARG(1, IS, FIONBIO)),
    SEAL_CALL_IF(ioctl, SEAL_ARG(1, IS, FIOCLEX)),
    SEAL_CALL_IF(ioctl, SEAL_ARG(1, IS, FIONREAD)),
};
const size_t seal_traffic_count = COUNT_OF(seal_traffic);

/* The kind of a socket carries flags, so all four of a kind are named. MPTCP, SCTP and what else could stand
 * in the third argument would get past Landlock's rules for TCP. */
#define SOCKETS(family, type, protocol)                                                                      \
  SEAL_CALL_IF(socket, SEAL_ARG(0, IS, family), SEAL_ARG(1, IS, type), SEAL_ARG(2, IS, protocol)),           \
      SEAL_CALL_IF(socket, SEAL_ARG(0, IS, family), SEAL_ARG(1, IS, (type) | SOCK_CLOEXEC),                  \
                   SEAL_ARG(2, IS, protocol)),                                                               \
      SEAL_CALL_IF(socket, SEAL_ARG(0, IS, family), SEAL_ARG(1, IS, (type) | SOCK_NONBLOCK),                 \
                   SEAL_ARG(2, IS, protocol)),                                                               \
      SEAL_CALL_IF(socket, SEAL_ARG(0, IS, family), SEAL_ARG(1, IS, (type) | SOCK_CLOEXEC | SOCK_NONBLOCK),  \
                   SEAL_ARG(2, IS, protocol))

#define OPTION(level, name) SEAL_CALL_IF(setsockopt, SEAL_ARG(1, IS, level), SEAL_ARG(2, IS, name))

const seal_rule_t seal_sockets[] = {
    SOCKETS(AF_INET, SOCK_STREAM, 0),
    SOCKETS(AF_INET, SOCK_STREAM, IPPROTO_TCP),
    SOCKETS(AF_INET, SOCK_DGRAM, 0),
    SOCKETS(AF_INET, SOCK_DGRAM, IPPROTO_UDP),
    SOCKETS(AF_INET6, SOCK_STREAM, 0),
    SOCKETS(AF_INET6, SOCK_STREAM, IPPROTO_TCP),
    SOCKETS(AF_INET6, SOCK_DGRAM, 0),
    SOCKETS(AF_INET6, SOCK_DGRAM, IPPROTO_UDP),
    SEAL_CALL(connect),
    SEAL_CALL(bind),
    SEAL_CALL(shutdown),
    OPTION(SOL_SOCKET, SO_REUSEADDR),
    OPTION(SOL_SOCKET, SO_KEEPALIVE),
    OPTION(SOL_SOCKET, SO_LINGER),
    OPTION(SOL_SOCKET, SO_SNDBUF),
    OPTION(SOL_SOCKET, SO_RCVBUF),
    OPTION(IPPROTO_TCP, TCP_KEEPIDLE),
    OPTION(IPPROTO_TCP, TCP_KEEPINTVL),
    OPTION(IPPROTO_TCP, TCP_KEEPCNT),
    OPTION(IPPROTO_TCP, TCP_USER_TIMEOUT),
    OPTION(IPPROTO_TCP,
           TCP_FASTOPEN_CONNECT), /* a later connect() asks for it, and is checked as any other */
    OPTION(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT),
    OPTION(IPPROTO_IPV6, IPV6_V6ONLY),
};
const size_t seal_sockets_count = COUNT_OF(seal_sockets);

const seal_rule_t seal_absent[] = {
    SEAL_CALL(clone3),
    SEAL_CALL(io_uring_setup),
    SEAL_CALL(io_uring_enter),
    SEAL_CALL(io_uring_register),
};
const size_t seal_absent_count = COUNT_OF(seal_absent);

const seal_rule_t seal_files[] = {
    SEAL_CALL(read),
    SEAL_CALL(write),
    SEAL_CALL(readv),
    SEAL_CALL(writev),
    SEAL_CALL(pread64),
    SEAL_CALL(lseek),
    SEAL_CALL_IF(openat, SEAL_ARG(2, WITHOUT, O_ACCMODE | O_CREAT | O_TRUNC)),
    SEAL_CALL(fstat),
    SEAL_CALL(newfstatat),
    SEAL_CALL(stat),
    SEAL_CALL(lstat),
    SEAL_CALL(statx),
    SEAL_CALL(access),
    SEAL_CALL(faccessat),
    SEAL_CALL(faccessat2),
    SEAL_CALL(readlink),
    SEAL_CALL(readlinkat),
    SEAL_CALL(getcwd),
    SEAL_CALL(getdents64),
    SEAL_CALL_IF(ioctl, SEAL_ARG(1, IS, TCGETS)), /* isatty() */
};
const size_t seal_files_count = COUNT_OF(seal_files);

#ifdef SMPL_SANITIZER
const seal_rule_t seal_wide[] = {
    SEAL_CALL(clone),
    SEAL_CALL(clone3),
    SEAL_CALL(ptrace),
    SEAL_CALL(wait4),
    SEAL_CALL(prctl),
    SEAL_CALL(arch_prctl),
    SEAL_CALL(tgkill),
    SEAL_CALL(tkill),
    SEAL_CALL(kill),
    SEAL_CALL(prlimit64),
    SEAL_CALL(getrlimit),
    SEAL_CALL(open),
    SEAL_CALL(openat),
    SEAL_CALL(mmap),
    SEAL_CALL(mprotect),
    SEAL_CALL(personality),
    SEAL_CALL(getppid),
    SEAL_CALL(pipe2),
    SEAL_CALL(dup2),
    SEAL_CALL(ioctl),
    SEAL_CALL(fcntl),
    SEAL_CALL(socket),
    SEAL_CALL(set_tid_address),
    SEAL_CALL(process_vm_readv),
    SEAL_CALL(getdents),
    SEAL_CALL(ftruncate),
    SEAL_CALL(mkdir),
    SEAL_CALL(unlink),
};
const size_t seal_wide_count = COUNT_OF(seal_wide);
#endif
