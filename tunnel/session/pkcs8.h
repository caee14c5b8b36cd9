/* SPDX-License-Identifier: Apache-2.0 */
/* Ed25519 keys in PKCS #8 (RFC 8410), as openssl genpkey makes them: libssh takes such a file, and then
 * cannot sign with it. */
#pragma once

#include <libssh/libssh.h>

/* The key in this PEM text; passphrase may be NULL. NULL: it is none of these, or the passphrase is wrong.
 * ssh_key_free. */
ssh_key pkcs8_ed25519(const char *pem, const char *passphrase);
