/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/io/sockets.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/net/bind.h"
#include "common/base/error.h"
#include "resolver/limits.h"

static int fail(const endpoint_t *at, diag_t *diag)
{
  char text[ENDPOINT_TEXT_MAX];
  int saved = errno;
  endpoint_format(at, text);
  switch (saved) {
  case EADDRINUSE:
    return diag_fail(
        diag, SMPL_EBUSY,
        "%s: address in use: stop the program that has it (ss -lntup shows it) or choose another port", text);
  case EACCES:
    return diag_fail(
        diag, SMPL_EDENIED,
        "%s: not permitted: ports below 1024 need root or CAP_NET_BIND_SERVICE; or choose another port",
        text);
  case EADDRNOTAVAIL:
    return diag_fail(diag, SMPL_ENOENT, "%s: this machine has no such address", text);
  default:
    errno = saved;
    return diag_fail_errno(diag, "%s: cannot listen", text);
  }
}

static bool set(int fd, int level, int name, int value)
{
  return setsockopt(fd, level, name, &value, sizeof value) == 0;
}

/* A bound socket, or -1 with errno. */
static int bound(const endpoint_t *at, int type, bool shared, bool early, bool say)
{
  int family = ip_is_v4(&at->ip) ? AF_INET : AF_INET6;
  int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return -1;
  bool ok = !shared || set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  ok = ok && (type != SOCK_STREAM || set(fd, SOL_SOCKET, SO_REUSEADDR, 1));
  ok = ok && (family != AF_INET6 || set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1));
  if (!ok || bind_listener(fd, at, early, say) < 0) {
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
  }
  return fd;
}

int sockets_probe(const endpoint_t *at, bool early, diag_t *diag)
{
  static const int types[] = {SOCK_DGRAM, SOCK_STREAM};
  for (size_t i = 0; i < 2; i++) {
    int fd = bound(at, types[i], false, early, i == 0);
    if (fd < 0)
      return fail(at, diag);
    close(fd);
  }
  return SMPL_OK;
}

static int open_udp(const endpoint_t *at, bool early)
{
  int fd = bound(at, SOCK_DGRAM, true, early, false);
  if (fd < 0)
    return -1;
  /* Beyond the system's limit where we may, up to it otherwise. */
  if (!set(fd, SOL_SOCKET, SO_RCVBUFFORCE, UDP_RCVBUF))
    set(fd, SOL_SOCKET, SO_RCVBUF, UDP_RCVBUF);
  if (!set(fd, SOL_SOCKET, SO_SNDBUFFORCE, UDP_RCVBUF))
    set(fd, SOL_SOCKET, SO_SNDBUF, UDP_RCVBUF);
  /* An answer leaves from the address that was asked; on one address that is the socket's own. */
  bool ok = true;
  if (ip_is_unspecified(&at->ip))
    ok = ip_is_v4(&at->ip) ? set(fd, IPPROTO_IP, IP_PKTINFO, 1) : set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
  /* Answers are small: never fragment by what somebody claims the path's MTU to be. */
  if (ip_is_v4(&at->ip))
    set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_OMIT);
  if (ok)
    return fd;
  int saved = errno;
  close(fd);
  errno = saved;
  return -1;
}

int sockets_open(const endpoint_t *at, bool early, int *udp, int *tcp, diag_t *diag)
{
  *tcp = -1;
  *udp = open_udp(at, early);
  if (*udp >= 0)
    *tcp = bound(at, SOCK_STREAM, true, early, false);
  if (*tcp >= 0 && listen(*tcp, TCP_BACKLOG) == 0)
    return SMPL_OK;
  int err = fail(at, diag);
  if (*udp >= 0)
    close(*udp);
  if (*tcp >= 0)
    close(*tcp);
  *udp = -1;
  *tcp = -1;
  return err;
}
