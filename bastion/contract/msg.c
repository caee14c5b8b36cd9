/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/contract/msg.h"

#include <string.h>
#include <unistd.h>

#include "common/base/count.h"
#include "common/base/error.h"
#include "common/process/packet.h"

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
  if (type >= COUNT_OF(shapes) || shapes[type].length == 0)
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
  return len == 0 ? SMPL_EPROTO : packet_send(sock, m, len, fd);
}

/* Whether a well-formed message came with the descriptor that its type carries. */
static bool fd_ok(const msg_t *m, int fd, bool lost)
{
  if (!shapes[m->h.type].carries_fd)
    return fd < 0 && !lost;
  return fd >= 0 || (lost && m->h.type == MSG_OPENED);
}

int msg_receive(int sock, msg_t *m, msg_from_t from, int *fd)
{
  size_t len = 0;
  bool lost = false;
  int err = packet_receive(sock, m, sizeof *m, &len, fd, &lost);
  if (err)
    return err;
  if (msg_check(m, len, from) == SMPL_OK && fd_ok(m, *fd, lost))
    return SMPL_OK;
  if (*fd >= 0)
    close(*fd);
  *fd = -1;
  return SMPL_EPROTO;
}
