/* SPDX-License-Identifier: Apache-2.0 */
/* The one place that says who has signed in (invariant 4): a signature counts only over this session's id,
 * for a user of the configuration, by a key on this user's file. */
#pragma once

#include "bastion/policy/config.h"
#include "bastion/contract/msg.h"
#include "common/ssh/cursor.h"

/* By what. */
typedef enum verify_how { VERIFY_NONE, VERIFY_KEY, VERIFY_SECURITY_KEY } verify_how_t;

enum { /* bits of strength: what the security key says that it asked of its user */
       VERIFY_TOUCHED = 1,
       VERIFY_CHECKED = 2, /* a PIN, a finger */
};

typedef struct verify_result {
  reason_t reason;         /* REASON_NONE: the signature holds */
  char user[MSG_USER_MAX]; /* as claimed; "" if it cannot be read */
  const authkey_t *key;    /* NULL unless on file */
  cursor_t blob;           /* of the key as claimed, points into data; may be empty */
  verify_how_t how;
  unsigned strength; /* 0 for what is no security key */
} verify_result_t;

/* signature as EVP_DigestVerify takes it. data is session id and request (RFC 4252 §7), or what a security
 * key signs. Pure but for OpenSSL. */
verify_result_t verify_login(const config_t *config, cursor_t session_hash, const uint8_t *signature,
                             size_t signature_len, const uint8_t *data, size_t data_len);

/* Whether a key is on file for a user: REASON_NONE, REASON_UNKNOWN_USER, REASON_UNKNOWN_KEY,
 * REASON_KEY_NOT_ACCEPTED. */
reason_t verify_known(const config_t *config, const char *user, const uint8_t *blob, size_t len,
                      const authkey_t **key);

/* Whether a key on file may be used from there and then (seconds since 1970): REASON_NONE,
 * REASON_KEY_EXPIRED, REASON_SOURCE_NOT_ALLOWED. Pure. */
reason_t verify_usable(const authkey_t *key, const ip_t *source, uint64_t now_s);
