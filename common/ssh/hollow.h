/* SPDX-License-Identifier: Apache-2.0 */
/* Hollow keys: the true public half of a key with a private one that is none, in the format of OpenSSH's
 * private keys. A process that holds nothing hands one to libssh, which then asks for signatures where it
 * would have made them. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
  HOLLOW_BLOB_MAX = 2080, /* bytes of the public half (RFC 4253 §6.6); RSA of 16384 bits has 2,071 */
  HOLLOW_TEXT_MAX = 6144, /* bytes of the text of the largest, with NUL */
};

/* As text that ssh_pki_import_privkey_base64 takes, into out of cap bytes, with NUL. Of ed25519, ECDSA and
 * RSA; SMPL_EINVAL for a malformed half or another kind, SMPL_ELIMIT if it does not fit. Pure. */
int hollow_text(const uint8_t *blob, size_t len, char *out, size_t cap);
