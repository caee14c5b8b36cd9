/* SPDX-License-Identifier: Apache-2.0 */
/* Identity files as people have them, made by ssh-keygen. */
#include "tunnel/session/identity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tunnel/base/capture.h"

static char folder[64];
static char path[96];
static char public[104];

static int make_folder(void **state)
{
  (void)state;
  snprintf(folder, sizeof folder, "/tmp/smpl-identity.XXXXXX");
  assert_non_null(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/key", folder);
  snprintf(public, sizeof public, "%s.pub", path);
  return 0;
}

static int remove_folder(void **state)
{
  (void)state;
  unlink(path);
  unlink(public);
  return rmdir(folder);
}

static void make_key(const char *kind, const char *format, const char *cipher, const char *passphrase)
{
  unlink(path);
  unlink(public);
  const char *const argv[] = {"ssh-keygen", "-q", "-t", kind,       "-m", format, "-Z", cipher,
                              "-a",         "2",  "-N", passphrase, "-f", path,   NULL};
  char *said = NULL;
  bool fine = false;
  assert_int_equal(capture_run(&(capture_t){.argv = argv, .in = -1, .most = 4096, .ms = 60000}, &said, &fine),
                   0);
  assert_true(fine);
  free(said);
}

/* Whether what is loaded is the key whose public half ssh-keygen wrote. */
static bool loads(const char *passphrase, bool *locked)
{
  diag_t diag = {0};
  ssh_key half = NULL;
  ssh_key key = identity_load(path, passphrase, locked, &diag);
  assert_int_equal(ssh_pki_import_pubkey_file(public, &half), SSH_OK);
  bool same = key && ssh_key_cmp(key, half, SSH_KEY_CMP_PUBLIC) == 0;
  assert_int_equal(same, key != NULL);
  ssh_key_free(key);
  ssh_key_free(half);
  return same;
}

static void expect_sealed(const char *kind, const char *format, const char *cipher)
{
  bool locked;
  make_key(kind, format, cipher, "the words");
  assert_false(loads(NULL, &locked));
  assert_true(locked);
  assert_false(loads("other words", &locked));
  assert_true(locked);
  assert_true(loads("the words", &locked));
}

static void test_every_seal_of_ssh_keygen_is_opened_by_its_passphrase_alone(void **state)
{
  (void)state;
  static const char *const ciphers[] = {"aes256-gcm@openssh.com",
                                        "aes128-gcm@openssh.com",
                                        "chacha20-poly1305@openssh.com",
                                        "aes256-ctr",
                                        "aes192-ctr",
                                        "aes128-ctr",
                                        "aes256-cbc",
                                        "aes192-cbc",
                                        "aes128-cbc",
                                        "3des-cbc"};
  for (size_t i = 0; i < sizeof ciphers / sizeof *ciphers; i++)
    expect_sealed("ed25519", "RFC4716", ciphers[i]);
  expect_sealed("ecdsa", "RFC4716", "aes256-gcm@openssh.com");
  expect_sealed("rsa", "RFC4716", "chacha20-poly1305@openssh.com");
  expect_sealed("rsa", "PEM", "aes256-ctr");
  expect_sealed("ecdsa", "PKCS8", "aes256-ctr");
}

static void test_keys_without_a_passphrase_are_read_in_every_format(void **state)
{
  (void)state;
  static const char *const kinds[] = {"ed25519", "ecdsa", "rsa"};
  static const char *const formats[] = {"RFC4716", "PEM", "PKCS8"};
  for (size_t i = 0; i < 9; i++) {
    bool locked;
    make_key(kinds[i / 3], formats[i % 3], "aes256-ctr", "");
    assert_true(loads(NULL, &locked));
    assert_false(locked);
  }
}

/* None is a crash, none is a key. */
static void test_a_sealed_file_that_is_cut_anywhere_is_no_key(void **state)
{
  (void)state;
  char text[4096];
  make_key("ed25519", "RFC4716", "aes256-gcm@openssh.com", "the words");
  FILE *f = fopen(path, "r");
  size_t len = fread(text, 1, sizeof text, f);
  fclose(f);
  static const char end[] = "\n-----END OPENSSH PRIVATE KEY-----\n";
  for (size_t keep = 36; keep < len - sizeof end; keep += 4) {
    diag_t diag = {0};
    bool locked;
    f = fopen(path, "w");
    fwrite(text, 1, keep, f);
    fputs(end, f);
    fclose(f);
    assert_null(identity_load(path, NULL, &locked, &diag));
  }
  diag_t diag = {0};
  bool locked;
  assert_null(identity_load(path, "the words", &locked, &diag));
}

static void test_without_ssh_keygen_a_foreign_seal_says_what_to_do(void **state)
{
  (void)state;
  bool locked;
  diag_t diag = {0};
  char *programs = strdup(getenv("PATH"));
  make_key("ed25519", "RFC4716", "aes256-gcm@openssh.com", "the words");
  setenv("PATH", "/nonexistent", 1);
  ssh_key key = identity_load(path, "the words", &locked, &diag);
  setenv("PATH", programs, 1);
  free(programs);
  assert_null(key);
  assert_false(locked); /* another passphrase would not help */
  assert_non_null(strstr(diag.text, "ssh-keygen cannot be run"));
  assert_non_null(strstr(diag.text, "load it into an agent (ssh-add "));
}

/* Nobody writes to it: opening it as a file would never return. */
static void test_a_fifo_is_no_key_and_is_not_waited_for(void **state)
{
  (void)state;
  bool locked;
  diag_t diag = {0};
  unlink(path);
  unlink(public);
  assert_int_equal(mkfifo(path, 0600), 0);
  assert_int_equal(mkfifo(public, 0600), 0);
  assert_false(identity_is_public(public));
  assert_null(identity_public_half(path));
  assert_null(identity_load(path, NULL, &locked, &diag));
  assert_non_null(strstr(diag.text, ": not a regular file"));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_seal_of_ssh_keygen_is_opened_by_its_passphrase_alone),
      cmocka_unit_test(test_keys_without_a_passphrase_are_read_in_every_format),
      cmocka_unit_test(test_a_sealed_file_that_is_cut_anywhere_is_no_key),
      cmocka_unit_test(test_a_fifo_is_no_key_and_is_not_waited_for),
      cmocka_unit_test(test_without_ssh_keygen_a_foreign_seal_says_what_to_do),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
