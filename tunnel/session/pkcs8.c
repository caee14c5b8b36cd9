/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/session/pkcs8.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/ssh/base64.h"

enum { HALF = 32, BODY_MAX = 512 };

/* The same key as OpenSSH writes it (PROTOCOL.key): the one form that every libssh signs with. */
typedef struct body {
  uint8_t bytes[BODY_MAX];
  size_t len;
} body_t;

static void put(body_t *b, const void *data, size_t len)
{
  memcpy(b->bytes + b->len, data, len);
  b->len += len;
}

static void put_number(body_t *b, size_t n)
{
  put(b, (const uint8_t[]){0, 0, (uint8_t)(n >> 8), (uint8_t)n}, 4);
}

static void put_string(body_t *b, const void *data, size_t len)
{
  put_number(b, len);
  put(b, data, len);
}

static void put_text(body_t *b, const char *text)
{
  put_string(b, text, strlen(text));
}

static void compose(body_t *b, const uint8_t *seed, const uint8_t *public_half)
{
  body_t blob = {.len = 0}, secret = {.len = 0};
  uint8_t halves[2 * HALF];
  memcpy(halves, seed, HALF);
  memcpy(halves + HALF, public_half, HALF);
  put_text(&blob, "ssh-ed25519");
  put_string(&blob, public_half, HALF);
  put_number(&secret, 0); /* two equal numbers: nothing was decrypted wrongly */
  put_number(&secret, 0);
  put(&secret, blob.bytes, blob.len);
  put_string(&secret, halves, sizeof halves);
  put_text(&secret, "");
  for (uint8_t i = 1; secret.len % 8 != 0; i++)
    put(&secret, &i, 1);
  put(b, "openssh-key-v1", sizeof "openssh-key-v1");
  put_text(b, "none");
  put_text(b, "none");
  put_text(b, "");
  put_number(b, 1);
  put_string(b, blob.bytes, blob.len);
  put_string(b, secret.bytes, secret.len);
  explicit_bzero(halves, sizeof halves);
  explicit_bzero(&secret, sizeof secret);
}

static ssh_key import(const uint8_t *seed, const uint8_t *public_half)
{
  body_t body = {.len = 0};
  char base64[BASE64_TEXT(BODY_MAX)];
  char text[sizeof base64 + 128];
  ssh_key key = NULL;
  compose(&body, seed, public_half);
  base64_encode(body.bytes, body.len, base64);
  snprintf(text, sizeof text, "-----BEGIN OPENSSH PRIVATE KEY-----\n%s\n-----END OPENSSH PRIVATE KEY-----\n",
           base64);
  if (ssh_pki_import_privkey_base64(text, NULL, NULL, NULL, &key) != SSH_OK)
    key = NULL;
  explicit_bzero(&body, sizeof body);
  explicit_bzero(base64, sizeof base64);
  explicit_bzero(text, sizeof text);
  return key;
}

static int give_passphrase(char *buf, int size, int writing, void *passphrase)
{
  size_t len = passphrase ? strlen(passphrase) : 0;
  (void)writing;
  if (!passphrase || len > (size_t)size)
    return -1;
  memcpy(buf, passphrase, len);
  return (int)len;
}

ssh_key pkcs8_ed25519(const char *pem, const char *passphrase)
{
  uint8_t seed[HALF], public_half[HALF];
  size_t seed_len = sizeof seed, public_len = sizeof public_half;
  BIO *bio = BIO_new_mem_buf(pem, -1);
  EVP_PKEY *pkey =
      bio ? PEM_read_bio_PrivateKey(bio, NULL, give_passphrase, (void *)(uintptr_t)passphrase) : NULL;
  ssh_key key = NULL;
  if (pkey && EVP_PKEY_get_base_id(pkey) == EVP_PKEY_ED25519 &&
      EVP_PKEY_get_raw_private_key(pkey, seed, &seed_len) == 1 &&
      EVP_PKEY_get_raw_public_key(pkey, public_half, &public_len) == 1)
    key = import(seed, public_half);
  explicit_bzero(seed, sizeof seed);
  EVP_PKEY_free(pkey);
  BIO_free(bio);
  return key;
}
