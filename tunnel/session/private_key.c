/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/session/private_key.h"

#include <dlfcn.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/count.h"
#include "common/base/error.h"
#include "common/ssh/base64.h"
#include "tunnel/limits.h"

#define EXPORTED __attribute__((visibility("default"), used))

/* ---- OpenSSL's key of libssh's ---- */

static EVP_PKEY *from_pem(const char *text)
{
  BIO *bio = BIO_new_mem_buf(text, -1);
  EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
  BIO_free(bio);
  return key;
}

/* Of the secret part of an ed25519 key (OpenSSH's PROTOCOL.key) its seed. */
static EVP_PKEY *from_secret(cursor_t secret)
{
  enum { SEED_LEN = 32, PRIVATE_LEN = 64 };
  uint32_t check1, check2;
  cursor_t kind, public_half, private_half;
  if (cursor_u32(&secret, &check1) || cursor_u32(&secret, &check2) || check1 != check2 ||
      cursor_string(&secret, &kind) || !cursor_is(kind, "ssh-ed25519") ||
      cursor_string(&secret, &public_half) || cursor_string(&secret, &private_half) ||
      private_half.len != PRIVATE_LEN)
    return NULL;
  return EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, private_half.data, SEED_LEN);
}

static EVP_PKEY *from_body(const uint8_t *body, size_t len)
{
  static const char magic[] = "openssh-key-v1"; /* with its NUL */
  cursor_t w = {body, len}, head, skipped, secret;
  uint32_t count;
  if (cursor_bytes(&w, sizeof magic, &head) || memcmp(head.data, magic, sizeof magic) != 0 ||
      cursor_string(&w, &skipped) || cursor_string(&w, &skipped) || cursor_string(&w, &skipped) ||
      cursor_u32(&w, &count) || cursor_string(&w, &skipped) || cursor_string(&w, &secret))
    return NULL;
  return from_secret(secret);
}

/* In OpenSSH's own format, without a passphrase. */
static EVP_PKEY *from_openssh(const char *text)
{
  static const char head[] = "-----BEGIN OPENSSH PRIVATE KEY-----";
  const char *at = strstr(text, head);
  const char *end = at ? strstr(at, "-----END") : NULL;
  char *word = end ? malloc((size_t)(end - at)) : NULL;
  size_t used = 0, len = 0;
  EVP_PKEY *key = NULL;
  if (!word)
    return NULL;
  for (at += sizeof head - 1; at < end; at++) {
    if (!strchr("\r\n", *at))
      word[used++] = *at;
  }
  uint8_t *body = base64_decode_new(word, used, IDENTITY_FILE_MAX, &len);
  if (body) {
    key = from_body(body, len);
    explicit_bzero(body, len);
  }
  explicit_bzero(word, used);
  free(body);
  free(word);
  return key;
}

static EVP_PKEY *from_export(ssh_key key)
{
  char *text = NULL;
  if (ssh_pki_export_privkey_base64(key, NULL, NULL, NULL, &text) != SSH_OK)
    return NULL;
  EVP_PKEY *made = strstr(text, "OPENSSH") ? from_openssh(text) : from_pem(text);
  explicit_bzero(text, strlen(text));
  ssh_string_free_char(text);
  return made;
}

/* libssh does not give out an RSA key that it has read from OpenSSH's own format: it has no primes of it. It
 * makes its copies by this call, of which this executable has its own, so a copy is where OpenSSL's key is
 * seen. */
static _Thread_local EVP_PKEY **copied;

EXPORTED int EVP_PKEY_fromdata(EVP_PKEY_CTX *ctx, EVP_PKEY **key, int selection, OSSL_PARAM *params)
{
  int (*real)(EVP_PKEY_CTX *, EVP_PKEY **, int, OSSL_PARAM *);
  *(void **)&real = dlsym(RTLD_NEXT, "EVP_PKEY_fromdata");
  int rc = real ? real(ctx, key, selection, params) : 0;
  if (rc == 1 && copied && !*copied && EVP_PKEY_up_ref(*key) == 1)
    *copied = *key;
  return rc;
}

static EVP_PKEY *from_copy(ssh_key key)
{
  EVP_PKEY *seen = NULL;
  copied = &seen;
  ssh_key copy = ssh_key_dup(key);
  copied = NULL;
  ssh_key_free(copy);
  return seen;
}

/* ---- signing ---- */

const char *private_key_digest(cursor_t algorithm)
{
  static const struct {
    const char *name, *digest;
  } digests[] = {
      {"ssh-ed25519", ""},
      {"ecdsa-sha2-nistp256", "SHA256"},
      {"ecdsa-sha2-nistp384", "SHA384"},
      {"ecdsa-sha2-nistp521", "SHA512"},
      {"rsa-sha2-256", "SHA256"},
      {"rsa-sha2-512", "SHA512"},
      {"ssh-rsa", "SHA1"}, /* of old servers that say nothing of SHA-2 */
  };
  static const char certificate[] = "-cert-v01@openssh.com";
  size_t behind = sizeof certificate - 1;
  if (algorithm.len > behind &&
      cursor_is((cursor_t){algorithm.data + algorithm.len - behind, behind}, certificate))
    algorithm.len -= behind;
  for (size_t i = 0; i < COUNT_OF(digests); i++) {
    if (cursor_is(algorithm, digests[i].name))
      return digests[i].digest;
  }
  return NULL;
}

static int sign(EVP_PKEY *key, const char *digest, const uint8_t *data, size_t len, uint8_t *out, size_t cap,
                size_t *out_len)
{
  if ((size_t)EVP_PKEY_get_size(key) > cap)
    return SMPL_ELIMIT;
  *out_len = cap;
  EVP_MD_CTX *ctx = EVP_MD_CTX_new();
  bool ok = ctx && EVP_DigestSignInit_ex(ctx, NULL, digest[0] ? digest : NULL, NULL, NULL, key, NULL) == 1 &&
            EVP_DigestSign(ctx, out, out_len, data, len) == 1;
  EVP_MD_CTX_free(ctx);
  return ok ? SMPL_OK : SMPL_ESYS;
}

int private_key_sign(ssh_key key, cursor_t algorithm, const uint8_t *data, size_t len, uint8_t *out,
                     size_t cap, size_t *out_len)
{
  const char *digest = private_key_digest(algorithm);
  if (!digest)
    return SMPL_EINVAL;
  EVP_PKEY *pkey = from_export(key);
  if (!pkey)
    pkey = from_copy(key);
  int err = pkey ? sign(pkey, digest, data, len, out, cap, out_len) : SMPL_ESYS;
  EVP_PKEY_free(pkey);
  return err;
}
