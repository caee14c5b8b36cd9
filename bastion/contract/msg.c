/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/contract/msg.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/error.h"

/* Descriptors that one control buffer has room for: more than the one we accept, so that a peer which sends
 * several is seen doing it. What exceeds even this the kernel closes itself and reports as MSG_CTRUNC. */
enum { RECEIVED_FDS_MAX = 8 };

enum { WALLS_ALL = MSG_WALL_SANITIZER * 2 - 1 };

static const struct shape {
  size_t length; /* 0 for a type that does not exist */
  msg_from_t from;
  bool carries_fd;
} shapes[] = {
    [MSG_HOST_KEY] = {sizeof(msg_host_key_t), MSG_FROM_BROKER_TO_TEMPLATE, false},
    [MSG_SPAWN] = {sizeof(msg_plain_t), MSG_FROM_BROKER_TO_TEMPLATE, true},
    [MSG_SPAWN_PAIR] = {sizeof(msg_plain_t), MSG_FROM_BROKER_TO_TEMPLATE, true},
    [MSG_KILL] = {sizeof(msg_plain_t), MSG_FROM_BROKER_TO_TEMPLATE, false},
    [MSG_TEMPLATE_READY] = {sizeof(msg_walls_t), MSG_FROM_TEMPLATE, false},
    [MSG_SPAWNED] = {sizeof(msg_child_t), MSG_FROM_TEMPLATE, false},
    [MSG_EXITED] = {sizeof(msg_child_t), MSG_FROM_TEMPLATE, false},
    [MSG_HELLO] = {sizeof(msg_walls_t), MSG_FROM_WORKER, false},
    [MSG_SIGN] = {sizeof(msg_sign_t), MSG_FROM_WORKER, false},
    [MSG_VERIFY] = {sizeof(msg_verify_t), MSG_FROM_WORKER, false},
    [MSG_PROBE] = {sizeof(msg_login_t), MSG_FROM_WORKER, false},
    [MSG_LOGIN] = {sizeof(msg_login_t), MSG_FROM_WORKER, false},
    [MSG_OPEN] = {sizeof(msg_open_t), MSG_FROM_WORKER, false},
    [MSG_CHANNEL_END] = {sizeof(msg_traffic_t), MSG_FROM_WORKER, false},
    [MSG_TRAFFIC] = {sizeof(msg_traffic_t), MSG_FROM_WORKER, false},
    [MSG_CONTROL] = {sizeof(msg_json_t), MSG_FROM_WORKER, false},
    [MSG_NOTE] = {sizeof(msg_text_t), MSG_FROM_WORKER, false},
    [MSG_BYE] = {sizeof(msg_text_t), MSG_FROM_WORKER, false},
    [MSG_CRASHED] = {sizeof(msg_text_t), MSG_FROM_WORKER, false},
    [MSG_START] = {sizeof(msg_start_t), MSG_FROM_BROKER_TO_WORKER, false},
    [MSG_SIGNED] = {sizeof(msg_signed_t), MSG_FROM_BROKER_TO_WORKER, false},
    [MSG_VERIFIED] = {sizeof(msg_verified_t), MSG_FROM_BROKER_TO_WORKER, false},
    [MSG_PROBED] = {sizeof(msg_probed_t), MSG_FROM_BROKER_TO_WORKER, false},
    [MSG_WELCOME] = {sizeof(msg_welcome_t), MSG_FROM_BROKER_TO_WORKER, false},
    [MSG_OPENED] = {sizeof(msg_opened_t), MSG_FROM_BROKER_TO_WORKER, true},
    [MSG_REFUSED] = {sizeof(msg_refused_t), MSG_FROM_BROKER_TO_WORKER, false},
    [MSG_CONTROL_REPLY] = {sizeof(msg_json_t), MSG_FROM_BROKER_TO_WORKER, false},
    [MSG_EVENT] = {sizeof(msg_json_t), MSG_FROM_BROKER_TO_WORKER, false},
    [MSG_END] = {sizeof(msg_text_t), MSG_FROM_BROKER_TO_WORKER, false},
    [MSG_SAY] = {sizeof(msg_text_t), MSG_FROM_BROKER_TO_WORKER, false},
};

static const struct shape *shape_of(unsigned type)
{
  if (type >= sizeof shapes / sizeof *shapes || shapes[type].length == 0)
    return NULL;
  return &shapes[type];
}

static bool is_json(unsigned type)
{
  return type == MSG_CONTROL || type == MSG_CONTROL_REPLY || type == MSG_EVENT;
}

size_t msg_length(const msg_t *m)
{
  const struct shape *shape = shape_of(m->h.type);
  if (shape == NULL)
    return 0;
  if (!is_json(m->h.type))
    return shape->length;
  if (m->json.len >= MSG_JSON_MAX)
    return 0;
  return offsetof(msg_json_t, json) + m->json.len + 1;
}

static bool ends(const char *text, size_t cap)
{
  return memchr(text, '\0', cap) != NULL;
}

static bool login_ok(const msg_login_t *m)
{
  return ends(m->user, sizeof m->user) && ends(m->client_version, sizeof m->client_version) &&
         m->key_len <= MSG_KEY_MAX;
}

static bool open_ok(const msg_open_t *m)
{
  return ends(m->host, sizeof m->host) && ends(m->originator, sizeof m->originator) &&
         m->port <= UINT16_MAX && m->originator_port <= UINT16_MAX && m->turned_away < REASON_COUNT;
}

static bool start_ok(const msg_start_t *m)
{
  return ends(m->id, sizeof m->id) && m->id[0] != '\0' && m->algorithms < MSG_ALGORITHMS_COUNT;
}

