/* SPDX-License-Identifier: Apache-2.0 */
/* API keys, which customers have: "sk_api_", 30 random base62 characters, 6 of checksum (CRC-32 of all before
 * it, base62). The checksum tells a mistyped or made-up key without asking anybody; it is no secret. Only the
 * SHA-256 is stored. Internal keys, which services have among themselves, look the same but for "sk_int_":
 * neither can be taken for the other. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define KEY_PREFIX          "sk_api_"
#define KEY_INTERNAL_PREFIX "sk_int_"

/* What a client is told with a 401, whoever finds it out first. */
#define KEY_MISSING_TEXT   "send an API key: Authorization: Bearer " KEY_PREFIX "..."
#define KEY_MALFORMED_TEXT "this is no API key, or it was mistyped: its checksum does not fit"

enum {
  KEY_RANDOM_LEN = 30,
  KEY_CHECK_LEN = 6,
  KEY_TEXT_LEN = sizeof KEY_PREFIX - 1 + KEY_RANDOM_LEN + KEY_CHECK_LEN,
  KEY_TEXT_MAX = KEY_TEXT_LEN + 1, /* with NUL */
  KEY_HASH_LEN = 32,
  KEY_TAG_LEN = 8, /* leading bytes of the hash, by which storage looks it up */
};

_Static_assert(sizeof KEY_PREFIX == sizeof KEY_INTERNAL_PREFIX, "keys of both kinds are of one length");

/* A new key into out (KEY_TEXT_MAX bytes); the caller wipes it. SMPL_ESYS when there is no randomness. */
int key_generate(char *out);
int key_generate_internal(char *out);
/* Prefix, length and characters are those of an API key. The checksum is not looked at. */
bool key_has_form(const char *key);
/* Form and checksum of an API key are right. Touches no storage. */
bool key_well_formed(const char *key);
/* The same of an internal key. */
bool key_is_internal(const char *key);
/* SHA-256 of the key's text into hash (KEY_HASH_LEN bytes). SMPL_ESYS. */
int key_hash(const char *key, uint8_t *hash);
/* In constant time. */
bool key_hash_equal(const uint8_t *a, const uint8_t *b);
