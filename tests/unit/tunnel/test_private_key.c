/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/session/private_key.c: keys of every kind and format that libssh reads sign, and OpenSSL finds the
 * signature right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "common/base/error.h"
#include "tunnel/session/private_key.h"

static char folder[64];

static int make_folder(void **state)
{
  (void)state;
  snprintf(folder, sizeof folder, "/tmp/smpl-keys.XXXXXX");
  return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
  (void)state;
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s", folder);
  FILE *f = popen(command, "r");
  return f ? pclose(f) : -1;
}

static void run(const char *command)
{
  FILE *f = popen(command, "r");
  assert_non_null(f);
  assert_int_equal(pclose(f), 0);
}

static ssh_key make(const char *kind, const char *passphrase)
{
  char command[256], path[128];
  ssh_key key = NULL;
  snprintf(command, sizeof command, "rm -f %s/k %s/k.pub; ssh-keygen -q -t %s -N '%s' -f %s/k", folder,
           folder, kind, passphrase, folder);
  run(command);
  snprintf(path, sizeof path, "%s/k", folder);
  assert_int_equal(ssh_pki_import_privkey_file(path, passphrase, NULL, NULL, &key), SSH_OK);
  return key;
}

/* The public half as OpenSSL reads it. */
static EVP_PKEY *public_half(void)
{
  char command[256], path[128];
  snprintf(path, sizeof path, "%s/pub", folder);
  snprintf(command, sizeof command, "ssh-keygen -e -m PKCS8 -f %s/k.pub >%s", folder, path);
  run(command);
  FILE *f = fopen(path, "r");
  assert_non_null(f);
  EVP_PKEY *key = PEM_read_PUBKEY(f, NULL, NULL, NULL);
  fclose(f);
  return key;
}

static bool verifies(EVP_PKEY *key, const char *digest, const uint8_t *signature, size_t len)
{
  EVP_MD_CTX *ctx = EVP_MD_CTX_new();
  bool ok = EVP_DigestVerifyInit_ex(ctx, NULL, digest, NULL, NULL, key, NULL) == 1 &&
            EVP_DigestVerify(ctx, signature, len, (const uint8_t *)"data", 4) == 1;
  EVP_MD_CTX_free(ctx);
  return ok;
}

static cursor_t text(const char *s)
{
  return (cursor_t){(const uint8_t *)s, strlen(s)};
}

static void test_keys_of_every_kind_and_format_sign(void **state)
{
  (void)state;
  static const struct {
    const char *kind, *passphrase, *algorithm, *digest;
  } cases[] = {
      {"rsa -b 2048", "", "rsa-sha2-256", "SHA256"},
      {"rsa -b 2048", "", "rsa-sha2-512-cert-v01@openssh.com", "SHA512"},
      {"rsa -b 2048", "secret", "rsa-sha2-512", "SHA512"},
      {"rsa -b 2048 -m PEM", "", "rsa-sha2-512", "SHA512"},
      {"rsa -b 2048 -m PEM", "secret", "ssh-rsa", "SHA1"},
      {"ecdsa -b 256", "", "ecdsa-sha2-nistp256", "SHA256"},
      {"ecdsa -b 384", "secret", "ecdsa-sha2-nistp384", "SHA384"},
      {"ecdsa -b 521 -m PEM", "", "ecdsa-sha2-nistp521-cert-v01@openssh.com", "SHA512"},
  };
  uint8_t signature[1024];
  size_t len;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    ssh_key key = make(cases[i].kind, cases[i].passphrase);
    EVP_PKEY *half = public_half();
    assert_int_equal(private_key_sign(key, text(cases[i].algorithm), (const uint8_t *)"data", 4, signature,
                                      sizeof signature, &len),
                     SMPL_OK);
    assert_true(verifies(half, cases[i].digest, signature, len));
    EVP_PKEY_free(half);
    ssh_key_free(key);
  }
}

static void test_ed25519_signs_with_and_without_a_passphrase(void **state)
{
  (void)state;
  static const char *const passphrases[] = {"", "secret"};
  for (size_t i = 0; i < 2; i++) {
    uint8_t signature[64], again[64];
    size_t len;
    ssh_key key = make("ed25519", passphrases[i]);
    for (int n = 0; n < 2; n++)
      assert_int_equal(private_key_sign(key, text("ssh-ed25519"), (const uint8_t *)"data", 4,
                                        n ? again : signature, sizeof signature, &len),
                       SMPL_OK);
    assert_int_equal(len, 64);
    assert_memory_equal(signature, again, 64); /* it knows no chance */
    char *blob = NULL;
    assert_int_equal(ssh_pki_export_pubkey_base64(key, &blob), SSH_OK);
    uint8_t raw[128];
    int n = EVP_DecodeBlock(raw, (const uint8_t *)blob, (int)strlen(blob));
    assert_true(n >= 51);
    EVP_PKEY *half = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, raw + 19, 32);
    assert_true(verifies(half, NULL, signature, len));
    EVP_PKEY_free(half);
    ssh_string_free_char(blob);
    ssh_key_free(key);
  }
}

static void test_other_algorithms_and_signatures_without_room_are_refused(void **state)
{
  (void)state;
  uint8_t signature[256];
  size_t len;
  ssh_key key = make("rsa -b 2048", "");
  static const char *const others[] = {"", "ssh-dss", "rsa-sha2-5123", "-cert-v01@openssh.com"};
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    assert_int_equal(private_key_sign(key, text(others[i]), (const uint8_t *)"data", 4, signature,
                                      sizeof signature, &len),
                     SMPL_EINVAL);
  assert_int_equal(private_key_sign(key, text("rsa-sha2-256"), (const uint8_t *)"data", 4, signature, 255,
                                    &len),
                   SMPL_ELIMIT);
  ssh_key_free(key);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_keys_of_every_kind_and_format_sign),
      cmocka_unit_test(test_ed25519_signs_with_and_without_a_passphrase),
      cmocka_unit_test(test_other_algorithms_and_signatures_without_room_are_refused),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
