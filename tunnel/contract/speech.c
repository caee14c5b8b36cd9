/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/contract/speech.h"

#include <string.h>
#include <unistd.h>

#include "common/base/count.h"
#include "common/base/error.h"
#include "common/process/packet.h"

typedef enum carries { NO_FD, MAY_FD, HAS_FD } carries_t;

static const struct shape {
  size_t length; /* 0 for a type that does not exist */
  speech_from_t from;
  carries_t carries;
  size_t bytes_max; /* of those whose length varies; 0: it does not */
} shapes[] = {
    [SPEECH_START] = {sizeof(speech_start_t), SPEECH_FROM_SUPERVISOR, HAS_FD, 0},
    [SPEECH_SERVICE] = {sizeof(speech_plain_t), SPEECH_FROM_SUPERVISOR, NO_FD, 0},
    [SPEECH_HEAR] = {sizeof(speech_plain_t), SPEECH_FROM_SUPERVISOR, NO_FD, 0},
    [SPEECH_PROBE] = {sizeof(speech_bytes_t), SPEECH_FROM_SUPERVISOR, NO_FD, SPEECH_BYTES_MAX},
    [SPEECH_OFFER] = {sizeof(speech_bytes_t), SPEECH_FROM_SUPERVISOR, NO_FD, HOLLOW_TEXT_MAX - 1},
    [SPEECH_OFFER_AGENT] = {sizeof(speech_plain_t), SPEECH_FROM_SUPERVISOR, NO_FD, 0},
    [SPEECH_AGENT] = {sizeof(speech_plain_t), SPEECH_FROM_SUPERVISOR, HAS_FD, 0},
    [SPEECH_CERTIFICATE] = {sizeof(speech_bytes_t), SPEECH_FROM_SUPERVISOR, NO_FD, SPEECH_BYTES_MAX},
    [SPEECH_SIGNED] = {sizeof(speech_bytes_t), SPEECH_FROM_SUPERVISOR, NO_FD, SPEECH_SIGNATURE_MAX},
    [SPEECH_SERVE] = {sizeof(speech_plain_t), SPEECH_FROM_SUPERVISOR, NO_FD, 0},
    [SPEECH_OPEN] = {sizeof(speech_open_t), SPEECH_FROM_SUPERVISOR, MAY_FD, 0},
    [SPEECH_GIVE_UP] = {sizeof(speech_plain_t), SPEECH_FROM_SUPERVISOR, NO_FD, 0},
    [SPEECH_ASK] = {sizeof(speech_bytes_t), SPEECH_FROM_SUPERVISOR, NO_FD, SPEECH_BYTES_MAX},
    [SPEECH_KEEPALIVE] = {sizeof(speech_plain_t), SPEECH_FROM_SUPERVISOR, NO_FD, 0},
    [SPEECH_END] = {sizeof(speech_value_t), SPEECH_FROM_SUPERVISOR, NO_FD, 0},
    [SPEECH_HELLO] = {sizeof(speech_value_t), SPEECH_FROM_SPEAKER, NO_FD, 0},
    [SPEECH_EXCHANGED] = {sizeof(speech_exchanged_t), SPEECH_FROM_SPEAKER, NO_FD, 0},
    [SPEECH_DONE] = {sizeof(speech_done_t), SPEECH_FROM_SPEAKER, NO_FD, 0},
    [SPEECH_SIGN] = {sizeof(speech_bytes_t), SPEECH_FROM_SPEAKER, NO_FD, SPEECH_BYTES_MAX},
    [SPEECH_OPENED] = {sizeof(speech_plain_t), SPEECH_FROM_SPEAKER, NO_FD, 0},
    [SPEECH_REFUSED] = {sizeof(speech_text_t), SPEECH_FROM_SPEAKER, NO_FD, 0},
    [SPEECH_CLOSED] = {sizeof(speech_plain_t), SPEECH_FROM_SPEAKER, NO_FD, 0},
    [SPEECH_CONTROL] = {sizeof(speech_value_t), SPEECH_FROM_SPEAKER, NO_FD, 0},
    [SPEECH_LINE] = {sizeof(speech_bytes_t), SPEECH_FROM_SPEAKER, NO_FD, SPEECH_BYTES_MAX},
    [SPEECH_OVER] = {sizeof(speech_text_t), SPEECH_FROM_SPEAKER, NO_FD, 0},
    [SPEECH_CRASHED] = {sizeof(speech_text_t), SPEECH_FROM_SPEAKER, NO_FD, 0},
};

