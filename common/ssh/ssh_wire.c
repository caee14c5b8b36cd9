/* SPDX-License-Identifier: Apache-2.0 */
#include "common/ssh/ssh_wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/base/error.h"

/* Names of our own to the compiler, libc's to the linker: the headers say things of libc's that are not so
 * here. */
#define INSTEAD_OF(name) __asm__(name) __attribute__((visibility("default"), used))
ssize_t ssh_wire_send(int fd, const void *data, size_t len, int flags) INSTEAD_OF("send");
ssize_t ssh_wire_recv(int fd, void *data, size_t len, int flags) INSTEAD_OF("recv");
int ssh_wire_poll(struct pollfd *polls, nfds_t count, int timeout_ms) INSTEAD_OF("poll");

/* What is known of the socket without asking. */
typedef enum readable {
  UNKNOWN,
  NOTHING, /* since the last wait everything has been read */
  SOMETHING
} readable_t;

struct ssh_wire {
  ssh_wire_t *next;
  ssh_session session;
  int fd;
  readable_t readable;
  bool stuck;

  unsigned char *ahead; /* the caller's: read, and not asked for yet */
  size_t ahead_cap;     /* 0: nothing is read ahead */
  size_t ahead_at;
  size_t ahead_len;

  size_t gathered;
  unsigned char gather[SSH_WIRE_GATHER_MAX + SSH_WIRE_RESERVE];
};

static _Thread_local ssh_wire_t *wires;

static _Thread_local struct {
  int fd;
  ssh_wire_watch_cb cb; /* NULL: nothing is watched */
  void *ctx;
} watch;

void ssh_wire_watch(int fd, ssh_wire_watch_cb cb, void *ctx)
{
  watch.fd = fd;
  watch.cb = fd >= 0 ? cb : NULL;
  watch.ctx = ctx;
}

/* libssh closes its socket by itself when the peer says so, and its number may be another's by then. */
static ssh_wire_t *find(int fd)
{
  for (ssh_wire_t *w = wires; w != NULL; w = w->next) {
    if (w->fd == fd && ssh_get_fd(w->session) == fd)
      return w;
  }
  return NULL;
}

int ssh_wire_new(ssh_session session, ssh_wire_t **out)
{
  *out = NULL;
  ssh_wire_t *w = malloc(sizeof *w);
  if (w == NULL)
    return SMPL_ENOMEM;
  memset(w, 0, offsetof(ssh_wire_t, gather)); /* an idle session's stays untouched, and costs nothing */
  w->session = session;
  w->fd = ssh_get_fd(session);
  w->next = wires;
  wires = w;
  *out = w;
  return SMPL_OK;
}

void ssh_wire_read_ahead(ssh_wire_t *wire, void *memory, size_t bytes)
{
  wire->ahead = memory;
  wire->ahead_cap = bytes;
}

void ssh_wire_free(ssh_wire_t *wire)
{
  if (wire == NULL)
    return;
  if (find(wire->fd) == wire) {
    ssh_wire_flush(wire);
    if (wire->gathered > 0)
      shutdown(wire->fd, SHUT_WR);
  }
  for (ssh_wire_t **at = &wires; *at != NULL; at = &(*at)->next) {
    if (*at == wire) {
      *at = wire->next;
      break;
    }
  }
  free(wire);
}

bool ssh_wire_stuck(const ssh_wire_t *wire)
{
  return wire->stuck;
}

/* ---- out ---- */

static ssize_t send_now(ssh_wire_t *w, const void *data, size_t len)
{
  for (;;) {
    ssize_t n = sendto(w->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0);
    if (n >= 0 || errno != EINTR)
      return n;
  }
}

static bool would_block(void)
{
  return errno == EAGAIN || errno == EWOULDBLOCK;
}

/* -1 with errno when the socket has failed. */
static int flush(ssh_wire_t *w)
{
  w->stuck = false;
  while (w->gathered > 0) {
    ssize_t n = send_now(w, w->gather, w->gathered);
    if (n < 0 && would_block()) {
      w->stuck = true;
      return 0;
    }
    if (n < 0)
      return -1;
    w->gathered -= (size_t)n;
    memmove(w->gather, w->gather + n, w->gathered);
  }
  return 0;
}

void ssh_wire_flush(ssh_wire_t *wire)
{
  if (wire->gathered > 0 && find(wire->fd) == wire)
    (void)flush(wire); /* a socket that has failed says so to libssh too, when it is read */
}

static size_t space(const ssh_wire_t *w)
{
  return w->gathered < SSH_WIRE_GATHER_MAX ? SSH_WIRE_GATHER_MAX - w->gathered : 0;
}

/* libssh asks once what the socket can do, reads first and writes then: what it read may have made it write
 * already, and the room that it was told of is gone. A write that fails is the end of the session, so some
 * bytes are taken all the same. It is told of no room before these have left, and so comes but once. */
