/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/spawn/walls.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "bastion/policy/roles.h"
#include "common/net/bind.h"
#include "common/base/count.h"
#include "common/base/error.h"
#include "common/process/file.h"
#include "common/process/landlock.h"
#include "common/base/log.h"
#include "common/process/seal.h"

enum { NSSWITCH_MAX = 64 << 10 };

/* ---- accounts of this system ---- */

static bool is_local(const char *word, size_t len)
{
  static const char *const local[] = {"files", "compat", "systemd"};
  for (size_t i = 0; i < COUNT_OF(local); i++)
    if (strlen(local[i]) == len && strncmp(word, local[i], len) == 0)
      return true;
  return len == 0 || word[0] == '[' || word[len - 1] == ']'; /* what to do then: [NOTFOUND=return] */
}

static bool line_elsewhere(const char *line, size_t len)
{
  const char *end = memchr(line, '#', len);
  size_t left = end != NULL ? (size_t)(end - line) : len;
  const char *colon = memchr(line, ':', left);
  while (left > 0 && (*line == ' ' || *line == '\t'))
    line++, left--;
  if (colon == NULL || (strncmp(line, "passwd:", 7) != 0 && strncmp(line, "group:", 6) != 0))
    return false;
  left -= (size_t)(colon + 1 - line);
  line = colon + 1;
  while (left > 0) {
    size_t word = 0;
    while (word < left && line[word] != ' ' && line[word] != '\t')
      word++;
    if (!is_local(line, word))
      return true;
    word += word < left;
    line += word;
    left -= word;
  }
  return false;
}

bool walls_accounts_elsewhere(const char *nsswitch)
{
  while (nsswitch != NULL && *nsswitch != '\0') {
    size_t len = strcspn(nsswitch, "\n");
    if (line_elsewhere(nsswitch, len))
      return true;
    nsswitch += len + (nsswitch[len] == '\n');
  }
  return false;
}

/* Who is named in roles and user has to be found again at a reload. */
static bool names_accounts(const config_t *c)
{
  return c->user != NULL || c->roles.given;
}

static bool asks_services(const config_t *c)
{
  char *text = NULL;
  size_t len;
  if (!names_accounts(c))
    return false;
  bool elsewhere = file_read("/etc/nsswitch.conf", NSSWITCH_MAX, &text, &len, NULL) == SMPL_OK &&
                   walls_accounts_elsewhere(text);
  free(text);
  return elsewhere;
}

/* ---- the broker: files ---- */

/* Modules are loaded now: afterwards no memory becomes code. */
static void load_account_modules(void)
{
  static const char nobody[] = "smpl-bastion asks for nobody";
  if (getpwnam(nobody) != NULL || getgrnam(nobody) != NULL)
    log_debug("there is an account of that name");
}

static void allow_accounts(landlock_t *l, const config_t *c)
{
  static const char *const services[] = {"/usr", "/lib", "/run", "/var/lib/sss"};
  if (!names_accounts(c))
    return;
  landlock_allow(l, "/etc", LANDLOCK_READ);
  for (size_t i = 0; i < COUNT_OF(services) && asks_services(c); i++)
    landlock_allow(l, services[i], LANDLOCK_READ);
}

void walls_fence(const config_t *c, const char *config_path, walls_t *walls)
{
  static const char *const system[] = {"/dev/null",          "/dev/urandom",
                                       "/etc/localtime",     "/etc/resolv.conf",
                                       "/etc/nsswitch.conf", "/etc/hosts",
                                       "/etc/host.conf",     "/sys/devices/system/cpu/online"};
  landlock_t *l =
      LANDLOCK_LEFT_OUT
          ? NULL
          : landlock_new(false); /* grants name targets by patterns, and a reload may name others */
  const user_conf_t *users = c->users.items;
  const char *const *host_keys = c->host_keys.items;
  landlock_allow_beside(l, config_path, LANDLOCK_READ);
  for (size_t i = 0; i < c->users.count; i++)
    if (i == 0 || strcmp(users[i].keys_path, users[i - 1].keys_path) != 0)
      landlock_allow_beside(l, users[i].keys_path, LANDLOCK_READ);
  for (size_t i = 0; i < c->host_keys.count; i++)
    landlock_allow_beside(l, host_keys[i], LANDLOCK_READ);
  landlock_allow_beside(l, c->audit, LANDLOCK_READ | LANDLOCK_WRITE | LANDLOCK_MAKE);
  landlock_allow_beside(l, c->control, LANDLOCK_SOCKET | LANDLOCK_REMOVE);
  if (c->state != NULL)
    landlock_allow(l, c->state, LANDLOCK_READ | LANDLOCK_WRITE | LANDLOCK_MAKE | LANDLOCK_REMOVE);
  for (size_t i = 0; i < COUNT_OF(system); i++)
    landlock_allow(l, system[i], LANDLOCK_READ);
  allow_accounts(l, c);
  walls->landlock = landlock_enforce(l);
  if (!walls->landlock && !LANDLOCK_LEFT_OUT)
    log_warn("landlock: the kernel has none: the broker may reach every file that its user may");
}

