/* SPDX-License-Identifier: Apache-2.0 */
#include "common/process/packet.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/error.h"

/* Descriptors that one control buffer has room for: more than the one we accept, so that a peer which sends
 * several is seen doing it. What exceeds even this the kernel closes itself and reports as MSG_CTRUNC. */
enum { RECEIVED_FDS_MAX = 8 };

int packet_send(int sock, const void *data, size_t len, int fd)
{
  struct iovec iov = {(void *)(uintptr_t)data, len};
  union {
    struct cmsghdr align;
    char buf[CMSG_SPACE(sizeof(int))];
  } control;
  struct msghdr hdr = {.msg_iov = &iov, .msg_iovlen = 1};
  if (fd >= 0) {
    memset(&control, 0, sizeof control);
    hdr.msg_control = control.buf;
    hdr.msg_controllen = sizeof control.buf;
    struct cmsghdr *c = CMSG_FIRSTHDR(&hdr);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
  }
  ssize_t n;
  do
    n = sendmsg(sock, &hdr, MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  if (n >= 0)
    return SMPL_OK;
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS)
    return SMPL_EAGAIN;
  return errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN ? SMPL_ECLOSED : SMPL_ESYS;
}

/* Collects the descriptors of a received packet; returns how many there are. */
static size_t take_fds(struct msghdr *hdr, int *fds)
{
  size_t count = 0;
  for (struct cmsghdr *c = CMSG_FIRSTHDR(hdr); c != NULL; c = CMSG_NXTHDR(hdr, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
      continue;
    size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < n && count < RECEIVED_FDS_MAX; i++)
      memcpy(&fds[count++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
  }
  return count;
}

/* Nothing was received: the end, or an empty packet. */
static bool hung_up(int sock)
{
  struct pollfd p = {sock, POLLRDHUP, 0};
  return poll(&p, 1, 0) == 1 && (p.revents & (POLLRDHUP | POLLHUP)) != 0;
}

static ssize_t take(int sock, struct msghdr *hdr)
{
  ssize_t n;
  do
    n = recvmsg(sock, hdr, MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  return n;
}

int packet_receive(int sock, void *data, size_t cap, size_t *len, int *fd, bool *lost)
{
  *fd = -1;
  *lost = false;
  struct iovec iov = {data, cap};
  union {
    struct cmsghdr align;
    char buf[CMSG_SPACE(sizeof(int) * RECEIVED_FDS_MAX)];
  } control;
  struct msghdr hdr = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.buf,
                       .msg_controllen = sizeof control.buf};
  ssize_t n = take(sock, &hdr);
  if (n < 0 && errno == ECONNRESET) /* said once, and first, by a peer that went with packets unread */
    n = take(sock, &hdr);           /* but what it has sent still waits here */
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
    return SMPL_EAGAIN;
  if (n < 0)
    return errno == ECONNRESET ? SMPL_ECLOSED : SMPL_ESYS;
  int fds[RECEIVED_FDS_MAX];
  size_t count = take_fds(&hdr, fds);
  bool cut = (hdr.msg_flags & MSG_CTRUNC) != 0;
  int err = SMPL_OK;
  if (n == 0 && count == 0 && !cut && hung_up(sock))
    err = SMPL_ECLOSED;
  else if ((hdr.msg_flags & MSG_TRUNC) != 0 || count > 1 || (count == 1 && cut))
    err = SMPL_EPROTO;
  for (size_t i = 0; err && i < count; i++)
    close(fds[i]);
  if (err)
    return err;
  *len = (size_t)n;
  *lost = cut;
  if (count == 1)
    *fd = fds[0];
  return SMPL_OK;
}