static ssize_t gather(ssh_wire_t *w, const void *data, size_t len)
{
  size_t room = space(w) > 0 ? space(w) : sizeof w->gather - w->gathered;
  size_t n = len < room ? len : room;
  if (n == 0) {
    errno = EAGAIN;
    return -1;
  }
  memcpy(w->gather + w->gathered, data, n);
  w->gathered += n;
  return (ssize_t)n;
}

ssize_t ssh_wire_send(int fd, const void *data, size_t len, int flags)
{
  ssh_wire_t *w = find(fd);
  if (w == NULL)
    return sendto(fd, data, len, flags, NULL, 0);
  if (len <= space(w))
    return gather(w, data, len);
  if (flush(w) < 0)
    return -1;
  if (w->gathered > 0 || len <= space(w))
    return gather(w, data, len);
  ssize_t n = send_now(w, data, len);
  if (n < 0 && would_block()) { /* to libssh that would be the end: it was told that there is room */
    w->stuck = true;
    return gather(w, data, len);
  }
  return n;
}

/* ---- in ---- */

static ssize_t receive(ssh_wire_t *w, void *data, size_t len)
{
  ssize_t n;
  do
    n = recvfrom(w->fd, data, len, 0, NULL, NULL);
  while (n < 0 && errno == EINTR);
  if (n != 0)
    w->readable = n == (ssize_t)len ? UNKNOWN : NOTHING;
  return n;
}

static ssize_t plain_recv(int fd, void *data, size_t len, int flags)
{
  ssize_t n = recvfrom(fd, data, len, flags, NULL, NULL);
  if (n > 0 && watch.cb != NULL && watch.fd == fd)
    watch.cb(watch.ctx, data, (size_t)n);
  return n;
}

ssize_t ssh_wire_recv(int fd, void *data, size_t len, int flags)
{
  ssh_wire_t *w = find(fd);
  if (w == NULL)
    return plain_recv(fd, data, len, flags);
  if (w->ahead_len == 0) {
    if (w->ahead_cap <= len)
      return receive(w, data, len);
    ssize_t n = receive(w, w->ahead, w->ahead_cap);
    if (n <= 0)
      return n;
    w->ahead_at = 0;
    w->ahead_len = (size_t)n;
  }
  size_t n = len < w->ahead_len ? len : w->ahead_len;
  memcpy(data, w->ahead + w->ahead_at, n);
  w->ahead_at += n;
  w->ahead_len -= n;
  return (ssize_t)n;
}

/* ---- poll ---- */

static int system_poll(struct pollfd *polls, nfds_t count, int timeout_ms)
{
#ifdef SYS_poll
  return (int)syscall(SYS_poll, polls, count, timeout_ms);
#else
  struct timespec t = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};
  return ppoll(polls, count, timeout_ms < 0 ? NULL : &t, NULL);
#endif
}

static bool has_space(ssh_wire_t *w)
{
  if (space(w) > 0 && !w->stuck)
    return true;
  return flush(w) < 0 || space(w) > 0; /* the next send tells of the failure */
}

/* libssh's, of the wire alone. */
static int answer(ssh_wire_t *w, struct pollfd *p, int timeout_ms)
{
  short known = 0;
  if ((p->events & POLLIN) && (w->ahead_len > 0 || w->readable == SOMETHING))
    known |= POLLIN;
  if ((p->events & POLLOUT) && has_space(w))
    known |= POLLOUT;
  p->revents = known;
  if (known)
    return 1;
  if (timeout_ms == 0 && (w->readable == NOTHING || !(p->events & POLLIN)))
    return 0;
  if (system_poll(p, 1, timeout_ms) < 0)
    return -1;
  if (p->events & POLLIN)
    w->readable = p->revents & (POLLIN | POLLHUP | POLLERR) ? SOMETHING : NOTHING;
  if ((p->revents & POLLOUT) && !has_space(w))
    p->revents &= (short)~POLLOUT;
  return p->revents != 0;
}

int ssh_wire_poll(struct pollfd *polls, nfds_t count, int timeout_ms)
{
  ssh_wire_t *w = count == 1 ? find(polls->fd) : NULL;
  return w != NULL ? answer(w, polls, timeout_ms) : system_poll(polls, count, timeout_ms);
}

int ssh_wire_wait(ssh_wire_t *wire, struct pollfd *polls, size_t count, int timeout_ms)
{
  ssh_wire_flush(wire);
  if (wire->stuck)
    polls->events |= POLLOUT;
  int rc = system_poll(polls, count, wire->ahead_len > 0 ? 0 : timeout_ms);
  wire->readable = UNKNOWN;
  if (rc < 0)
    return rc;
  if (polls->events & POLLIN)
    wire->readable = polls->revents & (POLLIN | POLLHUP | POLLERR) ? SOMETHING : NOTHING;
  if (polls->revents & POLLOUT)
    ssh_wire_flush(wire);
  if (wire->ahead_len > 0)
    polls->revents |= POLLIN;
  return rc;
}