/* ---- the broker: system calls ---- */

/* Listening, connecting to targets and resolvers, the audit, templates, beside what the shared lists have.
 * Threads: libuv makes its pool when it is first needed. */
static const seal_rule_t broker_calls[] = {
    SEAL_CALL_IF(socket, SEAL_ARG(0, IS, AF_NETLINK), SEAL_ARG(1, IS, SOCK_RAW | SOCK_CLOEXEC),
                 SEAL_ARG(2, IS, NETLINK_ROUTE)), /* getifaddrs(): which endpoints are its own */
    SEAL_CALL(listen),
    SEAL_CALL_IF(sendto, SEAL_ARG(3, WITHOUT, MSG_FASTOPEN)), /* audit_sink names its address each time */
    /* as spawner.c and session.c make them; ends for datagrams could be connected to others' sockets */
    SEAL_CALL_IF(socketpair, SEAL_ARG(0, IS, AF_UNIX),
                 SEAL_ARG(1, IS, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK), SEAL_ARG(2, IS, 0)),
    SEAL_CALL(pipe2),
    /* a descriptor whose message waits for room in its socket */
    SEAL_CALL_IF(fcntl, SEAL_ARG(1, IS, F_DUPFD_CLOEXEC)),
    /* a listener that a reload opens before its address is there */
    SEAL_CALL_IF(setsockopt, SEAL_ARG(1, IS, IPPROTO_IP), SEAL_ARG(2, IS, IP_FREEBIND)),
    SEAL_CALL_IF(setsockopt, SEAL_ARG(1, IS, IPPROTO_IPV6), SEAL_ARG(2, IS, IPV6_FREEBIND)),
    /* the audit after it was renamed, the state; where, Landlock says. No file that runs as its owner */
    SEAL_CALL_IF(openat, SEAL_ARG(3, WITHOUT, S_ISUID | S_ISGID)),
    SEAL_CALL(pwrite64),
    SEAL_CALL(ftruncate),
    SEAL_CALL(fdatasync),
    SEAL_CALL(fsync),
    SEAL_CALL(flock),
    SEAL_CALL(statfs),
    SEAL_CALL(fstatfs),
    SEAL_CALL(unlink),
    SEAL_CALL(unlinkat),
    SEAL_CALL(rename),
    SEAL_CALL(renameat),
    SEAL_CALL(renameat2),
    SEAL_CALL(umask),
    SEAL_CALL_IF(clone, SEAL_ARG(0, WITH, CLONE_THREAD)),
    SEAL_CALL_IF(prlimit64, SEAL_ARG(0, IS, 0), SEAL_ARG(2, IS, 0)),
    SEAL_CALL_IF(prctl, SEAL_ARG(0, IS, PR_SET_NAME)),
};

static const seal_rule_t account_services[] = {
    SEAL_CALL_IF(socket, SEAL_ARG(0, IS, AF_UNIX)),
};

void walls_seal(const config_t *c, walls_t *walls)
{
  seal_t *seal = seal_new(SEAL_REFUSE);
  bool services = asks_services(c);
  if (services)
    load_account_modules();
  seal_add(seal, SEAL_ALLOW, seal_traffic, seal_traffic_count);
  seal_add(seal, SEAL_ALLOW, seal_files, seal_files_count);
  seal_add(seal, SEAL_ALLOW, seal_runtime, seal_runtime_count);
  seal_add(seal, SEAL_ALLOW, seal_sockets, seal_sockets_count);
  seal_add(seal, SEAL_ALLOW, broker_calls, COUNT_OF(broker_calls));
  if (services)
    seal_add(seal, SEAL_ALLOW, account_services, COUNT_OF(account_services));
#ifdef SMPL_SANITIZER
  seal_add(seal, SEAL_ALLOW, seal_wide, seal_wide_count);
#else
  seal_add(seal, SEAL_MISS, seal_absent, seal_absent_count);
  seal_add(seal, SEAL_END, seal_never, seal_never_count);
  seal_add(seal, SEAL_END, seal_deadly, seal_deadly_count);
#endif
  walls->seccomp = seal_load(seal, true) == SMPL_OK;
  if (!walls->seccomp)
    log_warn("seccomp: %s: the broker may make every system call", strerror(errno));
}

/* ---- the launcher ---- */

