/* SPDX-License-Identifier: Apache-2.0 */
/* The bastion's host keys: unencrypted OpenSSH private key files (OpenSSH's PROTOCOL.key), at most one of
 * each family. The private halves stay in the broker; workers get hollow keys, the true public half with a
 * private one that is none, and ask for signatures. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bastion/limits.h"
#include "bastion/contract/msg.h"
#include "common/base/diag.h"

/* What SSH offers one key of. */
typedef enum hostkey_family {
  HOSTKEY_ED25519,
  HOSTKEY_ECDSA,
  HOSTKEY_RSA,
  HOSTKEY_FAMILIES
} hostkey_family_t;

typedef struct hostkey hostkey_t;

/* Reads a key file that nobody else may read. diag names the file and what is wrong. SMPL_EDENIED (others can
 * read it, encrypted, another kind), SMPL_EINVAL, SMPL_ELIMIT, what file_read_secret gives. */
int hostkey_load(const char *path, hostkey_t **out, diag_t *diag);
/* The same from text; where names the place in messages. The text is the caller's to wipe. */
int hostkey_parse(const char *where, const char *text, size_t len, hostkey_t **out, diag_t *diag);
/* Wipes the private half. NULL allowed. */
void hostkey_free(hostkey_t *key);

/* "ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"; borrowed. */
const char *hostkey_kind(const hostkey_t *key);
/* "SHA256:..."; borrowed. */
const char *hostkey_fingerprint(const hostkey_t *key);
/* "ssh-ed25519 AAAA...", for known_hosts; borrowed. */
const char *hostkey_public(const hostkey_t *key);
/* What a signature takes of the rate of signatures: 1 for ed25519, more for what takes the broker longer. */
unsigned hostkey_cost(const hostkey_t *key);

/* The hollow key as text that libssh's ssh_pki_import_privkey_base64 takes. out of MSG_HOST_KEY_MAX bytes. */
int hostkey_hollow(const hostkey_t *key, char *out);

/* Signs an exchange hash. digest is 256 or 512 for RSA (RFC 8332) and 0 for the others; SMPL_EINVAL if it is
 * another. signature has MSG_SIGNATURE_MAX bytes, *signature_len is set. */
int hostkey_sign(const hostkey_t *key, unsigned digest, const uint8_t *data, size_t len, uint8_t *signature,
                 size_t *signature_len);

/* All of a bastion, in the order of the configuration. */
typedef struct hostkeys hostkeys_t;

/* SMPL_EINVAL for a second one of a family. *at is the index of the path that is wrong. */
int hostkeys_load(const char *const *paths, size_t count, hostkeys_t **out, size_t *at, diag_t *diag);
/* Another owner: a session signs with the keys it began with, also after a reload brought others. One thread
 * only. Returns keys. */
hostkeys_t *hostkeys_share(hostkeys_t *keys);
/* The last owner's call wipes the private halves. NULL allowed. */
void hostkeys_free(hostkeys_t *keys);
size_t hostkeys_count(const hostkeys_t *keys);
/* NULL beyond the last. Borrowed. */
const hostkey_t *hostkeys_get(const hostkeys_t *keys, size_t index);
/* The same public halves in the same order. */
bool hostkeys_same(const hostkeys_t *a, const hostkeys_t *b);
/* "ssh-ed25519 SHA256:..., ssh-rsa SHA256:..." into buf of cap bytes. Returns buf. */
char *hostkeys_describe(const hostkeys_t *keys, char *buf, size_t cap);
