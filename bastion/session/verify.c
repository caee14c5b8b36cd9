/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/session/verify.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <string.h>

#include "common/ssh/signedreq.h"
#include "common/base/error.h"

reason_t verify_known(const config_t *config, const char *name, const uint8_t *blob, size_t len,
                      const authkey_t **key)
{
  *key = NULL;
  cursor_t w = {blob, len};
  cursor_t kind;
  if (cursor_string(&w, &kind) || !userkey_kind_known((const char *)kind.data, kind.len))
    return REASON_KEY_NOT_ACCEPTED;
  const user_conf_t *user = config_user(config, name);
  if (user == NULL)
    return REASON_UNKNOWN_USER;
  const authkey_t *found = authkeys_find(&user->keys, blob, len);
  if (found == NULL)
    return REASON_UNKNOWN_KEY;
  *key = found;
  return REASON_NONE;
}

reason_t verify_usable(const authkey_t *key, const ip_t *source, uint64_t now_s)
{
  if (key->expires != 0 && now_s >= key->expires)
    return REASON_KEY_EXPIRED;
  return authkeys_from(key, source) ? REASON_NONE : REASON_SOURCE_NOT_ALLOWED;
}

static bool same_session(cursor_t a, cursor_t b)
{
  return a.len > 0 && a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

static verify_result_t verify_plain(const config_t *config, cursor_t session_hash, const uint8_t *signature,
                                    size_t signature_len, const uint8_t *data, size_t data_len)
{
  verify_result_t r = {.reason = REASON_BAD_SIGNATURE, .how = VERIFY_KEY};
  signedreq_t req;
  if (signedreq_parse(data, data_len, &req))
    return r;
  memcpy(r.user, req.user, sizeof r.user);
  r.blob = req.key;
  if (!same_session(req.session_hash, session_hash))
    return r;
  reason_t known = verify_known(config, req.user, req.key.data, req.key.len, &r.key);
  if (known != REASON_NONE) {
    r.reason = known;
    return r;
  }
  /* A security key never signs the request itself: its signature comes in the other form. */
  if (userkey_is_security_key(r.key->key))
    return r;
  if (userkey_verify(r.key->key, (const char *)req.algorithm.data, req.algorithm.len, signature,
                     signature_len, data, data_len) == SMPL_OK)
    r.reason = REASON_NONE;
  return r;
}

/* ---- security keys ---- */

typedef struct sk_signed {
  const uint8_t *application_hash;
  uint8_t flags;
  const uint8_t *request_hash;
} sk_signed_t;

/* What a security key signs names its request only by hash: rebuild the request for each such key on file. */
static bool is_sk_request(const user_conf_t *user, const authkey_t *key, cursor_t session_hash,
                          const sk_signed_t *sk)
{
  uint8_t digest[SHA256_DIGEST_LENGTH], request[MSG_SIGNED_MAX];
  const char *application = userkey_application(key->key);
  SHA256((const uint8_t *)application, strlen(application), digest);
  if (memcmp(digest, sk->application_hash, sizeof digest) != 0)
    return false;
  size_t len;
  cursor_t blob;
  blob.data = userkey_blob(key->key, &blob.len);
  if (signedreq_build(session_hash, user->name, userkey_kind(key->key), blob, request, sizeof request, &len))
    return false;
  SHA256(request, len, digest);
  return CRYPTO_memcmp(digest, sk->request_hash, sizeof digest) == 0;
}

static const authkey_t *find_sk_key(const config_t *config, cursor_t session_hash, const sk_signed_t *sk,
                                    const user_conf_t **owner)
{
  const user_conf_t *users = config->users.items;
  for (size_t u = 0; u < config->users.count; u++) {
    for (size_t k = 0; k < users[u].keys.count; k++) {
      const authkey_t *key = &users[u].keys.keys[k];
      if (!userkey_is_security_key(key->key) || !is_sk_request(&users[u], key, session_hash, sk))
        continue;
      *owner = &users[u];
      return key;
    }
  }
  return NULL;
}

static unsigned strength_of(uint8_t flags)
{
  return ((flags & USERKEY_SK_TOUCHED) != 0 ? VERIFY_TOUCHED : 0) |
         ((flags & USERKEY_SK_VERIFIED) != 0 ? VERIFY_CHECKED : 0);
}

static unsigned strength_needed(const authkey_t *key)
{
  return (key->no_touch_required ? 0 : VERIFY_TOUCHED) | (key->verify_required ? VERIFY_CHECKED : 0);
}

static verify_result_t verify_sk(const config_t *config, cursor_t session_hash, const uint8_t *signature,
                                 size_t signature_len, const uint8_t *data, size_t data_len)
{
  verify_result_t r = {.reason = REASON_BAD_SIGNATURE, .how = VERIFY_SECURITY_KEY};
  const user_conf_t *owner;
  sk_signed_t sk = {data, data[SHA256_DIGEST_LENGTH], data + SHA256_DIGEST_LENGTH + 1 + 4};
  const authkey_t *key = find_sk_key(config, session_hash, &sk, &owner);
  if (key == NULL)
    return r;
  memcpy(r.user, owner->name, strlen(owner->name) + 1);
  r.key = key;
  r.blob.data = userkey_blob(key->key, &r.blob.len);
  r.strength = strength_of(sk.flags);
  if ((strength_needed(key) & ~r.strength) != 0)
    return r;
  const char *kind = userkey_kind(key->key);
  if (userkey_verify(key->key, kind, strlen(kind), signature, signature_len, data, data_len) == SMPL_OK)
    r.reason = REASON_NONE;
  return r;
}

verify_result_t verify_login(const config_t *config, cursor_t session_hash, const uint8_t *signature,
                             size_t signature_len, const uint8_t *data, size_t data_len)
{
  /* A request is always longer than this: session id and names alone are. */
  if (data_len == USERKEY_SK_SIGNED_LEN)
    return verify_sk(config, session_hash, signature, signature_len, data, data_len);
  return verify_plain(config, session_hash, signature, signature_len, data, data_len);
}
