/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/contract/userkey.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#include "common/ssh/base64.h"
#include "common/ssh/cursor.h"
#include "common/base/count.h"
#include "common/base/error.h"

enum { ED25519_PUBLIC_LEN = 32 };

typedef enum family { FAMILY_ED25519, FAMILY_ECDSA, FAMILY_RSA } family_t;

/* One row for each kind of key. */
typedef struct kind {
  const char *name;
  const char *curve;  /* SSH's name of it */
  const char *group;  /* OpenSSL's name of it */
  const char *digest; /* NULL where the algorithm brings its own */
  family_t family;
  bool security_key;
} kind_t;

static const kind_t kinds[] = {
    {"ssh-ed25519", NULL, NULL, NULL, FAMILY_ED25519, false},
    {"ecdsa-sha2-nistp256", "nistp256", "P-256", "SHA256", FAMILY_ECDSA, false},
    {"ecdsa-sha2-nistp384", "nistp384", "P-384", "SHA384", FAMILY_ECDSA, false},
    {"ecdsa-sha2-nistp521", "nistp521", "P-521", "SHA512", FAMILY_ECDSA, false},
    {"ssh-rsa", NULL, NULL, NULL, FAMILY_RSA, false},
    {"sk-ssh-ed25519@openssh.com", NULL, NULL, NULL, FAMILY_ED25519, true},
    {"sk-ecdsa-sha2-nistp256@openssh.com", "nistp256", "P-256", "SHA256", FAMILY_ECDSA, true},
};

struct userkey {
  const kind_t *kind;
  EVP_PKEY *pkey;
  uint8_t *blob;
  size_t blob_len;
  char application[USERKEY_APPLICATION_MAX];
};

static const kind_t *find_kind(const char *name, size_t len)
{
  for (size_t i = 0; i < COUNT_OF(kinds); i++)
    if (strlen(kinds[i].name) == len && memcmp(kinds[i].name, name, len) == 0)
      return &kinds[i];
  return NULL;
}

bool userkey_kind_known(const char *name, size_t len)
{
  return find_kind(name, len) != NULL;
}

static EVP_PKEY *from_params(const char *algorithm, OSSL_PARAM_BLD *bld)
{
  EVP_PKEY *pkey = NULL;
  OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
  EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, algorithm, NULL);
  if (params == NULL || ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
      EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
    pkey = NULL;
  EVP_PKEY_CTX_free(ctx);
  OSSL_PARAM_free(params);
  return pkey;
}

/* The point is on the curve, the modulus is a plausible one. */
static bool public_ok(EVP_PKEY *pkey)
{
  EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
  bool ok = ctx != NULL && EVP_PKEY_public_check(ctx) == 1;
  EVP_PKEY_CTX_free(ctx);
  return ok;
}

static int read_ed25519(userkey_t *key, cursor_t *w, diag_t *diag)
{
  cursor_t pub;
  if (cursor_string(w, &pub) || pub.len != ED25519_PUBLIC_LEN)
    return diag_fail(diag, SMPL_EINVAL, "the key is malformed");
  key->pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, pub.data, pub.len);
  return key->pkey != NULL ? SMPL_OK : diag_fail(diag, SMPL_EINVAL, "the key is malformed");
}

static int read_ecdsa(userkey_t *key, cursor_t *w, diag_t *diag)
{
  cursor_t curve, point;
  if (cursor_string(w, &curve) || !cursor_is(curve, key->kind->curve) || cursor_string(w, &point) ||
      point.len == 0 || point.data[0] != 4 /* uncompressed, RFC 5656 §3.1 */)
    return diag_fail(diag, SMPL_EINVAL, "the key is malformed");
  OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
  if (bld != NULL &&
      OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, key->kind->group, 0) == 1 &&
      OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point.data, point.len) == 1)
    key->pkey = from_params("EC", bld);
  OSSL_PARAM_BLD_free(bld);
  if (key->pkey == NULL || !public_ok(key->pkey))
    return diag_fail(diag, SMPL_EINVAL, "the key's point is not on its curve");
  return SMPL_OK;
}

static int check_rsa(const EVP_PKEY *pkey, diag_t *diag)
{
  int bits = EVP_PKEY_get_bits(pkey);
  if (bits < USERKEY_RSA_BITS_MIN)
    return diag_fail(diag, SMPL_EDENIED, "an RSA key of %d bits is too weak, at least %d are needed", bits,
                     USERKEY_RSA_BITS_MIN);
  if (bits > USERKEY_RSA_BITS_MAX)
    return diag_fail(diag, SMPL_ELIMIT, "an RSA key of %d bits is more than the limit of %d", bits,
                     USERKEY_RSA_BITS_MAX);
  return SMPL_OK;
}

static int read_rsa(userkey_t *key, cursor_t *w, diag_t *diag)
{
  cursor_t e, n;
  if (cursor_string(w, &e) || cursor_string(w, &n) || e.len == 0 || e.len > 8 || n.len == 0 ||
      (e.data[0] & 0x80) != 0 || (n.data[0] & 0x80) != 0)
    return diag_fail(diag, SMPL_EINVAL, "the key is malformed");
  BIGNUM *be = BN_bin2bn(e.data, (int)e.len, NULL);
  BIGNUM *bn = BN_bin2bn(n.data, (int)n.len, NULL);
  OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
  if (be != NULL && bn != NULL && bld != NULL && BN_is_odd(be) && !BN_is_one(be) &&
      OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, bn) == 1 &&
      OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, be) == 1)
    key->pkey = from_params("RSA", bld);
  OSSL_PARAM_BLD_free(bld);
  BN_free(be);
  BN_free(bn);
  if (key->pkey == NULL)
    return diag_fail(diag, SMPL_EINVAL, "the key is malformed");
  return check_rsa(key->pkey, diag);
}

