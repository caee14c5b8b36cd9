/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/policy/hostkey.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/ssh/base64.h"
#include "bastion/contract/userkey.h"
#include "common/ssh/cursor.h"
#include "common/ssh/hollow.h"
#include "common/base/count.h"
#include "common/base/error.h"
#include "common/process/file.h"

enum {
  SEED_LEN = 32,
  PUBLIC_LEN = 32,
  BLOB_MAX = 640,     /* RSA of 4096 bits has 535 */
  KIND_TEXT_MAX = 64, /* bytes of an unknown kind in a message */
  COMMENT_MAX = 4096,
};

static const char begin_line[] = "-----BEGIN OPENSSH PRIVATE KEY-----";
static const char end_line[] = "-----END OPENSSH PRIVATE KEY-----";
static const char magic[] = "openssh-key-v1"; /* with its NUL */

/* One row for each kind of key. */
typedef struct kind {
  const char *name;
  const char *curve;  /* SSH's name of it */
  const char *group;  /* OpenSSL's name of it */
  const char *digest; /* NULL: the algorithm brings its own, or the client chooses (RSA) */
  hostkey_family_t family;
  unsigned cost;
} kind_t;

static const kind_t kinds[] = {
    {"ssh-ed25519", NULL, NULL, NULL, HOSTKEY_ED25519, 1},
    {"ecdsa-sha2-nistp256", "nistp256", "P-256", "SHA256", HOSTKEY_ECDSA, 1},
    {"ecdsa-sha2-nistp384", "nistp384", "P-384", "SHA384", HOSTKEY_ECDSA, 4},
    {"ecdsa-sha2-nistp521", "nistp521", "P-521", "SHA512", HOSTKEY_ECDSA, 4},
    {"ssh-rsa", NULL, NULL, NULL, HOSTKEY_RSA, 8},
};

static const char *const family_names[] = {
    [HOSTKEY_ED25519] = "ed25519", [HOSTKEY_ECDSA] = "ecdsa", [HOSTKEY_RSA] = "rsa"};

struct hostkey {
  const kind_t *kind;
  EVP_PKEY *pkey;
  uint8_t blob[BLOB_MAX]; /* the public half (RFC 4253 §6.6) */
  size_t blob_len;
  char fingerprint[USERKEY_FINGERPRINT_MAX];
  char public_text[KIND_TEXT_MAX + BASE64_TEXT(BLOB_MAX)];
};

struct hostkeys {
  unsigned owners;
  hostkey_t *keys[HOSTKEY_FAMILIES];
  size_t count;
};

/* Joins the base64 lines between the two armour lines. out has room for len bytes. */
static int unarmour(const char *text, size_t len, char *out, size_t *out_len)
{
  const char *start = memmem(text, len, begin_line, sizeof begin_line - 1);
  if (start == NULL)
    return SMPL_EINVAL;
  start += sizeof begin_line - 1;
  const char *end = memmem(start, len - (size_t)(start - text), end_line, sizeof end_line - 1);
  if (end == NULL)
    return SMPL_EINVAL;
  *out_len = 0;
  for (const char *c = start; c < end; c++)
    if (*c != '\n' && *c != '\r')
      out[(*out_len)++] = *c;
  return SMPL_OK;
}

typedef struct fields {
  cursor_t cipher, public_blob, secret;
} fields_t;

static int read_outer(cursor_t *w, fields_t *f)
{
  cursor_t head, kdf, kdf_options;
  uint32_t count;
  if (cursor_bytes(w, sizeof magic, &head) || memcmp(head.data, magic, sizeof magic) != 0 ||
      cursor_string(w, &f->cipher) || cursor_string(w, &kdf) || cursor_string(w, &kdf_options) ||
      cursor_u32(w, &count) || count != 1 || cursor_string(w, &f->public_blob) ||
      cursor_string(w, &f->secret))
    return SMPL_EINVAL;
  /* behind what some ciphers have sealed stands their tag */
  return w->len > 0 && cursor_is(f->cipher, "none") ? SMPL_EINVAL : SMPL_OK;
}

/* ---- the halves of each kind ---- */

static EVP_PKEY *from_params(const char *algorithm, OSSL_PARAM_BLD *bld)
{
  EVP_PKEY *pkey = NULL;
  OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
  EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, algorithm, NULL);
  if (params == NULL || ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
      EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_KEYPAIR, params) != 1)
    pkey = NULL;
  EVP_PKEY_CTX_free(ctx);
  for (OSSL_PARAM *p = params; p != NULL && p->key != NULL; p++)
    OPENSSL_cleanse(p->data, p->data_size);
  OSSL_PARAM_free(params);
  return pkey;
}

