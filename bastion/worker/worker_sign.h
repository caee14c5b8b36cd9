/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures are the broker's. libssh calls OpenSSL's EVP_DigestSign for the host key and EVP_DigestVerify
 * for the user's signature; this executable defines both, so the calls land here and are sent on. The worker
 * holds no private key, and what it says about a signature counts nowhere: the broker verified it itself. */
#pragma once

#include <stdbool.h>

#include "bastion/worker/worker_pair.h"

enum { WORKER_SIGN_KINDS = 3 };

/* Which of the broker's host keys each kind is; -1: none. */
typedef struct worker_sign_keys {
  int ed25519;
  int ecdsa;
  int rsa;
} worker_sign_keys_t;

/* Once, in the worker, before the session starts. Both are borrowed for the life of the process. */
void worker_sign_start(worker_pair_t *pair, const worker_sign_keys_t *keys);

/* libssh drops a request whose signature is bad without an answer, and its client would wait for ever. So
 * every signature is called good toward libssh, and here is what the broker said of the last one: true once,
 * and only if it was good. Without a signature since the last call: false. */
bool worker_sign_verdict(void);