static int read_application(userkey_t *key, cursor_t *w, diag_t *diag)
{
  cursor_t application;
  if (cursor_string(w, &application) || cursor_text(application, key->application, sizeof key->application))
    return diag_fail(diag, SMPL_EINVAL, "the key is malformed");
  return SMPL_OK;
}

static int read_key(userkey_t *key, const uint8_t *blob, size_t len, diag_t *diag)
{
  cursor_t w = {blob, len};
  cursor_t name;
  if (len > USERKEY_BLOB_MAX)
    return diag_fail(diag, SMPL_ELIMIT, "the key has %zu bytes, more than the limit of %d", len,
                     USERKEY_BLOB_MAX);
  if (cursor_string(&w, &name))
    return diag_fail(diag, SMPL_EINVAL, "the key is malformed");
  key->kind = find_kind((const char *)name.data, name.len);
  if (key->kind == NULL)
    return diag_fail(diag, SMPL_EDENIED, "this kind of key is not accepted");
  int err = key->kind->family == FAMILY_ED25519 ? read_ed25519(key, &w, diag)
            : key->kind->family == FAMILY_ECDSA ? read_ecdsa(key, &w, diag)
                                                : read_rsa(key, &w, diag);
  if (!err && key->kind->security_key)
    err = read_application(key, &w, diag);
  if (!err && w.len > 0)
    err = diag_fail(diag, SMPL_EINVAL, "the key has bytes after its end");
  return err;
}

int userkey_parse(const uint8_t *blob, size_t len, userkey_t **out, diag_t *diag)
{
  *out = NULL;
  userkey_t *key = calloc(1, sizeof *key);
  if (key == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  int err = read_key(key, blob, len, diag);
  if (!err)
    key->blob = malloc(len);
  if (err || key->blob == NULL) {
    userkey_free(key);
    return err ? err : diag_fail(diag, SMPL_ENOMEM, "out of memory");
  }
  memcpy(key->blob, blob, len);
  key->blob_len = len;
  *out = key;
  return SMPL_OK;
}

void userkey_free(userkey_t *key)
{
  if (key == NULL)
    return;
  EVP_PKEY_free(key->pkey);
  free(key->blob);
  free(key);
}

const char *userkey_kind(const userkey_t *key)
{
  return key->kind->name;
}

const uint8_t *userkey_blob(const userkey_t *key, size_t *len)
{
  *len = key->blob_len;
  return key->blob;
}

bool userkey_is(const userkey_t *key, const uint8_t *blob, size_t len)
{
  return key->blob_len == len && memcmp(key->blob, blob, len) == 0;
}

bool userkey_is_security_key(const userkey_t *key)
{
  return key->kind->security_key;
}

const char *userkey_application(const userkey_t *key)
{
  return key->application;
}

char *userkey_fingerprint(const uint8_t *blob, size_t len, char *buf)
{
  uint8_t digest[SHA256_DIGEST_LENGTH];
  char text[BASE64_TEXT(SHA256_DIGEST_LENGTH)];
  SHA256(blob, len, digest);
  base64_encode(digest, sizeof digest, text);
  text[strcspn(text, "=")] = '\0';
  memcpy(buf, "SHA256:", sizeof "SHA256:");
  memcpy(buf + sizeof "SHA256:" - 1, text, strlen(text) + 1);
  return buf;
}

static bool is_text(const char *text, const char *s, size_t len)
{
  return strlen(text) == len && memcmp(text, s, len) == 0;
}

bool userkey_accepts(const userkey_t *key, const char *algorithm, size_t len)
{
  if (key->kind->family == FAMILY_RSA) /* ssh-rsa means SHA-1 here: RFC 8332 */
    return is_text("rsa-sha2-256", algorithm, len) || is_text("rsa-sha2-512", algorithm, len);
  return is_text(key->kind->name, algorithm, len);
}

int userkey_verify(const userkey_t *key, const char *algorithm, size_t algorithm_len,
                   const uint8_t *signature, size_t signature_len, const uint8_t *data, size_t data_len)
{
  if (!userkey_accepts(key, algorithm, algorithm_len))
    return SMPL_EDENIED;
  const char *digest = key->kind->digest;
  if (key->kind->family == FAMILY_RSA)
    digest = is_text("rsa-sha2-256", algorithm, algorithm_len) ? "SHA256" : "SHA512";
  EVP_MD_CTX *ctx = EVP_MD_CTX_new();
  if (ctx == NULL)
    return SMPL_ENOMEM;
  bool ok = EVP_DigestVerifyInit_ex(ctx, NULL, digest, NULL, NULL, key->pkey, NULL) == 1 &&
            EVP_DigestVerify(ctx, signature, signature_len, data, data_len) == 1;
  EVP_MD_CTX_free(ctx);
  return ok ? SMPL_OK : SMPL_EDENIED;
}