static int take_ed25519(hostkey_t *key, cursor_t *w, cursor_out_t *blob)
{
  cursor_t public_half, private_half;
  if (cursor_string(w, &public_half) || public_half.len != PUBLIC_LEN || cursor_string(w, &private_half) ||
      private_half.len != SEED_LEN + PUBLIC_LEN ||
      memcmp(private_half.data + SEED_LEN, public_half.data, PUBLIC_LEN) != 0)
    return SMPL_EINVAL;
  key->pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, private_half.data, SEED_LEN);
  cursor_put_string(blob, public_half.data, public_half.len);
  return key->pkey != NULL ? SMPL_OK : SMPL_EINVAL;
}

static int take_ecdsa(hostkey_t *key, cursor_t *w, cursor_out_t *blob)
{
  cursor_t curve, point, scalar;
  if (cursor_string(w, &curve) || !cursor_is(curve, key->kind->curve) || cursor_string(w, &point) ||
      point.len == 0 || point.data[0] != 4 /* uncompressed, RFC 5656 §3.1 */ || cursor_string(w, &scalar) ||
      scalar.len == 0 || (scalar.data[0] & 0x80) != 0)
    return SMPL_EINVAL;
  BIGNUM *d = BN_bin2bn(scalar.data, (int)scalar.len, NULL);
  OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
  if (d != NULL && bld != NULL &&
      OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, key->kind->group, 0) == 1 &&
      OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point.data, point.len) == 1 &&
      OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_PRIV_KEY, d) == 1)
    key->pkey = from_params("EC", bld);
  OSSL_PARAM_BLD_free(bld);
  BN_clear_free(d);
  cursor_put_string(blob, curve.data, curve.len);
  cursor_put_string(blob, point.data, point.len);
  return key->pkey != NULL ? SMPL_OK : SMPL_EINVAL;
}

/* As they stand in the file. The exponents of the two primes follow from them. */
enum { RSA_N, RSA_E, RSA_D, RSA_IQMP, RSA_P, RSA_Q, RSA_DMP1, RSA_DMQ1, RSA_NUMBERS };
static const char *const rsa_params[] = {
    OSSL_PKEY_PARAM_RSA_N,         OSSL_PKEY_PARAM_RSA_E,
    OSSL_PKEY_PARAM_RSA_D,         OSSL_PKEY_PARAM_RSA_COEFFICIENT1,
    OSSL_PKEY_PARAM_RSA_FACTOR1,   OSSL_PKEY_PARAM_RSA_FACTOR2,
    OSSL_PKEY_PARAM_RSA_EXPONENT1, OSSL_PKEY_PARAM_RSA_EXPONENT2,
};

/* Whether the primes are those of n, and the coefficient theirs. With others OpenSSL signs too, the long way.
 */
static bool primes_fit(BIGNUM *const *numbers)
{
  BN_CTX *ctx = BN_CTX_secure_new();
  BIGNUM *product = BN_new();
  bool ok = ctx != NULL && product != NULL && BN_mul(product, numbers[RSA_P], numbers[RSA_Q], ctx) == 1 &&
            BN_cmp(product, numbers[RSA_N]) == 0 &&
            BN_mod_mul(product, numbers[RSA_IQMP], numbers[RSA_Q], numbers[RSA_P], ctx) == 1 &&
            BN_is_one(product);
  BN_clear_free(product);
  BN_CTX_free(ctx);
  return ok;
}

/* out = d mod (prime - 1) */
static bool exponent(BIGNUM *out, const BIGNUM *d, const BIGNUM *prime)
{
  BN_CTX *ctx = BN_CTX_secure_new();
  BIGNUM *less = BN_dup(prime);
  bool ok = ctx != NULL && less != NULL && BN_sub_word(less, 1) == 1 && !BN_is_zero(less) &&
            BN_mod(out, d, less, ctx) == 1;
  BN_clear_free(less);
  BN_CTX_free(ctx);
  return ok;
}

