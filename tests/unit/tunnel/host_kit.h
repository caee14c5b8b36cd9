/* SPDX-License-Identifier: Apache-2.0 */
/* A server's host key and its signature of a session's id, as they stand on the wire. */
#pragma once

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <string.h>

#include "common/ssh/cursor.h"

typedef struct host {
  EVP_PKEY *key;
  const char *kind; /* "ssh-ed25519" */
  uint8_t blob_bytes[1024], proof_bytes[1024];
  cursor_t blob, proof;
} host_t;

static inline void host_put_number(cursor_out_t *w, const BIGNUM *number)
{
  uint8_t bytes[1024] = {0};
  int len = BN_bn2bin(number, bytes + 1);
  size_t sign = bytes[1] & 0x80 ? 0 : 1;
  cursor_put_string(w, bytes + sign, (size_t)len + 1 - sign);
}

static inline void host_put_parameter(cursor_out_t *w, const EVP_PKEY *key, const char *name)
{
  BIGNUM *number = NULL;
  EVP_PKEY_get_bn_param(key, name, &number);
  host_put_number(w, number);
  BN_free(number);
}

static inline void host_put_key(host_t *h)
{
  uint8_t point[256];
  size_t len = sizeof point;
  cursor_out_t w = cursor_into(h->blob_bytes, sizeof h->blob_bytes);
  cursor_put_text(&w, h->kind);
  if (strcmp(h->kind, "ssh-rsa") == 0) {
    host_put_parameter(&w, h->key, "e");
    host_put_parameter(&w, h->key, "n");
  } else if (strcmp(h->kind, "ssh-ed25519") == 0) {
    EVP_PKEY_get_raw_public_key(h->key, point, &len);
    cursor_put_string(&w, point, len);
  } else {
    EVP_PKEY_get_octet_string_param(h->key, "pub", point, sizeof point, &len);
    cursor_put_text(&w, h->kind + strlen("ecdsa-sha2-"));
    cursor_put_string(&w, point, len);
  }
  h->blob = (cursor_t){h->blob_bytes, w.len};
}

static inline size_t host_numbers(uint8_t *raw, size_t len, size_t cap)
{
  const uint8_t *at = raw;
  uint8_t numbers[512];
  ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, (long)len);
  cursor_out_t w = cursor_into(numbers, sizeof numbers);
  host_put_number(&w, ECDSA_SIG_get0_r(sig));
  host_put_number(&w, ECDSA_SIG_get0_s(sig));
  ECDSA_SIG_free(sig);
  memcpy(raw, numbers, w.len < cap ? w.len : cap);
  return w.len;
}

/* Signs this session's id. digest NULL: the key brings its own. */
static inline void host_sign(host_t *h, const char *algorithm, const char *digest, const char *session)
{
  uint8_t raw[512];
  size_t len = sizeof raw;
  EVP_MD_CTX *ctx = EVP_MD_CTX_new();
  EVP_DigestSignInit_ex(ctx, NULL, digest, NULL, NULL, h->key, NULL);
  EVP_DigestSign(ctx, raw, &len, (const uint8_t *)session, strlen(session));
  EVP_MD_CTX_free(ctx);
  if (EVP_PKEY_get_base_id(h->key) == EVP_PKEY_EC)
    len = host_numbers(raw, len, sizeof raw);
  cursor_out_t w = cursor_into(h->proof_bytes, sizeof h->proof_bytes);
  cursor_put_text(&w, algorithm);
  cursor_put_string(&w, raw, len);
  h->proof = (cursor_t){h->proof_bytes, w.len};
}

/* An Ed25519 host that has signed this session's id. EVP_PKEY_free(h->key) afterwards. */
static inline void host_make(host_t *h, const char *session)
{
  h->kind = "ssh-ed25519";
  h->key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
  host_put_key(h);
  host_sign(h, h->kind, NULL, session);
}
