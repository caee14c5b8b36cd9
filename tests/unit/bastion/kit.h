/* SPDX-License-Identifier: Apache-2.0 */
/* What the bastion's unit tests share: keys made by OpenSSL, their SSH form, files in a folder of the test's
 * own. */
#pragma once

#include <openssl/evp.h>
#include <stddef.h>
#include <stdint.h>

typedef struct kit_key {
  EVP_PKEY *pkey;
  const char *kind;      /* "ssh-ed25519" */
  const char *algorithm; /* it signs with */
  const char *digest;    /* NULL: the key's own */
  uint8_t blob[2048];
  size_t blob_len;
  char line[4096]; /* as in authorized_keys */
} kit_key_t;

/* kind as in authorized_keys; sk- kinds with application "ssh:". rsa_bits for ssh-rsa. */
void kit_key_new(kit_key_t *key, const char *kind, unsigned rsa_bits);
void kit_key_free(kit_key_t *key);
/* A raw signature. Returns its length. */
size_t kit_sign(const kit_key_t *key, const char *digest, const uint8_t *data, size_t len, uint8_t *out,
                size_t cap);

/* A fresh folder under the working folder; kit_path joins (static buffer, valid until the fourth next
 * call). */
void kit_folder_new(void);
void kit_folder_remove(void);
const char *kit_path(const char *name);
void kit_write(const char *name, const char *text, int mode);
/* ssh-keygen -q -f NAME and args. */
void kit_keygen(const char *name, const char *const *args);