static const struct shape *shape_of(unsigned type)
{
  if (type >= COUNT_OF(shapes) || shapes[type].length == 0)
    return NULL;
  return &shapes[type];
}

/* ---- order ---- */

#define FROM(type) ((type)-SPEECH_HELLO)

enum { Y = 1 };

// clang-format off
static const unsigned char may[][SPEECH_STATES] = {
    /*                          BORN QUIET STARTING ASKED OFFERING SERVING OVER */
    [FROM(SPEECH_HELLO)] =     {Y,   0,    0,       0,    0,       0,      0},
    [FROM(SPEECH_EXCHANGED)] = {0,   0,    Y,       0,    0,       0,      0},
    [FROM(SPEECH_DONE)] =      {0,   0,    0,       Y,    Y,       0,      0},
    [FROM(SPEECH_SIGN)] =      {0,   0,    0,       0,    Y,       0,      0},
    [FROM(SPEECH_OPENED)] =    {0,   0,    0,       0,    0,       Y,      0},
    [FROM(SPEECH_REFUSED)] =   {0,   0,    0,       0,    0,       Y,      0},
    [FROM(SPEECH_CLOSED)] =    {0,   0,    0,       0,    0,       Y,      0},
    [FROM(SPEECH_CONTROL)] =   {0,   0,    0,       0,    0,       Y,      0},
    [FROM(SPEECH_LINE)] =      {0,   0,    0,       0,    0,       Y,      0},
    [FROM(SPEECH_OVER)] =      {0,   0,    0,       0,    0,       Y,      0},
    [FROM(SPEECH_CRASHED)] =   {Y,   Y,    Y,       Y,    Y,       Y,      Y},
};
// clang-format on

bool speech_may(speech_state_t state, speech_type_t type)
{
  return type >= SPEECH_HELLO && type <= SPEECH_CRASHED && (unsigned)state < SPEECH_STATES &&
         may[FROM(type)][state] == Y;
}

/* ---- form ---- */

size_t speech_length(const speech_t *m)
{
  const struct shape *shape = shape_of(m->h.type);
  if (!shape)
    return 0;
  if (shape->bytes_max == 0)
    return shape->length;
  return m->bytes.len <= shape->bytes_max ? offsetof(speech_bytes_t, bytes) + m->bytes.len : 0;
}

static bool ends(const char *text, size_t cap)
{
  return memchr(text, '\0', cap) != NULL;
}

#define ENDS(text) ends(text, sizeof(text))

static bool start_ok(const speech_start_t *m)
{
  bool ok = ENDS(m->host) && ENDS(m->user) && m->port <= UINT16_MAX && m->rsa_bits <= UINT16_MAX + 1 &&
            m->read_ahead <= 1;
  for (size_t i = 0; i < SPEECH_LISTS; i++)
    ok = ok && ENDS(m->lists[i]);
  return ok;
}

static bool exchanged_ok(const speech_exchanged_t *m)
{
  return m->result < SPEECH_RESULTS && m->greeted <= 1 && ENDS(m->error) && ENDS(m->preface) &&
         ENDS(m->kex) && ENDS(m->cipher) && m->key_len <= sizeof m->key &&
         m->signature_len <= sizeof m->signature && (m->result != SPEECH_RESULT_FINE || m->key_len > 0);
}

static bool done_ok(const speech_done_t *m)
{
  return m->result <= SPEECH_RESULT_FAILED && m->connected <= 1 && ENDS(m->error) && ENDS(m->banner);
}

