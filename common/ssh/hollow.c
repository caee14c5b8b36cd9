/* SPDX-License-Identifier: Apache-2.0 */
#include "common/ssh/hollow.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/base/error.h"
#include "common/ssh/base64.h"
#include "common/ssh/cursor.h"

enum {
  SEED_LEN = 32,
  PUBLIC_LEN = 32,
  BLOCK_LEN = 8,
  BODY_LINE = 70,
  SECRET_MAX = HOLLOW_BLOB_MAX + 64,
  BINARY_MAX = HOLLOW_BLOB_MAX + SECRET_MAX + 64,
};

static const char begin_line[] = "-----BEGIN OPENSSH PRIVATE KEY-----";
static const char end_line[] = "-----END OPENSSH PRIVATE KEY-----";
static const char magic[] = "openssh-key-v1"; /* with its NUL */

/* A private number that is none. libssh takes the remainders of the exponent by the primes less one: no zero
 * there. */
static void put_number(cursor_out_t *w, uint8_t number)
{
  cursor_put_string(w, &number, 1);
}

static bool put_ed25519(cursor_out_t *w, cursor_t point)
{
  uint8_t halves[SEED_LEN + PUBLIC_LEN] = {0};
  if (point.len != PUBLIC_LEN)
    return false;
  memcpy(halves + SEED_LEN, point.data, PUBLIC_LEN);
  cursor_put_string(w, point.data, point.len);
  cursor_put_string(w, halves, sizeof halves);
  return true;
}

static bool put_ecdsa(cursor_out_t *w, cursor_t curve, cursor_t point)
{
  cursor_put_string(w, curve.data, curve.len);
  cursor_put_string(w, point.data, point.len);
  put_number(w, 1);
  return true;
}

static bool put_rsa(cursor_out_t *w, cursor_t e, cursor_t n)
{
  cursor_put_string(w, n.data, n.len); /* the other way round than in the public half */
  cursor_put_string(w, e.data, e.len);
  put_number(w, 1); /* d */
  put_number(w, 1); /* iqmp */
  put_number(w, 3); /* p, q */
  put_number(w, 3);
  return true;
}

static bool is_ecdsa(cursor_t kind)
{
  return cursor_is(kind, "ecdsa-sha2-nistp256") || cursor_is(kind, "ecdsa-sha2-nistp384") ||
         cursor_is(kind, "ecdsa-sha2-nistp521");
}

static bool put_halves(cursor_out_t *w, cursor_t blob)
{
  cursor_t kind, first, second;
  if (cursor_string(&blob, &kind) || cursor_string(&blob, &first))
    return false;
  if (cursor_is(kind, "ssh-ed25519"))
    return put_ed25519(w, first);
  if (cursor_string(&blob, &second))
    return false;
  if (is_ecdsa(kind))
    return put_ecdsa(w, first, second);
  return cursor_is(kind, "ssh-rsa") && put_rsa(w, first, second);
}

static bool put_secret(cursor_out_t *w, cursor_t blob)
{
  cursor_t rest = blob, kind;
  if (cursor_string(&rest, &kind))
    return false;
  cursor_put_u32(w, 0); /* the two check numbers are equal in a key that was not decrypted wrongly */
  cursor_put_u32(w, 0);
  cursor_put_string(w, kind.data, kind.len);
  if (!put_halves(w, blob))
    return false;
  cursor_put_text(w, "");
  for (uint8_t i = 1; !w->full && w->len % BLOCK_LEN != 0; i++)
    cursor_put_u8(w, i);
  return true;
}

static int armour(const uint8_t *binary, size_t len, char *out, size_t cap)
{
  char body[BASE64_TEXT(BINARY_MAX)];
  base64_encode(binary, len, body);
  size_t whole = strlen(body), lines = (whole + BODY_LINE - 1) / BODY_LINE;
  if (sizeof begin_line + whole + lines + sizeof end_line + 1 > cap)
    return SMPL_ELIMIT;
  size_t used = (size_t)snprintf(out, cap, "%s\n", begin_line);
  for (size_t at = 0; at < whole; at += BODY_LINE)
    used += (size_t)snprintf(out + used, cap - used, "%.*s\n", BODY_LINE, body + at);
  snprintf(out + used, cap - used, "%s\n", end_line);
  return SMPL_OK;
}

int hollow_text(const uint8_t *blob, size_t len, char *out, size_t cap)
{
  uint8_t secret[SECRET_MAX], binary[BINARY_MAX];
  cursor_out_t s = cursor_into(secret, sizeof secret);
  cursor_out_t w = cursor_into(binary, sizeof binary);
  if (len > HOLLOW_BLOB_MAX)
    return SMPL_ELIMIT;
  if (!put_secret(&s, (cursor_t){blob, len}))
    return SMPL_EINVAL;
  cursor_put_bytes(&w, magic, sizeof magic);
  cursor_put_text(&w, "none");
  cursor_put_text(&w, "none");
  cursor_put_text(&w, "");
  cursor_put_u32(&w, 1);
  cursor_put_string(&w, blob, len);
  cursor_put_string(&w, secret, s.len);
  return s.full || w.full ? SMPL_ELIMIT : armour(binary, w.len, out, cap);
}
