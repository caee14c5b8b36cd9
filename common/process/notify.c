/* SPDX-License-Identifier: Apache-2.0 */
#include "common/process/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/text.h"

enum { MESSAGE_MAX_ = 512 };

struct notify {
  int fd;
  uint64_t watchdog_ms;
};

/* A path, or "@name" for an abstract one. */
static socklen_t make_address(const char *text, struct sockaddr_un *sa)
{
  size_t len = strlen(text);
  *sa = (struct sockaddr_un){.sun_family = AF_UNIX};
  if ((text[0] != '/' && text[0] != '@') || text[1] == '\0' || len >= sizeof sa->sun_path)
    return 0;
  memcpy(sa->sun_path, text, len);
  if (text[0] == '@')
    sa->sun_path[0] = '\0';
  return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (text[0] == '/' ? 1 : 0));
}

static uint64_t number_of(const char *variable)
{
  const char *text = getenv(variable);
  uint64_t value = 0;
  if (text == NULL || text_parse_u64(text, strlen(text), UINT64_MAX, &value))
    return 0;
  return value;
}

notify_t *notify_open(void)
{
  const char *path = getenv("NOTIFY_SOCKET");
  struct sockaddr_un sa;
  if (path == NULL || path[0] == '\0')
    return NULL;
  socklen_t len = make_address(path, &sa);
  notify_t *n = calloc(1, sizeof *n);
  if (n == NULL)
    return NULL;
  n->fd = len == 0 ? -1 : socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (n->fd < 0 || connect(n->fd, (const struct sockaddr *)&sa, len) < 0) {
    log_warn("NOTIFY_SOCKET: '%s' cannot be reached: the service manager is told nothing", path);
    notify_close(n);
    return NULL;
  }
  uint64_t pid = number_of("WATCHDOG_PID");
  if (pid == 0 || pid == (uint64_t)getpid())
    n->watchdog_ms = number_of("WATCHDOG_USEC") / 1000;
  return n;
}

void notify_close(notify_t *n)
{
  if (n == NULL)
    return;
  if (n->fd >= 0)
    close(n->fd);
  free(n);
}

static void tell(notify_t *n, const char *text)
{
  if (n != NULL && send(n->fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
    log_debug("NOTIFY_SOCKET: %s", strerror(errno));
}

void notify_ready(notify_t *n, const char *status)
{
  char text[MESSAGE_MAX_];
  snprintf(text, sizeof text, "READY=1\nSTATUS=%.400s", status);
  tell(n, text);
}

void notify_reloading(notify_t *n)
{
  char text[MESSAGE_MAX_];
  snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)clock_mono_us());
  tell(n, text);
}

void notify_stopping(notify_t *n)
{
  tell(n, "STOPPING=1");
}

void notify_alive(notify_t *n)
{
  tell(n, "WATCHDOG=1");
}

uint64_t notify_watchdog_ms(const notify_t *n)
{
  return n != NULL ? n->watchdog_ms : 0;
}