static bool open_ok(const speech_open_t *m)
{
  return ENDS(m->host) && m->port <= UINT16_MAX && ENDS(m->originator) && m->originator_port <= UINT16_MAX &&
         m->greeting_len <= sizeof m->greeting && m->h.number > 0;
}

static bool is_text(const speech_bytes_t *m)
{
  return memchr(m->bytes, '\0', m->len) == NULL;
}

/* The message is known to be as long as its type says. */
static bool fields_ok(const speech_t *m)
{
  switch ((speech_type_t)m->h.type) {
  case SPEECH_START:
    return start_ok(&m->start);
  case SPEECH_OPEN:
    return open_ok(&m->open);
  case SPEECH_OFFER:
  case SPEECH_ASK:
  case SPEECH_LINE:
    return is_text(&m->bytes);
  case SPEECH_EXCHANGED:
    return exchanged_ok(&m->exchanged);
  case SPEECH_DONE:
    return done_ok(&m->done);
  case SPEECH_REFUSED:
    return m->text.value <= 1 && ENDS(m->text.text) && m->h.number > 0;
  case SPEECH_OVER:
    return m->text.value < SPEECH_OVERS && ENDS(m->text.text);
  case SPEECH_CRASHED:
    return ENDS(m->text.text);
  case SPEECH_HELLO:
    return m->value.value < SPEECH_WALLS;
  case SPEECH_CONTROL:
    return m->value.value <= 1;
  case SPEECH_GIVE_UP:
  case SPEECH_OPENED:
  case SPEECH_CLOSED:
    return m->h.number > 0;
  default:
    return true;
  }
}

int speech_check(const speech_t *m, size_t len, speech_from_t from)
{
  if (len < sizeof m->h || len > sizeof *m || m->h.version != SPEECH_VERSION)
    return SMPL_EPROTO;
  const struct shape *shape = shape_of(m->h.type);
  if (!shape || shape->from != from)
    return SMPL_EPROTO;
  /* Where the length stands in the message it is read only if it has arrived. */
  if (shape->bytes_max > 0 && len < offsetof(speech_bytes_t, bytes))
    return SMPL_EPROTO;
  return len == speech_length(m) && fields_ok(m) ? SMPL_OK : SMPL_EPROTO;
}

void speech_init(speech_t *m, speech_type_t type, uint32_t number)
{
  const struct shape *shape = shape_of(type);
  size_t fixed = !shape                 ? sizeof m->h
                 : shape->bytes_max > 0 ? offsetof(speech_bytes_t, bytes)
                                        : shape->length;
  memset(m, 0, fixed);
  m->h = (speech_header_t){SPEECH_VERSION, (uint16_t)type, number};
}

int speech_init_bytes(speech_t *m, speech_type_t type, const void *bytes, size_t len)
{
  speech_init(m, type, 0);
  if (len > shapes[type].bytes_max)
    return SMPL_ELIMIT;
  m->bytes.len = (uint32_t)len;
  if (len > 0)
    memcpy(m->bytes.bytes, bytes, len);
  return SMPL_OK;
}

/* ---- packets ---- */

int speech_send(int sock, const speech_t *m, int fd)
{
  size_t len = speech_length(m);
  return len == 0 ? SMPL_EPROTO : packet_send(sock, m, len, fd);
}

static bool fd_ok(const speech_t *m, int fd, bool lost)
{
  carries_t carries = shapes[m->h.type].carries;
  return !lost && (fd >= 0 ? carries != NO_FD : carries != HAS_FD);
}

int speech_receive(int sock, speech_t *m, speech_from_t from, int *fd)
{
  size_t len = 0;
  bool lost = false;
  int err = packet_receive(sock, m, sizeof *m, &len, fd, &lost);
  if (err)
    return err;
  if (speech_check(m, len, from) == SMPL_OK && fd_ok(m, *fd, lost))
    return SMPL_OK;
  if (*fd >= 0)
    close(*fd);
  *fd = -1;
  return SMPL_EPROTO;
}
