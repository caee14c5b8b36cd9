/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/speaker/proof.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* RFC 4253 §12, RFC 5656 §4, RFC 4419 §5 */
enum { MESSAGE_NEWKEYS = 21, MESSAGE_KEX_REPLY = 31, MESSAGE_GEX_REPLY = 33 };

struct proof {
  bool over; /* found, or not to be found any more */
  bool found;
  bool greeted; /* its version has been read */
  size_t at;    /* what is before has been looked at */
  size_t len;
  cursor_t host_key, signature;
  uint8_t bytes[PROOF_BYTES_MAX];
};

proof_t *proof_new(void)
{
  proof_t *p = malloc(sizeof *p);
  if (p)
    memset(p, 0, offsetof(proof_t, bytes));
  return p;
}

void proof_free(proof_t *p)
{
  free(p);
}

/* RFC 4253 §4.2: lines, of which the version is the last. False: it is not whole yet. */
static bool greet(proof_t *p)
{
  while (!p->greeted) {
    const uint8_t *line = p->bytes + p->at;
    const uint8_t *end = memchr(line, '\n', p->len - p->at);
    if (!end)
      return false;
    p->greeted = end - line >= 4 && memcmp(line, "SSH-", 4) == 0;
    p->at = (size_t)(end - p->bytes) + 1;
  }
  return true;
}

/* The next packet's payload (RFC 4253 §6; nothing is encrypted yet). False: it is not whole yet, or none. */
static bool next(proof_t *p, cursor_t *payload)
{
  cursor_t rest = {p->bytes + p->at, p->len - p->at};
  cursor_t packet;
  uint8_t padding;
  if (cursor_string(&rest, &packet))
    return false;
  p->at = (size_t)(rest.data - p->bytes);
  p->over = cursor_u8(&packet, &padding) || padding >= packet.len;
  if (p->over)
    return false;
  *payload = (cursor_t){packet.data, packet.len - padding};
  return true;
}

/* In a group exchange the number of the reply is that of another message, of two fields. */
static void look(proof_t *p, cursor_t payload)
{
  uint8_t type = 0;
  cursor_t key, ephemeral, signature;
  cursor_u8(&payload, &type);
  if ((type == MESSAGE_KEX_REPLY || type == MESSAGE_GEX_REPLY) && !cursor_string(&payload, &key) &&
      !cursor_string(&payload, &ephemeral) && !cursor_string(&payload, &signature) && payload.len == 0) {
    p->host_key = key;
    p->signature = signature;
    p->found = true;
  }
  p->over = p->found || type == MESSAGE_NEWKEYS;
}

void proof_feed(proof_t *p, const void *data, size_t len)
{
  cursor_t payload;
  if (p->over)
    return;
  if (len > sizeof p->bytes - p->len) {
    p->over = true;
    return;
  }
  memcpy(p->bytes + p->len, data, len);
  p->len += len;
  if (!greet(p))
    return;
  while (!p->over && next(p, &payload))
    look(p, payload);
}

bool proof_get(const proof_t *p, cursor_t *host_key, cursor_t *signature)
{
  if (!p || !p->found)
    return false;
  *host_key = p->host_key;
  *signature = p->signature;
  return true;
}
