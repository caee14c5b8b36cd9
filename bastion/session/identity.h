/* SPDX-License-Identifier: Apache-2.0 */
/* What signed in: who, how, until when and how strongly. It is made here alone, of a signature that held
 * (verify.h). */
#pragma once

#include "bastion/contract/msg.h"
#include "bastion/contract/userkey.h"
#include "bastion/policy/config.h"
#include "bastion/session/verify.h"

typedef struct identity {
  char user[MSG_USER_MAX]; /* "": nobody */
  verify_how_t how;
  unsigned strength; /* VERIFY_TOUCHED, VERIFY_CHECKED */
  uint64_t until;    /* seconds since 1970, as the keys file had it when it was judged last; 0: for good */
  uint8_t key[MSG_KEY_MAX];
  size_t key_len;
  char fingerprint[USERKEY_FINGERPRINT_MAX];
} identity_t;

/* Of a result whose reason is REASON_NONE. SMPL_ELIMIT for a key that is too long. */
int identity_make(const verify_result_t *verified, identity_t *out);
/* Whether it is this user by this key. */
bool identity_is(const identity_t *id, const char *user, const uint8_t *key, size_t key_len);

/* Whether what signed in may still do so from there (seconds since 1970), by this configuration: REASON_NONE,
 * REASON_UNKNOWN_KEY if user or key have gone, REASON_KEY_EXPIRED, REASON_SOURCE_NOT_ALLOWED. Takes over a
 * new until. */
reason_t identity_judge(identity_t *id, const config_t *config, const ip_t *source, uint64_t now_s);
/* The key on file; NULL if user or key have gone. */
const authkey_t *identity_key(const identity_t *id, const config_t *config);
/* Who it is for the grants: the groups are those of this configuration, so a reload may change them. False if
 * the user has gone. Borrowed from the configuration. */
bool identity_subject(const identity_t *id, const config_t *config, grant_subject_t *out);
