/* SPDX-License-Identifier: Apache-2.0 */
#include "common/net/bind.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"

static bool allow_early(int fd, const endpoint_t *at, bool say)
{
  const int on = 1;
  char text[ENDPOINT_TEXT_MAX];
  int rc = ip_is_v4(&at->ip) ? setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof on)
                             : setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof on);
  if (rc == 0 && say)
    log_warn("%s: this machine has no such address yet: it is served once the machine has it (free_bind)",
             endpoint_format(at, text));
  return rc == 0;
}

int bind_listener(int fd, const endpoint_t *at, bool early, bool say)
{
  struct sockaddr_storage sa;
  socklen_t len = endpoint_to_sockaddr(at, &sa);
  int rc = bind(fd, (const struct sockaddr *)&sa, len);
  if (rc < 0 && errno == EADDRNOTAVAIL && early && allow_early(fd, at, say))
    rc = bind(fd, (const struct sockaddr *)&sa, len);
  return rc;
}

int bind_listener_uv(uv_tcp_t *tcp, const endpoint_t *at, bool early)
{
  struct sockaddr_storage sa;
  uv_os_fd_t fd;
  endpoint_to_sockaddr(at, &sa);
  int status = uv_tcp_bind(tcp, (const struct sockaddr *)&sa, 0);
  if (status == UV_EADDRNOTAVAIL && early && uv_fileno((uv_handle_t *)tcp, &fd) == 0 &&
      allow_early(fd, at, true))
    status = uv_tcp_bind(tcp, (const struct sockaddr *)&sa, 0);
  return status;
}

static uint64_t number_of(const char *variable)
{
  const char *text = getenv(variable);
  uint64_t value = 0;
  return text == NULL || text_parse_u64(text, strlen(text), INT_MAX, &value) ? 0 : value;
}

static bool is_listener_at(int fd, const endpoint_t *at)
{
  struct sockaddr_storage sa;
  socklen_t len = sizeof sa;
  endpoint_t own;
  int listens = 0, type = 0;
  socklen_t size = sizeof listens;
  return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens != 0 &&
         getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM &&
         getsockname(fd, (struct sockaddr *)&sa, &len) == 0 &&
         endpoint_from_sockaddr((const struct sockaddr *)&sa, &own) == SMPL_OK && own.port == at->port &&
         ip_equal(&own.ip, &at->ip);
}

int bind_inherited(const endpoint_t *at)
{
  enum { FIRST = 3 };
  uint64_t count = number_of("LISTEN_FDS");
  if (number_of("LISTEN_PID") != (uint64_t)getpid() || count > BIND_INHERITED_MAX)
    return -1;
  for (int fd = FIRST; fd < FIRST + (int)count; fd++)
    if (is_listener_at(fd, at) && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 &&
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0)
      return fd;
  return -1;
}

bool bind_is_here(const ip_t *ip)
{
  const endpoint_t at = {*ip, 0};
  struct sockaddr_storage sa;
  socklen_t len = endpoint_to_sockaddr(&at, &sa);
  int fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  bool here = fd < 0 || bind(fd, (const struct sockaddr *)&sa, len) == 0 || errno != EADDRNOTAVAIL;
  if (fd >= 0)
    close(fd);
  return here;
}
