/* SPDX-License-Identifier: Apache-2.0 */
/* What a public-key login signs: session id and SSH_MSG_USERAUTH_REQUEST (RFC 4252 §7). Pure, fuzzed: of all
 * that a client sends, the bastion's broker takes this alone apart; of all that is to be signed, smpl-tunnel
 * lets this alone pass. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/ssh/cursor.h"

enum {
  SIGNEDREQ_USER_MAX = 64,         /* bytes of a user's name, with NUL */
  SIGNEDREQ_SESSION_HASH_MAX = 64, /* bytes of an exchange hash: SHA-256, -384 or -512 */
};

typedef struct signedreq {
  cursor_t session_hash;
  char user[SIGNEDREQ_USER_MAX];
  cursor_t algorithm;
  cursor_t key; /* public key blob */
} signedreq_t;

/* Slices point into data. SMPL_EPROTO unless it is exactly such a request, for service ssh-connection, method
 * publickey, with a signature, and nothing behind it. */
int signedreq_parse(const uint8_t *data, size_t len, signedreq_t *out);

/* Writes the same bytes for a user and key on file. SMPL_ELIMIT if they do not fit in cap. */
int signedreq_build(cursor_t session_hash, const char *user, const char *algorithm, cursor_t key,
                    uint8_t *out, size_t cap, size_t *len);
