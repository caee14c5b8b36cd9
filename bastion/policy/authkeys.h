/* SPDX-License-Identifier: Apache-2.0 */
/* A user's keys file in authorized_keys format (sshd(8)): one key a line, options before it, a comment
 * behind it. A line that cannot be read counts as absent, and is told of. One with an option that is not
 * known is such a line, so that a restriction somebody relies on is never passed over. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "bastion/limits.h"
#include "bastion/policy/faults.h"
#include "bastion/contract/userkey.h"
#include "common/base/ip.h"

typedef struct authkey_from {
  ip_net_t net;
  bool negated; /* "!10.1.0.0/16": not from there, whatever else is listed */
} authkey_from_t;

typedef struct authkey {
  userkey_t *key;
  unsigned line;
  bool no_touch_required; /* security keys only */
  bool verify_required;   /* the security key must have verified its user (PIN, finger) */
  uint64_t expires;       /* expiry-time, seconds since 1970; 0: never */
  authkey_from_t *from;   /* from=; NULL: from everywhere */
  size_t from_count;
  bool disputed; /* while the file is read: another line has the key with other options */
  char comment[AUTHKEYS_COMMENT_MAX];
} authkey_t;

typedef struct authkeys {
  authkey_t *keys;
  size_t count;
} authkeys_t;

/* text of len bytes; where stands in messages for the path: "path:line: what is wrong". Lines that do not
 * count are added to faults. Of two lines with one key, the first counts if their options are the same,
 * else neither. SMPL_ENOMEM leaves out empty. */
int authkeys_parse(const char *where, const char *text, size_t len, authkeys_t *out, faults_t *faults);
void authkeys_free(authkeys_t *keys);

/* Whether a source may use the key, by its from=. */
bool authkeys_from(const authkey_t *key, const ip_t *source);

/* NULL if the key is not on file. */
const authkey_t *authkeys_find(const authkeys_t *keys, const uint8_t *blob, size_t len);
