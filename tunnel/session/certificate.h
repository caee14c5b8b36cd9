/* SPDX-License-Identifier: Apache-2.0 */
/* The OpenSSH certificate that belongs to a user's key: CertificateFile, or the file that ssh-keygen puts
 * beside it. */
#pragma once

#include <libssh/libssh.h>
#include <stdbool.h>
#include <stddef.h>

#include "tunnel/limits.h"
#include "tunnel/session/ssh_config.h"

/* The caller's to free; NULL: there is none. path is the key's. */
ssh_key certificate_find(const ssh_config_t *config, const char *path, ssh_key key);

/* Whether a certificate, "TYPE BASE64 COMMENT", is for the public key "BASE64". Pure; the bounded reader. */
bool certificate_is_for(const char *certificate, size_t len, const char *public_key);
