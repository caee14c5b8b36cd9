/* SPDX-License-Identifier: Apache-2.0 */
/* Identity files: private keys, and public ones whose private half is elsewhere. */
#pragma once

#include <libssh/libssh.h>
#include <stdbool.h>

#include "tunnel/limits.h"
#include "common/base/diag.h"

/* The private key in a file that nobody else can read. passphrase NULL: none is known yet. NULL when there is
 * none to be had: *locked when only the passphrase is missing or wrong, else *diag says why. */
ssh_key identity_load(const char *path, const char *passphrase, bool *locked, diag_t *diag);

/* Whether the key's text is sealed with a cipher that libssh must not see: it ends the program. */
bool identity_seal_is_foreign(const char *pem);
/* The same key without its passphrase, by ssh-keygen, in malloc'ed memory that the caller wipes. NULL: it is
 * not the passphrase, or *error is why ssh-keygen could not be run. */
char *identity_unseal(const char *pem, size_t len, const char *passphrase, size_t *out_len, int *error);

/* The public key in a file; a FIFO or a device is not waited for. NULL: there is none. */
ssh_key identity_read_public(const char *path);
/* A public key given where the private one belongs. */
bool identity_is_public(const char *path);

/* The public half: from the file beside it, or from itself. NULL: neither tells. */
ssh_key identity_public_half(const char *path);
