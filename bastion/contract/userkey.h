/* SPDX-License-Identifier: Apache-2.0 */
/* Users' public keys of the accepted kinds: reads them from their wire form, and checks a signature by one
 * (RFC 4253 §6.6, RFC 5656 §3.1, RFC 8709 §4, OpenSSH's PROTOCOL.u2f). Certificates and every other kind are
 * refused. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bastion/limits.h"
#include "common/base/diag.h"

enum {
  USERKEY_FINGERPRINT_MAX = sizeof "SHA256:" + 44,
  USERKEY_SK_SIGNED_LEN = 32 + 1 + 4 + 32, /* what a security key signs: SHA-256, flags, counter, SHA-256 */
};

enum {
  /* bits of a security key's flags */
  USERKEY_SK_TOUCHED = 0x01,
  USERKEY_SK_VERIFIED = 0x04,
};

typedef struct userkey userkey_t;

/* Reads a key. diag gets one sentence without a place. SMPL_EINVAL, SMPL_EDENIED (a kind that is not
 * accepted, too weak), SMPL_ELIMIT, SMPL_ENOMEM. */
int userkey_parse(const uint8_t *blob, size_t len, userkey_t **out, diag_t *diag);
void userkey_free(userkey_t *key);

/* Whether this is a name of a kind that is accepted ("ssh-ed25519"). */
bool userkey_kind_known(const char *name, size_t len);

const char *userkey_kind(const userkey_t *key);
const uint8_t *userkey_blob(const userkey_t *key, size_t *len);
bool userkey_is(const userkey_t *key, const uint8_t *blob, size_t len);
bool userkey_is_security_key(const userkey_t *key);
/* Of security keys, "" otherwise. */
const char *userkey_application(const userkey_t *key);

/* "SHA256:..." as ssh-keygen -l prints it. buf of USERKEY_FINGERPRINT_MAX bytes. Returns buf. */
char *userkey_fingerprint(const uint8_t *blob, size_t len, char *buf);

/* Whether the key signs with this algorithm ("rsa-sha2-256" for RSA; never "ssh-rsa"). */
bool userkey_accepts(const userkey_t *key, const char *algorithm, size_t len);

/* Checks a raw signature (Ed25519: 64 bytes; ECDSA: DER; RSA: PKCS #1) over data. algorithm is one that the
 * key accepts. SMPL_EDENIED if it does not verify. */
int userkey_verify(const userkey_t *key, const char *algorithm, size_t algorithm_len,
                   const uint8_t *signature, size_t signature_len, const uint8_t *data, size_t data_len);
