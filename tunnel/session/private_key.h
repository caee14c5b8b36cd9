/* SPDX-License-Identifier: Apache-2.0 */
/* Signing with a private key that libssh has read. libssh signs nothing outside a session, and the session is
 * another process's: OpenSSL does it. */
#pragma once

#include <libssh/libssh.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ssh/cursor.h"

/* The digest of an algorithm, as OpenSSL calls it; "" if it brings its own, NULL if it is none of ours. Pure.
 */
const char *private_key_digest(cursor_t algorithm);

/* Signs for this algorithm of a login ("rsa-sha2-512", or a certificate's), as OpenSSL's EVP_DigestSign does:
 * without SSH's wrapping. SMPL_EINVAL for another algorithm; SMPL_ELIMIT if it does not fit; SMPL_ESYS. */
int private_key_sign(ssh_key key, cursor_t algorithm, const uint8_t *data, size_t len, uint8_t *out,
                     size_t cap, size_t *out_len);
