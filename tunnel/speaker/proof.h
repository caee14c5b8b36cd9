/* SPDX-License-Identifier: Apache-2.0 */
/* How the server proved its host key, read from the first bytes that it sends: the answer of a key exchange
 * goes over the wire in plain text. libssh checks it and keeps it to itself. An agent wants to see it before
 * it signs with a key that is meant for some hosts alone (OpenSSH's PROTOCOL.agent,
 * session-bind@openssh.com). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/ssh/cursor.h"

enum {
  PROOF_BYTES_MAX =
      64 << 10, /* bytes of a server that are looked at; the proof stands in the first few thousand */
};

typedef struct proof proof_t;

/* NULL: out of memory. */
proof_t *proof_new(void);
/* What the server has sent, as it comes. */
void proof_feed(proof_t *proof, const void *data, size_t len);
/* The host key's blob and its signature under the exchange, within proof's memory. False: none was seen. NULL
 * allowed. */
bool proof_get(const proof_t *proof, cursor_t *host_key, cursor_t *signature);
void proof_free(proof_t *proof);