static EVP_PKEY *from_numbers(BIGNUM *const *numbers)
{
  EVP_PKEY *pkey = NULL;
  OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
  bool ok = bld != NULL;
  for (int i = 0; i < RSA_NUMBERS && ok; i++)
    ok = OSSL_PARAM_BLD_push_BN(bld, rsa_params[i], numbers[i]) == 1;
  if (ok)
    pkey = from_params("RSA", bld);
  OSSL_PARAM_BLD_free(bld);
  return pkey;
}

static int take_rsa(hostkey_t *key, cursor_t *w, cursor_out_t *blob)
{
  BIGNUM *numbers[RSA_NUMBERS] = {NULL};
  cursor_t slices[RSA_DMP1];
  bool ok = true;
  for (int i = 0; i < RSA_DMP1 && ok; i++)
    ok = cursor_string(w, &slices[i]) == SMPL_OK && slices[i].len > 0 && (slices[i].data[0] & 0x80) == 0 &&
         (numbers[i] = BN_bin2bn(slices[i].data, (int)slices[i].len, NULL)) != NULL;
  ok = ok && (numbers[RSA_DMP1] = BN_new()) != NULL && (numbers[RSA_DMQ1] = BN_new()) != NULL &&
       exponent(numbers[RSA_DMP1], numbers[RSA_D], numbers[RSA_P]) &&
       exponent(numbers[RSA_DMQ1], numbers[RSA_D], numbers[RSA_Q]);
  int err = !ok ? SMPL_EINVAL
            : BN_num_bits(numbers[RSA_N]) > HOSTKEY_RSA_BITS_MAX ||
                    BN_num_bits(numbers[RSA_N]) < HOSTKEY_RSA_BITS_MIN
                ? SMPL_ELIMIT
                : SMPL_OK;
  if (!err && !primes_fit(numbers))
    err = SMPL_EINVAL;
  if (!err) {
    key->pkey = from_numbers(numbers);
    cursor_put_string(blob, slices[RSA_E].data, slices[RSA_E].len);
    cursor_put_string(blob, slices[RSA_N].data, slices[RSA_N].len);
    err = key->pkey != NULL ? SMPL_OK : SMPL_EINVAL;
  }
  for (int i = 0; i < RSA_NUMBERS; i++)
    BN_clear_free(numbers[i]);
  return err;
}

static int take_halves(hostkey_t *key, cursor_t *w)
{
  cursor_out_t blob = cursor_into(key->blob, sizeof key->blob);
  cursor_put_text(&blob, key->kind->name);
  int err = key->kind->family == HOSTKEY_ED25519 ? take_ed25519(key, w, &blob)
            : key->kind->family == HOSTKEY_ECDSA ? take_ecdsa(key, w, &blob)
                                                 : take_rsa(key, w, &blob);
  key->blob_len = blob.len;
  return err ? err : blob.full ? SMPL_EINVAL : SMPL_OK;
}

/* Both halves must belong together: a signature by the one must verify with the other. */
static int try_halves(const hostkey_t *key)
{
  static const uint8_t data[32] = "a signature that nobody sees";
  static const char *const algorithms[] = {
      [HOSTKEY_ED25519] = NULL, [HOSTKEY_ECDSA] = NULL, [HOSTKEY_RSA] = "rsa-sha2-256"};
  const char *algorithm = algorithms[key->kind->family];
  uint8_t signature[MSG_SIGNATURE_MAX];
  size_t len = sizeof signature;
  userkey_t *half = NULL;
  if (algorithm == NULL)
    algorithm = key->kind->name;
  int err = userkey_parse(key->blob, key->blob_len, &half, NULL);
  if (!err)
    err = hostkey_sign(key, key->kind->family == HOSTKEY_RSA ? 256 : 0, data, sizeof data, signature, &len);
  if (!err)
    err = userkey_verify(half, algorithm, strlen(algorithm), signature, len, data, sizeof data);
  userkey_free(half);
  return err ? SMPL_EINVAL : SMPL_OK;
}

/* ---- the file ---- */

static const kind_t *find_kind(cursor_t name)
{
  for (size_t i = 0; i < COUNT_OF(kinds); i++)
    if (cursor_is(name, kinds[i].name))
      return &kinds[i];
  return NULL;
}

static int read_padding(cursor_t *w)
{
  cursor_t comment;
  uint8_t padding;
  if (cursor_string(w, &comment) || comment.len > COMMENT_MAX || w->len >= 256)
    return SMPL_EINVAL;
  for (uint8_t i = 1; w->len > 0; i++)
    if (cursor_u8(w, &padding) || padding != i)
      return SMPL_EINVAL;
  return SMPL_OK;
}

