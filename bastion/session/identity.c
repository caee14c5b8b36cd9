/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/session/identity.h"

#include <string.h>

#include "common/base/error.h"

int identity_make(const verify_result_t *verified, identity_t *out)
{
  *out = (identity_t){.how = verified->how, .strength = verified->strength, .until = verified->key->expires};
  if (verified->blob.len > sizeof out->key)
    return SMPL_ELIMIT;
  memcpy(out->user, verified->user, sizeof out->user);
  memcpy(out->key, verified->blob.data, verified->blob.len);
  out->key_len = verified->blob.len;
  userkey_fingerprint(out->key, out->key_len, out->fingerprint);
  return SMPL_OK;
}

bool identity_is(const identity_t *id, const char *user, const uint8_t *key, size_t key_len)
{
  return strcmp(id->user, user) == 0 && id->key_len == key_len && memcmp(id->key, key, key_len) == 0;
}

const authkey_t *identity_key(const identity_t *id, const config_t *config)
{
  const user_conf_t *user = config_user(config, id->user);
  return user != NULL ? authkeys_find(&user->keys, id->key, id->key_len) : NULL;
}

reason_t identity_judge(identity_t *id, const config_t *config, const ip_t *source, uint64_t now_s)
{
  const authkey_t *key = identity_key(id, config);
  if (key == NULL)
    return REASON_UNKNOWN_KEY;
  id->until = key->expires;
  return verify_usable(key, source, now_s);
}

bool identity_subject(const identity_t *id, const config_t *config, grant_subject_t *out)
{
  const user_conf_t *user = config_user(config, id->user);
  if (user != NULL)
    *out = config_subject(user);
  return user != NULL;
}
