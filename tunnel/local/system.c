/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/local/system.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/error.h"

enum { LISTEN_STATE = 0x0a, PATH_BYTES = 512 };

uint64_t system_raise_limits(void)
{
  struct rlimit r;
  if (getrlimit(RLIMIT_NOFILE, &r) < 0)
    return 0;
  uint64_t before = r.rlim_cur;
  if (r.rlim_cur < r.rlim_max) {
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
  }
  return before;
}

void system_restore_limits(uint64_t descriptors)
{
  struct rlimit r;
  if (descriptors > 0 && getrlimit(RLIMIT_NOFILE, &r) == 0) {
    r.rlim_cur = descriptors;
    setrlimit(RLIMIT_NOFILE, &r);
  }
}

uint64_t system_awake_or_not_ms(void)
{
  struct timespec t;
  clock_gettime(CLOCK_BOOTTIME, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* The inode of a listening socket in /proc/net/tcp or tcp6; 0 if there is none. */
static unsigned long listening_inode(const char *table, uint16_t port)
{
  FILE *f = fopen(table, "re");
  char line[PATH_BYTES];
  unsigned long found = 0;
  while (f && !found && fgets(line, sizeof line, f)) {
    unsigned at;
    unsigned state;
    unsigned long inode;
    /* NOLINTNEXTLINE(cert-err34-c): the kernel writes numbers that fit */
    if (sscanf(line, " %*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*u %*u %lu", &at, &state,
               &inode) == 3 &&
        at == port && state == LISTEN_STATE)
      found = inode;
  }
  if (f)
    fclose(f);
  return found;
}

static bool holds(const char *pid, unsigned long inode)
{
  char path[PATH_BYTES];
  char want[64];
  snprintf(want, sizeof want, "socket:[%lu]", inode);
  snprintf(path, sizeof path, "/proc/%s/fd", pid);
  DIR *fds = opendir(path);
  bool found = false;
  struct dirent *e;
  while (fds && !found && (e = readdir(fds))) {
    char link[64];
    char name[PATH_BYTES + 300];
    snprintf(name, sizeof name, "%s/%s", path, e->d_name);
    ssize_t n = readlink(name, link, sizeof link - 1);
    if (n > 0) {
      link[n] = '\0';
      found = strcmp(link, want) == 0;
    }
  }
  if (fds)
    closedir(fds);
  return found;
}

static void describe(const char *pid, char *buf, size_t cap)
{
  char path[PATH_BYTES];
  char name[64] = "a process";
  snprintf(path, sizeof path, "/proc/%s/comm", pid);
  FILE *f = fopen(path, "re");
  if (f && fgets(name, sizeof name, f))
    name[strcspn(name, "\n")] = '\0';
  if (f)
    fclose(f);
  snprintf(buf, cap, "%s (pid %s)", name, pid);
}

char *system_port_holder(uint16_t port, char *buf, size_t cap)
{
  buf[0] = '\0';
  unsigned long inode = listening_inode("/proc/net/tcp", port);
  if (!inode)
    inode = listening_inode("/proc/net/tcp6", port);
  DIR *proc = inode ? opendir("/proc") : NULL;
  struct dirent *e;
  while (proc && !buf[0] && (e = readdir(proc))) {
    if (isdigit((unsigned char)e->d_name[0]) && holds(e->d_name, inode))
      describe(e->d_name, buf, cap);
  }
  if (proc)
    closedir(proc);
  return buf;
}

/* ---- whose connection it is ---- */

enum { DIAG_MS = 500 };

typedef struct question {
  struct nlmsghdr head;
  struct inet_diag_req_v2 body;
} question_t;

/* The socket at the other end: its own address is our peer's, its peer's is ours. False for another family.
 */
static bool fill_question(int fd, question_t *q)
{
  struct sockaddr_storage theirs = {0};
  struct sockaddr_storage ours = {0};
  socklen_t len = sizeof theirs;
  socklen_t our_len = sizeof ours;
  if (getpeername(fd, (struct sockaddr *)&theirs, &len) < 0 ||
      getsockname(fd, (struct sockaddr *)&ours, &our_len) < 0)
    return false;
  *q = (question_t){{sizeof *q, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, 0}, {0}};
  q->body.sdiag_family = (uint8_t)theirs.ss_family;
  q->body.sdiag_protocol = IPPROTO_TCP;
  q->body.idiag_states = UINT32_MAX;
  q->body.id.idiag_cookie[0] = q->body.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  if (theirs.ss_family == AF_INET) {
    const struct sockaddr_in *a = (const struct sockaddr_in *)&theirs;
    const struct sockaddr_in *b = (const struct sockaddr_in *)&ours;
    q->body.id.idiag_src[0] = a->sin_addr.s_addr;
    q->body.id.idiag_dst[0] = b->sin_addr.s_addr;
    q->body.id.idiag_sport = a->sin_port;
    q->body.id.idiag_dport = b->sin_port;
    return true;
  }
  const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)&theirs;
  const struct sockaddr_in6 *b = (const struct sockaddr_in6 *)&ours;
  memcpy(q->body.id.idiag_src, &a->sin6_addr, sizeof a->sin6_addr);
  memcpy(q->body.id.idiag_dst, &b->sin6_addr, sizeof b->sin6_addr);
  q->body.id.idiag_sport = a->sin6_port;
  q->body.id.idiag_dport = b->sin6_port;
  return theirs.ss_family == AF_INET6;
}

/* The answer to the last question; those to earlier ones, which came too late, are passed over. */
static int read_answer(const system_owners_t *owners, uid_t *uid)
{
  union {
    struct nlmsghdr head;
    char bytes[8192];
  } answer;
  ssize_t n;
  do {
    n = recv(owners->fd, &answer, sizeof answer, 0);
    if (n < (ssize_t)sizeof answer.head)
      return SMPL_ESYS;
  } while (answer.head.nlmsg_seq != owners->asked);
  if (answer.head.nlmsg_type == NLMSG_ERROR) {
    const struct nlmsgerr *error = NLMSG_DATA(&answer.head);
    bool whole = n >= (ssize_t)NLMSG_LENGTH(sizeof *error);
    return whole && error->error == -ENOENT ? SMPL_ENOENT : SMPL_ESYS;
  }
  const struct inet_diag_msg *found = NLMSG_DATA(&answer.head);
  if (answer.head.nlmsg_type != SOCK_DIAG_BY_FAMILY || n < (ssize_t)NLMSG_LENGTH(sizeof *found))
    return SMPL_ESYS;
  /* A socket that its process has closed: some kernels then name root as its user. */
  if (found->idiag_inode == 0 && found->idiag_uid == 0)
    return SMPL_ENOENT;
  *uid = found->idiag_uid;
  return SMPL_OK;
}

system_owners_t system_owners_open(void)
{
  struct timeval limit = {DIAG_MS / 1000, DIAG_MS % 1000 * 1000};
  system_owners_t owners = {socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG), 0};
  if (owners.fd >= 0)
    setsockopt(owners.fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  return owners;
}

void system_owners_close(system_owners_t *owners)
{
  if (owners->fd >= 0)
    close(owners->fd);
  owners->fd = -1;
}

static int inet_owner(system_owners_t *owners, int fd, uid_t *uid)
{
  question_t q;
  if (owners->fd < 0)
    return SMPL_ESYS;
  if (!fill_question(fd, &q))
    return SMPL_ENOENT; /* gone before it was looked at */
  q.head.nlmsg_seq = ++owners->asked;
  if (send(owners->fd, &q, sizeof q, 0) != (ssize_t)sizeof q)
    return SMPL_ESYS;
  return read_answer(owners, uid);
}

int system_owner_of(system_owners_t *owners, int fd, uid_t *uid)
{
  int domain = AF_UNSPEC;
  socklen_t len = sizeof domain;
  getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len);
  if (domain != AF_UNIX)
    return inet_owner(owners, fd, uid);
  struct ucred peer;
  len = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
    return SMPL_ESYS;
  *uid = peer.uid;
  return SMPL_OK;
}

/* ---- the browser ---- */

int system_open_url(const char *url)
{
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0)
    return SMPL_ESYS;
  pid_t pid = fork();
  if (pid == 0) {
    setsid();
    signal(SIGPIPE, SIG_DFL);
    int null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    dup2(null, 1);
    dup2(null, 2);
    if (fork() != 0)
      _exit(0);
    const char *browser = getenv("BROWSER");
    if (browser && browser[0] && !strpbrk(browser, ":%"))
      execlp(browser, browser, url, (char *)NULL);
    execlp("xdg-open", "xdg-open", url, (char *)NULL);
    execlp("sensible-browser", "sensible-browser", url, (char *)NULL);
    ssize_t n = write(ends[1], "x", 1); /* closed by a program that could be executed */
    (void)n;
    _exit(1);
  }
  close(ends[1]);
  char failed;
  int status;
  if (pid > 0)
    waitpid(pid, &status, 0);
  ssize_t n = pid > 0 ? read(ends[0], &failed, 1) : 1;
  close(ends[0]);
  return n == 0 ? SMPL_OK : SMPL_ESYS;
}
