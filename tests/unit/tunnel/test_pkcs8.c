/* SPDX-License-Identifier: Apache-2.0 */
/* Ed25519 keys in PKCS #8 become keys that libssh signs with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "tunnel/session/pkcs8.h"

static char *pem_of(EVP_PKEY *pkey, const char *passphrase)
{
  BIO *bio = BIO_new(BIO_s_mem());
  char *data, *text;
  assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, pkey, passphrase ? EVP_aes_256_cbc() : NULL, passphrase,
                                                 passphrase ? (int)strlen(passphrase) : 0, NULL, NULL),
                   1);
  long len = BIO_get_mem_data(bio, &data);
  text = strndup(data, (size_t)len);
  BIO_free(bio);
  return text;
}

/* The last bytes of the blob are the public half. */
static void is_key_of(ssh_key key, EVP_PKEY *pkey)
{
  uint8_t half[32], blob[64];
  size_t len = sizeof half;
  char *base64 = NULL;
  assert_non_null(key);
  assert_int_equal(EVP_PKEY_get_raw_public_key(pkey, half, &len), 1);
  assert_int_equal(ssh_pki_export_pubkey_base64(key, &base64), SSH_OK);
  assert_int_equal(strlen(base64), 68);
  assert_int_equal(EVP_DecodeBlock(blob, (const unsigned char *)base64, 68), 51);
  assert_memory_equal(blob + 19, half, sizeof half);
  ssh_string_free_char(base64);
}

static void a_plain_and_a_locked_key_are_read(void **state)
{
  (void)state;
  EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
  char *plain = pem_of(pkey, NULL), *locked = pem_of(pkey, "secret");
  ssh_key key = pkcs8_ed25519(plain, NULL);
  is_key_of(key, pkey);
  ssh_key_free(key);
  key = pkcs8_ed25519(locked, "secret");
  is_key_of(key, pkey);
  ssh_key_free(key);
  assert_null(pkcs8_ed25519(locked, NULL));
  assert_null(pkcs8_ed25519(locked, "wrong"));
  free(plain);
  free(locked);
  EVP_PKEY_free(pkey);
}

static void what_is_none_is_none(void **state)
{
  (void)state;
  EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
  char *text = pem_of(pkey, NULL);
  assert_null(pkcs8_ed25519(text, NULL));
  assert_null(pkcs8_ed25519("", NULL));
  text[strlen(text) / 2] = '\0';
  assert_null(pkcs8_ed25519(text, NULL));
  free(text);
  EVP_PKEY_free(pkey);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_plain_and_a_locked_key_are_read),
      cmocka_unit_test(what_is_none_is_none),
  };
  ssh_init();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