/* Its own work, then how a program starts, then what the template does before it puts up walls of its own. */
static const seal_rule_t launcher_calls[] = {
    SEAL_CALL(poll), SEAL_CALL(ppoll), SEAL_CALL(recvmsg),
    SEAL_CALL_IF(sendmsg, SEAL_ARG(2, WITHOUT, MSG_FASTOPEN)), SEAL_CALL(close), SEAL_CALL(pipe2),
    SEAL_CALL(
        clone), /* a process is this call without CLONE_THREAD; namespaces come by it too, see the README */
    SEAL_CALL(execve), SEAL_CALL(wait4), SEAL_CALL_IF(kill, SEAL_ARG(1, IS, SIGKILL)), SEAL_CALL(setsid),
    SEAL_CALL(chdir), SEAL_CALL(dup2), SEAL_CALL(dup3), SEAL_CALL_IF(fcntl, SEAL_ARG(1, IS, F_DUPFD_CLOEXEC)),
    SEAL_CALL_IF(fcntl, SEAL_ARG(1, IS, F_DUPFD)), SEAL_CALL_IF(fcntl, SEAL_ARG(1, IS, F_GETFL)),
    SEAL_CALL_IF(fcntl, SEAL_ARG(1, IS, F_GETFD)), SEAL_CALL_IF(fcntl, SEAL_ARG(1, IS, F_SETFD)),
    SEAL_CALL_IF(fcntl, SEAL_ARG(1, IS, F_SETFL), SEAL_ARG(2, WITHOUT, O_ASYNC)),
    /* a program that starts */
    /* libraries; what is written to see seal_runtime */
    SEAL_CALL_IF(mmap, SEAL_ARG(2, WITHOUT, PROT_WRITE), SEAL_ARG(3, WITHOUT, MAP_ANONYMOUS)),
    SEAL_CALL(arch_prctl), SEAL_CALL(set_tid_address), SEAL_CALL(prlimit64), SEAL_CALL(getrlimit),
    SEAL_CALL(setrlimit),
    /* a template and its workers */
    SEAL_CALL(getsockopt),
    SEAL_CALL_IF(setsockopt, SEAL_ARG(1, IS, SOL_SOCKET), SEAL_ARG(2, IS, SO_KEEPALIVE)),
    SEAL_CALL_IF(setsockopt, SEAL_ARG(1, IS, IPPROTO_TCP)), SEAL_CALL(recvfrom),
    SEAL_CALL_IF(sendto, SEAL_ARG(4, IS, 0)), SEAL_CALL(shutdown), SEAL_CALL(getsockname),
    SEAL_CALL(getpeername), SEAL_CALL(signalfd4), SEAL_CALL(unshare), SEAL_CALL(mkdir), SEAL_CALL(mkdirat),
    SEAL_CALL(rmdir), SEAL_CALL(unlinkat), SEAL_CALL(fchdir), SEAL_CALL(chroot), SEAL_CALL(capget),
    SEAL_CALL(capset), SEAL_CALL(close_range),
    SEAL_CALL_IF(prctl, SEAL_ARG(0, IS, PR_SET_DUMPABLE), SEAL_ARG(1, IS, 0)),
    SEAL_CALL_IF(prctl, SEAL_ARG(0, IS, PR_SET_NO_NEW_PRIVS)),
    SEAL_CALL_IF(prctl, SEAL_ARG(0, IS, PR_SET_NAME)), SEAL_CALL_IF(prctl, SEAL_ARG(0, IS, PR_SET_SECCOMP)),
    SEAL_CALL_IF(prctl, SEAL_ARG(0, IS, PR_GET_SECCOMP)), SEAL_CALL(seccomp),
    SEAL_CALL(landlock_create_ruleset), SEAL_CALL(landlock_add_rule), SEAL_CALL(landlock_restrict_self),
    SEAL_CALL(setgroups), SEAL_CALL(setresgid), SEAL_CALL(setresuid), SEAL_CALL(pwrite64),
    SEAL_CALL(statfs), /* libselinux and its like look where they are */
};

int walls_seal_launcher(void)
{
#ifdef SMPL_SANITIZER /* what its run time needs of a program that starts is not listed */
  (void)launcher_calls;
  return SMPL_OK;
#else
  seal_t *seal = seal_new(SEAL_REFUSE);
  seal_add(seal, SEAL_ALLOW, launcher_calls, COUNT_OF(launcher_calls));
  seal_add(seal, SEAL_ALLOW, seal_files, seal_files_count);
  seal_add(seal, SEAL_ALLOW, seal_runtime, seal_runtime_count);
  seal_add(seal, SEAL_MISS, seal_absent, seal_absent_count);
  return seal_load(seal, false);
#endif
}
