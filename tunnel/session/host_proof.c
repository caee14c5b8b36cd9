/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/session/host_proof.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <stdint.h>
#include <string.h>

#include "common/base/count.h"
#include "common/base/error.h"
#include "tunnel/session/private_key.h"

enum { RAW_MAX = 2176 }; /* bytes of a signature as OpenSSL has it */

/* ---- the key ---- */

static EVP_PKEY *from_params(const char *algorithm, OSSL_PARAM_BLD *bld)
{
  EVP_PKEY *key = NULL;
  OSSL_PARAM *params = bld ? OSSL_PARAM_BLD_to_param(bld) : NULL;
  EVP_PKEY_CTX *ctx = params ? EVP_PKEY_CTX_new_from_name(NULL, algorithm, NULL) : NULL;
  if (!ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
      EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
    key = NULL;
  EVP_PKEY_CTX_free(ctx);
  OSSL_PARAM_free(params);
  return key;
}

static EVP_PKEY *read_ecdsa(cursor_t kind, cursor_t rest)
{
  static const struct {
    const char *kind, *group;
  } curves[] = {{"ecdsa-sha2-nistp256", "P-256"},
                {"ecdsa-sha2-nistp384", "P-384"},
                {"ecdsa-sha2-nistp521", "P-521"}};
  cursor_t curve, point;
  EVP_PKEY *key = NULL;
  if (cursor_string(&rest, &curve) || cursor_string(&rest, &point))
    return NULL;
  OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
  for (size_t i = 0; bld && i < COUNT_OF(curves); i++) {
    if (cursor_is(kind, curves[i].kind) &&
        OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, curves[i].group, 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point.data, point.len) == 1)
      key = from_params("EC", bld);
  }
  OSSL_PARAM_BLD_free(bld);
  return key;
}

static EVP_PKEY *read_rsa(cursor_t rest)
{
  cursor_t e, n;
  if (cursor_string(&rest, &e) || cursor_string(&rest, &n))
    return NULL;
  BIGNUM *be = BN_bin2bn(e.data, (int)e.len, NULL);
  BIGNUM *bn = BN_bin2bn(n.data, (int)n.len, NULL);
  OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
  EVP_PKEY *key = NULL;
  if (be && bn && bld && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, bn) == 1 &&
      OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, be) == 1)
    key = from_params("RSA", bld);
  OSSL_PARAM_BLD_free(bld);
  BN_free(be);
  BN_free(bn);
  return key;
}

static EVP_PKEY *read_key(cursor_t blob, cursor_t *kind)
{
  cursor_t point;
  if (cursor_string(&blob, kind))
    return NULL;
  if (cursor_is(*kind, "ssh-ed25519"))
    return cursor_string(&blob, &point)
               ? NULL
               : EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, point.data, point.len);
  return cursor_is(*kind, "ssh-rsa") ? read_rsa(blob) : read_ecdsa(*kind, blob);
}

/* ---- the signature ---- */

/* RFC 5656 §3.1.2: two numbers, of which OpenSSL wants a sequence. Its length; 0: there are none. */
static size_t put_numbers(cursor_t raw, uint8_t *out)
{
  cursor_t r, s;
  size_t len = 0;
  if (cursor_string(&raw, &r) || cursor_string(&raw, &s) || raw.len > 0)
    return 0;
  ECDSA_SIG *sig = ECDSA_SIG_new();
  BIGNUM *br = BN_bin2bn(r.data, (int)r.len, NULL), *bs = BN_bin2bn(s.data, (int)s.len, NULL);
  if (sig && br && bs && ECDSA_SIG_set0(sig, br, bs) == 1) {
    int n = i2d_ECDSA_SIG(sig, NULL);
    if (n > 0 && n <= RAW_MAX)
      len = (size_t)i2d_ECDSA_SIG(sig, &out);
  } else {
    BN_free(br);
    BN_free(bs);
  }
  ECDSA_SIG_free(sig);
  return len;
}

/* A key of one kind signs with algorithms of that kind alone. */
static bool belongs(cursor_t algorithm, cursor_t kind)
{
  bool rsa = cursor_is(algorithm, "rsa-sha2-256") || cursor_is(algorithm, "rsa-sha2-512");
  return rsa ? cursor_is(kind, "ssh-rsa")
             : algorithm.len == kind.len && memcmp(algorithm.data, kind.data, kind.len) == 0;
}

static bool verify(EVP_PKEY *key, const char *digest, cursor_t raw, cursor_t session)
{
  EVP_MD_CTX *ctx = EVP_MD_CTX_new();
  bool ok = ctx &&
            EVP_DigestVerifyInit_ex(ctx, NULL, digest[0] ? digest : NULL, NULL, NULL, key, NULL) == 1 &&
            EVP_DigestVerify(ctx, raw.data, raw.len, session.data, session.len) == 1;
  EVP_MD_CTX_free(ctx);
  return ok;
}

bool host_proof_holds(cursor_t blob, cursor_t signature, cursor_t session)
{
  uint8_t sequence[RAW_MAX];
  cursor_t kind, algorithm, raw;
  if (cursor_string(&signature, &algorithm) || cursor_string(&signature, &raw) || signature.len > 0)
    return false;
  const char *digest = private_key_digest(algorithm);
  EVP_PKEY *key = digest ? read_key(blob, &kind) : NULL;
  bool holds = key && belongs(algorithm, kind);
  if (holds && EVP_PKEY_get_base_id(key) == EVP_PKEY_EC)
    raw = (cursor_t){sequence, put_numbers(raw, sequence)};
  holds = holds && verify(key, digest, raw, session);
  EVP_PKEY_free(key);
  return holds;
}
