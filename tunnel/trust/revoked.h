/* SPDX-License-Identifier: Apache-2.0 */
/* RevokedHostKeys of ssh_config: a list of public keys, one a line, or a key revocation list of ssh-keygen.
 */
#pragma once

#include <libssh/libssh.h>
#include <stddef.h>
#include <stdint.h>

#include "tunnel/limits.h"
#include "common/base/diag.h"

/* SMPL_OK: the key is not in file. SMPL_EDENIED: it is. Another error: the file does not say, so that no key
 * can be trusted. */
int revoked_judge(const char *file, ssh_key key, diag_t *diag);
/* The same of a host certificate (a public line, shorter than a pipe) and of the authority that signed it
 * (its key's bytes). */
int revoked_judge_certificate(const char *file, const char *certificate, const uint8_t *signer, size_t len,
                              diag_t *diag);
