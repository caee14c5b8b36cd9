/* SPDX-License-Identifier: Apache-2.0 */
/* DNS cookies (RFC 7873) in the form of RFC 9018: a client that sends one back has received an answer at its
 * address. So that address is not forged. One of these a worker, all made from one secret; no allocation,
 * lock or system call after cookies_new. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/ip.h"

enum {
  COOKIE_CLIENT_LEN = 8,
  COOKIE_SERVER_LEN = 16, /* of ours; RFC 7873 allows 8 to 32 */
  COOKIE_SERVER_MIN = 8,
  COOKIE_SERVER_MAX = 32,
  COOKIE_KEY_LEN = 16,
};

/* What cookies are made from: random at start, the same for all workers, in no file. */
typedef struct cookie_secret {
  uint8_t key[COOKIE_KEY_LEN];
  uint64_t made_ms; /* by clock_mono_ms */
} cookie_secret_t;

/* SMPL_ESYS without random bytes. */
int cookie_secret_make(cookie_secret_t *out);

typedef struct cookies cookies_t;

/* SMPL_ENOMEM; SMPL_ESYS when OpenSSL has no SipHash. */
int cookies_new(const cookie_secret_t *secret, cookies_t **out);
void cookies_free(cookies_t *cookies);

/* A client's cookie and address at a time: seconds of the wall clock for the cookie's age, milliseconds of
 * the monotonic one for the secret, which is replaced every COOKIE_ROTATE_MS. */
typedef struct cookie_client {
  const uint8_t *cookie; /* COOKIE_CLIENT_LEN bytes */
  const ip_t *address;
  uint32_t wall_s;
  uint64_t mono_ms;
} cookie_client_t;

/* The server cookie of COOKIE_SERVER_LEN bytes for the client. */
void cookies_make(cookies_t *cookies, const cookie_client_t *client, uint8_t *out);

/* True if the server cookie was made here for this client, with the present secret or the one before. It may
 * be COOKIE_AGE_MAX_S seconds old (RFC 9018 section 4.3). */
bool cookies_valid(cookies_t *cookies, const cookie_client_t *client, const uint8_t *cookie, size_t len);
