/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/worker/worker_sign.h"

#include <openssl/evp.h>
#include <string.h>

/* libssh's calls carry no context of ours. Written once, before the peer is heard. */
static worker_pair_t *broker;
static const worker_sign_keys_t *host_keys;
static bool verdict;

#define EXPORTED __attribute__((visibility("default"), used))

void worker_sign_start(worker_pair_t *pair, const worker_sign_keys_t *keys)
{
  broker = pair;
  host_keys = keys;
  verdict = false;
}

bool worker_sign_verdict(void)
{
  bool good = verdict;
  verdict = false;
  return good;
}

/* 256 or 512; 0 where the key's kind says it. */
static uint32_t digest_of(EVP_MD_CTX *ctx, int index)
{
  const EVP_MD *md = EVP_MD_CTX_get0_md(ctx);
  return index == host_keys->rsa && md != NULL ? (uint32_t)EVP_MD_get_size(md) * 8 : 0;
}

static int key_index(EVP_MD_CTX *ctx)
{
  EVP_PKEY_CTX *pctx = EVP_MD_CTX_get_pkey_ctx(ctx);
  EVP_PKEY *key = pctx != NULL ? EVP_PKEY_CTX_get0_pkey(pctx) : NULL;
  if (key == NULL)
    return -1;
  switch (EVP_PKEY_get_base_id(key)) {
  case EVP_PKEY_ED25519:
    return host_keys->ed25519;
  case EVP_PKEY_EC:
    return host_keys->ecdsa;
  case EVP_PKEY_RSA:
    return host_keys->rsa;
  default:
    return -1;
  }
}

EXPORTED int EVP_DigestSign(EVP_MD_CTX *ctx, unsigned char *sig, size_t *sig_len, const unsigned char *data,
                            size_t len)
{
  if (broker == NULL || sig == NULL || len > sizeof((msg_sign_t *)0)->data)
    return 0;
  int index = key_index(ctx);
  if (index < 0)
    return 0;
  msg_t m;
  msg_init(&m, MSG_SIGN, worker_pair_number(broker), worker_pair_session(broker));
  m.sign.key = (uint32_t)index;
  m.sign.digest = digest_of(ctx, index);
  m.sign.len = (uint32_t)len;
  memcpy(m.sign.data, data, len);
  worker_pair_ask(broker, &m, MSG_SIGNED);
  if (!m.signed_.ok || m.signed_.len == 0 || m.signed_.len > *sig_len)
    return 0;
  memcpy(sig, m.signed_.signature, m.signed_.len);
  *sig_len = m.signed_.len;
  return 1;
}

EXPORTED int EVP_DigestVerify(EVP_MD_CTX *ctx, const unsigned char *sig, size_t sig_len,
                              const unsigned char *data, size_t len)
{
  (void)ctx;
  verdict = false;
  if (broker == NULL)
    return 0;
  if (sig_len > MSG_SIGNATURE_MAX || len > MSG_SIGNED_MAX)
    return 1; /* libssh goes on, to a refusal */
  msg_t m;
  msg_init(&m, MSG_VERIFY, worker_pair_number(broker), worker_pair_session(broker));
  m.verify.signature_len = (uint32_t)sig_len;
  m.verify.data_len = (uint32_t)len;
  memcpy(m.verify.signature, sig, sig_len);
  memcpy(m.verify.data, data, len);
  worker_pair_ask(broker, &m, MSG_VERIFIED);
  verdict = m.verified.ok == 1;
  return 1;
}