/* The part that would be encrypted. *kind is filled even when it is not ours. */
static int read_secret(hostkey_t *key, cursor_t secret, cursor_t *kind)
{
  cursor_t w = {secret.data, secret.len};
  uint32_t check1, check2;
  *kind = (cursor_t){NULL, 0};
  if (cursor_u32(&w, &check1) || cursor_u32(&w, &check2) || check1 != check2 || cursor_string(&w, kind))
    return SMPL_EINVAL;
  key->kind = find_kind(*kind);
  if (key->kind == NULL)
    return SMPL_EDENIED;
  int err = take_halves(key, &w);
  return err ? err : read_padding(&w);
}

static void describe(hostkey_t *key)
{
  char text[BASE64_TEXT(BLOB_MAX)];
  userkey_fingerprint(key->blob, key->blob_len, key->fingerprint);
  base64_encode(key->blob, key->blob_len, text);
  snprintf(key->public_text, sizeof key->public_text, "%s %s", key->kind->name, text);
}

static int read_binary(hostkey_t *key, const char *where, const uint8_t *data, size_t len, diag_t *diag)
{
  cursor_t w = {data, len};
  fields_t f;
  if (read_outer(&w, &f))
    return diag_fail(diag, SMPL_EINVAL, "%s: not a whole OpenSSH private key", where);
  if (!cursor_is(f.cipher, "none"))
    return diag_fail(
        diag, SMPL_EDENIED,
        "%s: the host key has a passphrase; the bastion must start without one (ssh-keygen -p -f %s)", where,
        where);
  cursor_t kind;
  int err = read_secret(key, f.secret, &kind);
  if (err == SMPL_EDENIED)
    return diag_fail(diag, err,
                     "%s: a host key must be of kind ed25519, ecdsa or rsa, not %.*s (ssh-keygen -t ed25519)",
                     where, (int)(kind.len < KIND_TEXT_MAX ? kind.len : KIND_TEXT_MAX),
                     (const char *)kind.data);
  if (err == SMPL_ELIMIT)
    return diag_fail(diag, err, "%s: an RSA host key has %d to %d bits (ssh-keygen -t rsa -b 3072)", where,
                     HOSTKEY_RSA_BITS_MIN, HOSTKEY_RSA_BITS_MAX);
  if (err || f.public_blob.len != key->blob_len ||
      memcmp(f.public_blob.data, key->blob, key->blob_len) != 0 || try_halves(key))
    return diag_fail(diag, SMPL_EINVAL, "%s: the private key is damaged", where);
  describe(key);
  return SMPL_OK;
}

int hostkey_parse(const char *where, const char *text, size_t len, hostkey_t **out, diag_t *diag)
{
  *out = NULL;
  if (len > HOSTKEY_FILE_MAX)
    return diag_fail(diag, SMPL_ELIMIT, "%s: more than %d bytes", where, HOSTKEY_FILE_MAX);
  hostkey_t *key = calloc(1, sizeof *key);
  char *joined = malloc(len + 1);
  uint8_t *binary = malloc(len + 1);
  size_t joined_len = 0, binary_len = 0;
  int err = SMPL_OK;
  if (key == NULL || joined == NULL || binary == NULL)
    err = diag_fail(diag, SMPL_ENOMEM, "%s: out of memory", where);
  else if (unarmour(text, len, joined, &joined_len))
    err =
        diag_fail(diag, SMPL_EINVAL,
                  "%s: not an OpenSSH private key (expected \"%s\"); ssh-keygen -p -f %s converts one in PEM",
                  where, begin_line, where);
  else if (base64_decode(joined, joined_len, binary, len, &binary_len))
    err = diag_fail(diag, SMPL_EINVAL, "%s: the private key is not base64", where);
  else
    err = read_binary(key, where, binary, binary_len, diag);
  if (joined != NULL)
    explicit_bzero(joined, len + 1);
  if (binary != NULL)
    explicit_bzero(binary, len + 1);
  free(joined);
  free(binary);
  if (err) {
    hostkey_free(key);
    return err;
  }
  *out = key;
  return SMPL_OK;
}

int hostkey_load(const char *path, hostkey_t **out, diag_t *diag)
{
  char *text;
  size_t len;
  *out = NULL;
  int err = file_read_secret(path, HOSTKEY_FILE_MAX, &text, &len, diag);
  if (err)
    return err;
  err = hostkey_parse(path, text, len, out, diag);
  explicit_bzero(text, len);
  free(text);
  return err;
}

