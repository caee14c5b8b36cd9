/* SPDX-License-Identifier: Apache-2.0 */
/* The few signed fields of a public-key login that the broker reads: session id and SSH_MSG_USERAUTH_REQUEST
 * (RFC 4252 §7). Pure, fuzzed: of everything a client sends, this alone is taken apart outside a worker. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "bastion/limits.h"
#include "bastion/contract/msg.h"
#include "common/ssh/cursor.h"

typedef struct signedreq {
  cursor_t session_hash;
  char user[MSG_USER_MAX];
  cursor_t algorithm;
  cursor_t key; /* public key blob */
} signedreq_t;

/* Slices point into data. SMPL_EPROTO unless it is exactly such a request, for service ssh-connection, method
 * publickey, with a signature, and nothing behind it. */
int signedreq_parse(const uint8_t *data, size_t len, signedreq_t *out);

/* Writes the same bytes for a user and key on file. SMPL_ELIMIT if they do not fit in cap. */
int signedreq_build(cursor_t session_hash, const char *user, const char *algorithm, cursor_t key,
                    uint8_t *out, size_t cap, size_t *len);
