/* SPDX-License-Identifier: Apache-2.0 */
#include "app/http/keys.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stddef.h>
#include <string.h>

#include "common/base/error.h"

static const char base62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

enum { PREFIX_LEN = sizeof KEY_PREFIX - 1, CHECKED_LEN = PREFIX_LEN + KEY_RANDOM_LEN };

/* The polynomial of zlib and Ethernet, four bits a step. */
static uint32_t crc32_of(const char *s, size_t len)
{
  static const uint32_t steps[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
                                     0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                     0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
  uint32_t crc = 0xffffffffu;
  for (size_t i = 0; i < len; i++) {
    crc ^= (uint8_t)s[i];
    crc = (crc >> 4) ^ steps[crc & 15];
    crc = (crc >> 4) ^ steps[crc & 15];
  }
  return ~crc;
}

static void write_check(const char *key, char *check)
{
  uint32_t crc = crc32_of(key, CHECKED_LEN);
  for (int i = KEY_CHECK_LEN - 1; i >= 0; i--) {
    check[i] = base62[crc % 62];
    crc /= 62;
  }
}

/* One evenly distributed character: 248 is the greatest multiple of 62 that a byte can stay below. */
static int random_char(char *out)
{
  uint8_t byte;
  do {
    if (RAND_bytes(&byte, 1) != 1)
      return SMPL_ESYS;
  } while (byte >= 248);
  *out = base62[byte % 62];
  return SMPL_OK;
}

static int generate(const char *prefix, char *out)
{
  memcpy(out, prefix, PREFIX_LEN);
  for (size_t i = PREFIX_LEN; i < CHECKED_LEN; i++) {
    int err = random_char(&out[i]);
    if (err)
      return err;
  }
  write_check(out, out + CHECKED_LEN);
  out[KEY_TEXT_LEN] = '\0';
  return SMPL_OK;
}

int key_generate(char *out)
{
  return generate(KEY_PREFIX, out);
}

int key_generate_internal(char *out)
{
  return generate(KEY_INTERNAL_PREFIX, out);
}

static bool has_form(const char *prefix, const char *key)
{
  return strnlen(key, KEY_TEXT_MAX) == KEY_TEXT_LEN && memcmp(key, prefix, PREFIX_LEN) == 0 &&
         strspn(key + PREFIX_LEN, base62) == KEY_RANDOM_LEN + KEY_CHECK_LEN;
}

static bool well_formed(const char *prefix, const char *key)
{
  char check[KEY_CHECK_LEN];
  if (!has_form(prefix, key))
    return false;
  write_check(key, check);
  return memcmp(key + CHECKED_LEN, check, sizeof check) == 0;
}

bool key_has_form(const char *key)
{
  return has_form(KEY_PREFIX, key);
}

bool key_well_formed(const char *key)
{
  return well_formed(KEY_PREFIX, key);
}

bool key_is_internal(const char *key)
{
  return well_formed(KEY_INTERNAL_PREFIX, key);
}

int key_hash(const char *key, uint8_t *hash)
{
  unsigned len = 0;
  int ok = EVP_Digest(key, strlen(key), hash, &len, EVP_sha256(), NULL);
  return ok == 1 && len == KEY_HASH_LEN ? SMPL_OK : SMPL_ESYS;
}

bool key_hash_equal(const uint8_t *a, const uint8_t *b)
{
  return CRYPTO_memcmp(a, b, KEY_HASH_LEN) == 0;
}