void hostkey_free(hostkey_t *key)
{
  if (key == NULL)
    return;
  EVP_PKEY_free(key->pkey); /* OpenSSL cleanses a private key's memory */
  free(key);
}

const char *hostkey_kind(const hostkey_t *key)
{
  return key->kind->name;
}

const char *hostkey_fingerprint(const hostkey_t *key)
{
  return key->fingerprint;
}

const char *hostkey_public(const hostkey_t *key)
{
  return key->public_text;
}

unsigned hostkey_cost(const hostkey_t *key)
{
  return key->kind->cost;
}

/* ---- hollow ---- */

int hostkey_hollow(const hostkey_t *key, char *out)
{
  return hollow_text(key->blob, key->blob_len, out, MSG_HOST_KEY_MAX);
}

/* ---- signing ---- */

static const char *digest_of(const hostkey_t *key, unsigned digest)
{
  if (key->kind->family != HOSTKEY_RSA)
    return key->kind->digest;
  return digest == 256 ? "SHA256" : "SHA512";
}

int hostkey_sign(const hostkey_t *key, unsigned digest, const uint8_t *data, size_t len, uint8_t *signature,
                 size_t *signature_len)
{
  bool rsa = key->kind->family == HOSTKEY_RSA;
  if (rsa ? digest != 256 && digest != 512 : digest != 0)
    return SMPL_EINVAL;
  *signature_len = MSG_SIGNATURE_MAX;
  EVP_MD_CTX *ctx = EVP_MD_CTX_new();
  bool ok = ctx != NULL &&
            EVP_DigestSignInit_ex(ctx, NULL, digest_of(key, digest), NULL, NULL, key->pkey, NULL) == 1 &&
            EVP_DigestSign(ctx, signature, signature_len, data, len) == 1;
  EVP_MD_CTX_free(ctx);
  return ok ? SMPL_OK : SMPL_ESYS;
}

/* ---- all of a bastion ---- */

static int add(hostkeys_t *all, const char *path, diag_t *diag)
{
  hostkey_t *key;
  int err = hostkey_load(path, &key, diag);
  if (err)
    return err;
  for (size_t i = 0; i < all->count; i++)
    if (all->keys[i]->kind->family == key->kind->family) {
      hostkey_free(key);
      return diag_fail(diag, SMPL_EINVAL,
                       "%s: there is a host key of kind %s already, and one of a kind can be offered", path,
                       family_names[all->keys[i]->kind->family]);
    }
  all->keys[all->count++] = key;
  return SMPL_OK;
}

int hostkeys_load(const char *const *paths, size_t count, hostkeys_t **out, size_t *at, diag_t *diag)
{
  *out = NULL;
  *at = 0;
  hostkeys_t *all = calloc(1, sizeof *all);
  if (all == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  all->owners = 1;
  int err = SMPL_OK;
  for (size_t i = 0; i < count && !err; i++) {
    *at = i;
    err = add(all, paths[i], diag);
  }
  if (err)
    hostkeys_free(all);
  else
    *out = all;
  return err;
}

hostkeys_t *hostkeys_share(hostkeys_t *keys)
{
  keys->owners++;
  return keys;
}

void hostkeys_free(hostkeys_t *keys)
{
  if (keys == NULL || --keys->owners > 0)
    return;
  for (size_t i = 0; i < keys->count; i++)
    hostkey_free(keys->keys[i]);
  free(keys);
}

size_t hostkeys_count(const hostkeys_t *keys)
{
  return keys->count;
}

const hostkey_t *hostkeys_get(const hostkeys_t *keys, size_t index)
{
  return index < keys->count ? keys->keys[index] : NULL;
}

bool hostkeys_same(const hostkeys_t *a, const hostkeys_t *b)
{
  bool same = a->count == b->count;
  for (size_t i = 0; i < a->count && same; i++)
    same = strcmp(a->keys[i]->public_text, b->keys[i]->public_text) == 0;
  return same;
}

char *hostkeys_describe(const hostkeys_t *keys, char *buf, size_t cap)
{
  size_t used = 0;
  buf[0] = '\0';
  for (size_t i = 0; i < keys->count && used < cap; i++)
    used += (size_t)snprintf(buf + used, cap - used, "%s%s %s", i > 0 ? ", " : "", keys->keys[i]->kind->name,
                             keys->keys[i]->fingerprint);
  return buf;
}
