/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/local/listen.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/base/text.h"
#include "tunnel/local/system.h"

enum { FREE_PORT_TRIES = 16 };

static int fail(const endpoint_t *ep, int error, diag_t *diag)
{
  char at[ENDPOINT_TEXT_MAX];
  char holder[128];
  endpoint_format(ep, at);
  if (error == EADDRINUSE) {
    system_port_holder(ep->port, holder, sizeof holder);
    return diag_fail(diag, SMPL_EBUSY, "%s: address in use%s%s; choose another port or 0 for any free one",
                     at, holder[0] ? " by " : "", holder);
  }
  if (error == EACCES)
    return diag_fail(diag, SMPL_EDENIED, "%s: ports below 1024 are for root; choose a higher one", at);
  return diag_fail(diag, SMPL_ESYS, "%s: cannot listen: %s", at, strerror(error));
}

/* 0 with the socket in *fd and the bound port in ep, or an errno. */
static int open_one(endpoint_t *ep, int *fd)
{
  struct sockaddr_storage sa;
  socklen_t len = endpoint_to_sockaddr(ep, &sa);
  int one = 1;
  *fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (*fd < 0)
    return errno;
  setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (sa.ss_family == AF_INET6)
    setsockopt(*fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
  if (bind(*fd, (struct sockaddr *)&sa, len) == 0 && listen(*fd, LISTEN_BACKLOG) == 0 &&
      getsockname(*fd, (struct sockaddr *)&sa, &len) == 0 &&
      endpoint_from_sockaddr((struct sockaddr *)&sa, ep) == SMPL_OK)
    return 0;
  int error = errno;
  close(*fd);
  *fd = -1;
  return error;
}

/* Both families of localhost on one port; a machine without IPv6 has the one. 0 or an errno, with ep that
 * failed. */
static int open_localhost(uint16_t port, listen_sockets_t *out, endpoint_t *ep)
{
  ip_t v4;
  ip_t v6;
  ip_parse("127.0.0.1", &v4);
  ip_parse("::1", &v6);
  *ep = (endpoint_t){v4, port};
  int error = open_one(ep, &out->fds[0]);
  if (error)
    return error;
  out->count = 1;
  out->port = ep->port;
  *ep = (endpoint_t){v6, out->port};
  error = open_one(ep, &out->fds[1]);
  if (error == 0)
    out->count = 2;
  else if (error == EADDRINUSE || error == EACCES)
    return error;
  return 0;
}

/* Whether nobody listens on the unix socket at sa any more: its file was left behind. */
static bool is_left_behind(const struct sockaddr_un *sa)
{
  struct stat st;
  if (lstat(sa->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode) || st.st_uid != geteuid())
    return false;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  bool dead = fd >= 0 && connect(fd, (const struct sockaddr *)sa, sizeof *sa) < 0 && errno == ECONNREFUSED;
  if (fd >= 0)
    close(fd);
  return dead;
}

/* Its file is made for the owner alone before anybody can connect. */
static int bind_socket(int fd, const struct sockaddr_un *sa, bool any_user)
{
  mode_t before = umask(any_user ? 0111 : 0177);
  int rc = bind(fd, (const struct sockaddr *)sa, sizeof *sa);
  int error = errno;
  umask(before);
  errno = error;
  return rc;
}

static int open_socket(const char *path, bool any_user, listen_sockets_t *out, diag_t *diag)
{
  struct sockaddr_un sa = {.sun_family = AF_UNIX};
  struct stat st;
  text_copy(sa.sun_path, sizeof sa.sun_path, path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return diag_fail_errno(diag, "%s: cannot listen", path);
  int rc = bind_socket(fd, &sa, any_user);
  if (rc < 0 && errno == EADDRINUSE && is_left_behind(&sa)) {
    unlink(path);
    rc = bind_socket(fd, &sa, any_user);
  }
  if (rc == 0 && lstat(path, &st) == 0 && listen(fd, LISTEN_BACKLOG) == 0) {
    out->fds[out->count++] = fd;
    out->device = st.st_dev;
    out->inode = st.st_ino;
    return text_copy(out->path, sizeof out->path, path);
  }
  int error = errno;
  close(fd);
  if (error == EADDRINUSE)
    return diag_fail(diag, SMPL_EBUSY, "%s: the file is there already, and is no socket that was left behind",
                     path);
  return diag_fail(diag, SMPL_ESYS, "%s: cannot listen: %s", path, strerror(error));
}

int listen_open(const forward_t *forward, bool any_user, listen_sockets_t *out, diag_t *diag)
{
  *out = (listen_sockets_t){.fds = {-1, -1}};
  if (forward->kind == FORWARD_SOCKET)
    return open_socket(forward->path, any_user, out, diag);
  endpoint_t ep = {forward->bind, forward->port};
  int error = 0;
  if (forward->bind_given) {
    error = open_one(&ep, &out->fds[0]);
    out->count = error == 0;
    out->port = ep.port;
  } else {
    /* A port that is free in one family may be taken in the other. */
    for (int i = 0; i < FREE_PORT_TRIES; i++) {
      error = open_localhost(forward->port, out, &ep);
      if (error == 0 || forward->port != 0)
        break;
      listen_close(out);
    }
  }
  if (error == 0)
    return SMPL_OK;
  listen_close(out);
  return fail(&ep, error, diag);
}

void listen_close(listen_sockets_t *sockets)
{
  struct stat st;
  for (size_t i = 0; i < sockets->count; i++)
    close(sockets->fds[i]);
  sockets->count = 0;
  if (sockets->path[0] && lstat(sockets->path, &st) == 0 && st.st_dev == sockets->device &&
      st.st_ino == sockets->inode)
    unlink(sockets->path);
  sockets->path[0] = '\0';
}
