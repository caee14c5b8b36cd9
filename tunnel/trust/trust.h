/* SPDX-License-Identifier: Apache-2.0 */
/* Which host keys are believed: known_hosts files, hashed names included, read line by line with libssh;
 * @revoked keys are refused, the keys of @cert-authority lines are kept for authority.h. Strict: an unknown
 * key is not trusted. */
#pragma once

#include <libssh/libssh.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tunnel/limits.h"
#include "common/base/diag.h"

typedef struct trust trust_t;

typedef enum trust_verdict {
  TRUST_KNOWN,
  TRUST_UNKNOWN,    /* nothing is on file for this host */
  TRUST_OTHER_KIND, /* keys are on file, none of this kind */
  TRUST_CHANGED,    /* another key of this kind is on file */
  TRUST_REVOKED,
} trust_verdict_t;

/* Reads what the files say of host and port, and of the host without a port (see trust_judge in trust.c). A
 * file that is missing says nothing; one that cannot be read is an error, and so is a @revoked key that is
 * beyond a limit (SMPL_ELIMIT): unheard, it would be trusted. */
int trust_load(const char *const *files, size_t count, const char *host, uint16_t port, trust_t **out,
               diag_t *diag);
/* Lines of the same kind from elsewhere, which source names in messages. It must live as long as trust. text
 * is changed. */
int trust_add(trust_t *trust, char *text, const char *source, diag_t *diag);
void trust_free(trust_t *trust);

/* The name under which the host is written down: host, or [host]:port when the port is not 22. */
const char *trust_host(const trust_t *trust);

/* Host key algorithms to ask for, those first that are on file. Borrowed. */
const char *trust_algorithms(const trust_t *trust);
/* Of a user's list those that can be asked for, those first that are on file, into buf of cap bytes. "" if
 * none can. */
char *trust_choose(const trust_t *trust, const char *wanted, char *buf, size_t cap);

/* Whether a @cert-authority line is about this host. */
bool trust_has_authority(const trust_t *trust);
/* Whether this key (its bytes as on the wire) is one of theirs, and not revoked. */
bool trust_is_authority(const trust_t *trust, const uint8_t *key, size_t len);

trust_verdict_t trust_judge(const trust_t *trust, ssh_key key);

/* "ED25519 SHA256:... (file, line 3)" of each key on file, joined by ", "; "" if there is none. Returns buf.
 */
char *trust_describe_known(const trust_t *trust, char *buf, size_t cap);
/* SHA256:... into buf of TRUST_FINGERPRINT_MAX bytes. Returns buf ("" when it fails). */
char *trust_fingerprint(ssh_key key, char *buf);

/* Appends the key to file, making its folder if needed. */
int trust_remember(const trust_t *trust, const char *file, ssh_key key, diag_t *diag);
