/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/answer/cookies.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "resolver/limits.h"

enum {
  HASH_LEN = 8,
  HEAD_LEN = 8, /* version, three reserved bytes, time */
  VERSION = 1,
  ADDRESS_MAX = 16,
};

struct cookies {
  EVP_MAC_CTX *mac;
  uint64_t made_ms;
  uint64_t turn; /* which secret `now` is: one every COOKIE_ROTATE_MS */
  uint8_t now[COOKIE_KEY_LEN];
  uint8_t before[COOKIE_KEY_LEN];
};

int cookie_secret_make(cookie_secret_t *out)
{
  out->made_ms = clock_mono_ms();
  return RAND_bytes(out->key, sizeof out->key) == 1 ? SMPL_OK : SMPL_ESYS;
}

int cookies_new(const cookie_secret_t *secret, cookies_t **out)
{
  *out = NULL;
  cookies_t *c = calloc(1, sizeof *c);
  if (c == NULL)
    return SMPL_ENOMEM;
  size_t size = HASH_LEN;
  OSSL_PARAM params[] = {OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &size), OSSL_PARAM_construct_end()};
  EVP_MAC *mac = EVP_MAC_fetch(NULL, "SIPHASH", NULL);
  if (mac != NULL)
    c->mac = EVP_MAC_CTX_new(mac);
  EVP_MAC_free(mac);
  if (c->mac == NULL || EVP_MAC_CTX_set_params(c->mac, params) != 1) {
    cookies_free(c);
    return SMPL_ESYS;
  }
  c->made_ms = secret->made_ms;
  memcpy(c->now, secret->key, sizeof c->now);
  memcpy(c->before, secret->key, sizeof c->before);
  *out = c;
  return SMPL_OK;
}

void cookies_free(cookies_t *cookies)
{
  if (cookies == NULL)
    return;
  EVP_MAC_CTX_free(cookies->mac);
  OPENSSL_cleanse(cookies, sizeof *cookies);
  free(cookies);
}

static bool siphash(cookies_t *c, const uint8_t *key, const uint8_t *data, size_t len, uint8_t *out)
{
  size_t n = 0;
  return EVP_MAC_init(c->mac, key, COOKIE_KEY_LEN, NULL) == 1 && EVP_MAC_update(c->mac, data, len) == 1 &&
         EVP_MAC_final(c->mac, out, &n, HASH_LEN) == 1 && n == HASH_LEN;
}

/* Each secret is a hash of the one before, so that all workers have the same without asking each other, and
 * none can be computed from a later one. */
static void turn_secret(cookies_t *c, uint64_t mono_ms)
{
  uint64_t turn = mono_ms > c->made_ms ? (mono_ms - c->made_ms) / COOKIE_ROTATE_MS : 0;
  for (; c->turn < turn; c->turn++) {
    uint8_t next[COOKIE_KEY_LEN];
    if (!siphash(c, c->now, (const uint8_t *)"next secret 0", 13, next) ||
        !siphash(c, c->now, (const uint8_t *)"next secret 1", 13, next + HASH_LEN))
      return;
    memcpy(c->before, c->now, sizeof c->before);
    memcpy(c->now, next, sizeof c->now);
  }
}

/* RFC 9018 section 4.4: client cookie, the server cookie's head, the client's address. */
static bool hash(cookies_t *c, const uint8_t *key, const cookie_client_t *client, const uint8_t *head,
                 uint8_t *out)
{
  uint8_t data[COOKIE_CLIENT_LEN + HEAD_LEN + ADDRESS_MAX];
  size_t skip = ip_is_v4(client->address) ? 12 : 0;
  memcpy(data, client->cookie, COOKIE_CLIENT_LEN);
  memcpy(data + COOKIE_CLIENT_LEN, head, HEAD_LEN);
  memcpy(data + COOKIE_CLIENT_LEN + HEAD_LEN, client->address->b + skip, ADDRESS_MAX - skip);
  return siphash(c, key, data, sizeof data - skip, out);
}

void cookies_make(cookies_t *cookies, const cookie_client_t *client, uint8_t *out)
{
  uint32_t t = client->wall_s;
  const uint8_t head[HEAD_LEN] = {VERSION,           0,         0, 0, (uint8_t)(t >> 24), (uint8_t)(t >> 16),
                                  (uint8_t)(t >> 8), (uint8_t)t};
  turn_secret(cookies, client->mono_ms);
  memcpy(out, head, sizeof head);
  if (!hash(cookies, cookies->now, client, head, out + HEAD_LEN))
    memset(out + HEAD_LEN, 0, HASH_LEN); /* one that will not be valid */
}

bool cookies_valid(cookies_t *cookies, const cookie_client_t *client, const uint8_t *cookie, size_t len)
{
  if (len != COOKIE_SERVER_LEN || cookie[0] != VERSION)
    return false;
  uint32_t made =
      (uint32_t)cookie[4] << 24 | (uint32_t)cookie[5] << 16 | (uint32_t)cookie[6] << 8 | cookie[7];
  uint32_t age = client->wall_s - made; /* RFC 1982: wraps round */
  uint32_t ahead = made - client->wall_s;
  if (age > COOKIE_AGE_MAX_S && ahead > COOKIE_AHEAD_MAX_S)
    return false;
  turn_secret(cookies, client->mono_ms);
  const uint8_t *const keys[] = {cookies->now, cookies->before};
  for (size_t i = 0; i < 2; i++) {
    uint8_t want[HASH_LEN];
    if (hash(cookies, keys[i], client, cookie, want) && CRYPTO_memcmp(want, cookie + HEAD_LEN, HASH_LEN) == 0)
      return true;
  }
  return false;
}
