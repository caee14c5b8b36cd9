/* The bastion's host key: an unencrypted OpenSSH private key file of kind ed25519 (OpenSSH's PROTOCOL.key). The private
 * half stays in the broker; workers get a hollow key, the true public half with a zero seed, and ask for signatures. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "bastion/msg.h"
#include "common/diag.h"

enum {
  HOSTKEY_FILE_MAX = 16 << 10, /* bytes */
  HOSTKEY_SIGNATURE_LEN = 64,
};

typedef struct hostkey hostkey_t;

/* Reads a key file that nobody else may read. diag names the file and what is wrong. SMPL_EDENIED (others can read it,
 * encrypted, another kind), SMPL_EINVAL, what file_read_secret gives. */
int hostkey_load(const char *path, hostkey_t **out, diag_t *diag);
/* The same from text; where names the place in messages. The text is the caller's to wipe. */
int hostkey_parse(const char *where, const char *text, size_t len, hostkey_t **out, diag_t *diag);
/* Another owner of the same key: a session signs with the key it began with, also after a reload brought another. One
 * thread only. Returns key. */
hostkey_t *hostkey_share(hostkey_t *key);
/* The last owner's call wipes the private half. NULL allowed. */
void hostkey_free(hostkey_t *key);

/* "SHA256:..."; borrowed. */
const char *hostkey_fingerprint(const hostkey_t *key);
/* "ssh-ed25519 AAAA...", for known_hosts; borrowed. */
const char *hostkey_public(const hostkey_t *key);

/* The hollow key as text that libssh's ssh_pki_import_privkey_base64 takes. out of MSG_HOST_KEY_MAX bytes. */
int hostkey_hollow(const hostkey_t *key, char *out);

/* Signs an exchange hash. signature has HOSTKEY_SIGNATURE_LEN bytes. */
int hostkey_sign(const hostkey_t *key, const uint8_t *data, size_t len, uint8_t *signature);