static bool sign_ok(const msg_sign_t *m)
{
  return m->key < MSG_HOST_KEYS_MAX && m->len <= sizeof m->data &&
         (m->digest == 0 || m->digest == 256 || m->digest == 512);
}

static bool verify_ok(const msg_verify_t *m)
{
  return m->signature_len <= MSG_SIGNATURE_MAX && m->data_len <= MSG_SIGNED_MAX;
}

static bool text_ok(const msg_text_t *m)
{
  return m->reason < REASON_COUNT && ends(m->text, sizeof m->text);
}

/* The message is known to be as long as its type says. */
static bool fields_ok(const msg_t *m)
{
  switch ((msg_type_t)m->h.type) {
  case MSG_HOST_KEY:
    return ends(m->host_key.base64, sizeof m->host_key.base64) && m->host_key.base64[0] != '\0';
  case MSG_SPAWN:
  case MSG_SPAWN_PAIR:
  case MSG_KILL:
  case MSG_SPAWNED:
  case MSG_EXITED:
  case MSG_OPENED:
    return true;
  case MSG_TEMPLATE_READY:
  case MSG_HELLO:
    return m->walls.walls <= WALLS_ALL;
  case MSG_START:
    return start_ok(&m->start);
  case MSG_SIGN:
    return sign_ok(&m->sign);
  case MSG_SIGNED:
    return m->signed_.ok <= 1 && m->signed_.len <= MSG_SIGNATURE_MAX;
  case MSG_VERIFY:
    return verify_ok(&m->verify);
  case MSG_VERIFIED:
    return m->verified.ok <= 1;
  case MSG_PROBE:
  case MSG_LOGIN:
    return login_ok(&m->login);
  case MSG_PROBED:
    return m->probed.ok <= 1 && m->probed.reason < REASON_COUNT;
  case MSG_WELCOME:
    return ends(m->welcome.banner, sizeof m->welcome.banner);
  case MSG_OPEN:
    return open_ok(&m->open);
  case MSG_REFUSED:
    return m->refused.reason < REASON_COUNT;
  case MSG_CHANNEL_END:
  case MSG_TRAFFIC:
    return m->traffic.reason < REASON_COUNT;
  case MSG_CONTROL:
  case MSG_CONTROL_REPLY:
  case MSG_EVENT:
    return memchr(m->json.json, '\0', m->json.len + 1) == m->json.json + m->json.len;
  case MSG_NOTE:
  case MSG_BYE:
  case MSG_CRASHED:
  case MSG_END:
  case MSG_SAY:
    return text_ok(&m->text);
  }
  return false;
}

int msg_check(const msg_t *m, size_t len, msg_from_t from)
{
  if (len < sizeof m->h || len > sizeof *m || m->h.version != MSG_VERSION)
    return SMPL_EPROTO;
  const struct shape *shape = shape_of(m->h.type);
  if (shape == NULL || shape->from != from)
    return SMPL_EPROTO;
  /* The length of a JSON message stands in the message: read it only if it has arrived. */
  if (is_json(m->h.type) && len < offsetof(msg_json_t, json) + 1)
    return SMPL_EPROTO;
  if (len != msg_length(m) || !fields_ok(m))
    return SMPL_EPROTO;
  return SMPL_OK;
}

void msg_init(msg_t *m, msg_type_t type, uint32_t request, uint64_t session)
{
  const struct shape *shape = shape_of(type);
  memset(m, 0, is_json(type) ? offsetof(msg_json_t, json) + 1 : shape != NULL ? shape->length : sizeof m->h);
  m->h = (msg_header_t){MSG_VERSION, (uint16_t)type, request, session};
}

int msg_send(int sock, const msg_t *m, int fd)
{
  size_t len = msg_length(m);
  if (len == 0)
    return SMPL_EPROTO;
  struct iovec iov = {(void *)(uintptr_t)m, len};
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

/* Whether a well-formed message came with the descriptors that its type carries. */
static bool fds_ok(const msg_t *m, size_t count, bool truncated)
{
  if (!shapes[m->h.type].carries_fd)
    return count == 0 && !truncated;
  if (count == 1 && !truncated)
    return true;
  return m->h.type == MSG_OPENED && count == 0 && truncated;
}

/* Nothing was received: the end, or an empty packet. */
static bool hung_up(int sock)
{
  struct pollfd p = {sock, POLLRDHUP, 0};
  return poll(&p, 1, 0) == 1 && (p.revents & (POLLRDHUP | POLLHUP)) != 0;
}

int msg_receive(int sock, msg_t *m, msg_from_t from, int *fd)
{
  *fd = -1;
  struct iovec iov = {m, sizeof *m};
  union {
    struct cmsghdr align;
    char buf[CMSG_SPACE(sizeof(int) * RECEIVED_FDS_MAX)];
  } control;
  struct msghdr hdr = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.buf,
                       .msg_controllen = sizeof control.buf};
  ssize_t n;
  do
    n = recvmsg(sock, &hdr, MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
    return SMPL_EAGAIN;
  if (n < 0)
    return errno == ECONNRESET ? SMPL_ECLOSED : SMPL_ESYS;
  int fds[RECEIVED_FDS_MAX];
  size_t count = take_fds(&hdr, fds);
  bool truncated = (hdr.msg_flags & MSG_CTRUNC) != 0;
  int err = SMPL_OK;
  if (n == 0 && count == 0 && !truncated && hung_up(sock))
    err = SMPL_ECLOSED;
  else if ((hdr.msg_flags & MSG_TRUNC) != 0 || msg_check(m, (size_t)n, from) || !fds_ok(m, count, truncated))
    err = SMPL_EPROTO;
  if (err) {
    for (size_t i = 0; i < count; i++)
      close(fds[i]);
    return err;
  }
  if (count == 1)
    *fd = fds[0];
  return SMPL_OK;
}
