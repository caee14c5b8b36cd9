/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/session/host_proof.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host_kit.h"
#include "tunnel/session/host_proof.h"

static host_t host, other;

static cursor_t text(const char *s)
{
  return (cursor_t){(const uint8_t *)s, strlen(s)};
}

typedef struct kind {
  const char *kind, *algorithm, *digest, *group;
} kind_t;

static const kind_t kinds[] = {
    {"ssh-ed25519", "ssh-ed25519", NULL, NULL},
    {"ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", "SHA256", "P-256"},
    {"ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384", "SHA384", "P-384"},
    {"ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521", "SHA512", "P-521"},
    {"ssh-rsa", "rsa-sha2-256", "SHA256", NULL},
    {"ssh-rsa", "rsa-sha2-512", "SHA512", NULL},
    {"ssh-rsa", "ssh-rsa", "SHA1", NULL},
};

static void make(host_t *h, const kind_t *k)
{
  h->kind = k->kind;
  h->key = k->group                          ? EVP_PKEY_Q_keygen(NULL, NULL, "EC", k->group)
           : strcmp(k->kind, "ssh-rsa") == 0 ? EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048)
                                             : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
  assert_non_null(h->key);
  host_put_key(h);
  host_sign(h, k->algorithm, k->digest, "session");
}

static void test_keys_of_every_kind_prove_their_session_alone(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    make(&host, &kinds[i]);
    make(&other, &kinds[i]);
    assert_true(host_proof_holds(host.blob, host.proof, text("session")));
    assert_false(host_proof_holds(host.blob, host.proof, text("sessions")));
    assert_false(host_proof_holds(host.blob, host.proof, text("")));
    assert_false(host_proof_holds(other.blob, host.proof, text("session")));
    for (size_t len = 0; len < host.proof.len; len++)
      assert_false(host_proof_holds(host.blob, (cursor_t){host.proof.data, len}, text("session")));
    for (size_t len = 0; len < host.blob.len; len++)
      assert_false(host_proof_holds((cursor_t){host.blob.data, len}, host.proof, text("session")));
    EVP_PKEY_free(host.key);
    EVP_PKEY_free(other.key);
  }
}

static void test_a_key_does_not_sign_with_another_kinds_algorithm(void **state)
{
  (void)state;
  make(&host, &kinds[0]);
  host_sign(&host, "rsa-sha2-256", NULL, "session");
  assert_false(host_proof_holds(host.blob, host.proof, text("session")));
  host_sign(&host, "ssh-dss", NULL, "session");
  assert_false(host_proof_holds(host.blob, host.proof, text("session")));
  EVP_PKEY_free(host.key);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_keys_of_every_kind_prove_their_session_alone),
      cmocka_unit_test(test_a_key_does_not_sign_with_another_kinds_algorithm),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
