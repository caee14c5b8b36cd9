/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/session/permit.c: what a process that was taken over can have signed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "host_kit.h"
#include "tunnel/session/permit.h"

static cursor_t text(const char *s)
{
  return (cursor_t){(const uint8_t *)s, strlen(s)};
}

static uint8_t data[512];
static host_t host;

/* What a host is let in for that has signed this session's id. */
static permit_t begin(const char *session)
{
  EVP_PKEY_free(host.key);
  host_make(&host, session);
  return (permit_t){.user = "dev", .host_key = host.blob, .proof = host.proof};
}

static cursor_t request(const char *session, const char *user, const char *key)
{
  size_t len;
  assert_int_equal(signedreq_build(text(session), user, "ssh-ed25519", text(key), data, sizeof data, &len),
                   0);
  return (cursor_t){data, len};
}

static void test_a_login_of_the_user_with_the_key_is_allowed_to_one_session_alone(void **state)
{
  (void)state;
  permit_t p = begin("first");
  signedreq_t r;
  assert_true(permit_allows(&p, request("first", "dev", "key"), text("key"), &r));
  assert_true(cursor_is(r.algorithm, "ssh-ed25519") && cursor_is(r.session_hash, "first"));
  assert_true(permit_allows(&p, request("first", "dev", "other key"), text("other key"), &r));
  assert_false(permit_allows(&p, request("second", "dev", "key"), text("key"), &r));
  assert_false(permit_allows(&p, request("firs", "dev", "key"), text("key"), &r));
  assert_true(permit_allows(&p, request("first", "dev", "key"), text("key"), &r));
}

static void test_nothing_else_is(void **state)
{
  (void)state;
  permit_t p = begin("first");
  signedreq_t r;
  assert_false(permit_allows(&p, request("first", "root", "key"), text("key"), &r));
  assert_false(permit_allows(&p, request("first", "dev", "other"), text("key"), &r));
  assert_false(permit_allows(&p, request("", "dev", "key"), text("key"), &r));
  assert_false(permit_allows(&p, text("SSHSIG and what else"), text("key"), &r));
  assert_false(permit_allows(&p, text(""), text("key"), &r));
  cursor_t whole = request("first", "dev", "key");
  for (size_t len = 0; len < whole.len; len++)
    assert_false(permit_allows(&p, (cursor_t){whole.data, len}, text("key"), &r));
  data[whole.len] = 0;
  assert_false(permit_allows(&p, (cursor_t){whole.data, whole.len + 1}, text("key"), &r));
  assert_int_equal(p.session_len, 0); /* what was refused fixes nothing */
}

/* A server to which the user has access, too: the one that has taken the speaker over wants to be let in
 * there. */
static void test_a_session_that_the_host_has_not_signed_is_another_ones(void **state)
{
  (void)state;
  signedreq_t r;
  permit_t p = begin("first");
  assert_false(permit_allows(&p, request("second", "dev", "key"), text("key"), &r));
  assert_true(permit_allows(&p, request("first", "dev", "key"), text("key"), &r));
  p = begin("first");
  p.proof = text("");
  assert_false(permit_allows(&p, request("first", "dev", "key"), text("key"), &r));
  p = begin("first");
  host_t other;
  host_make(&other, "first");
  p.host_key = other.blob;
  assert_false(permit_allows(&p, request("first", "dev", "key"), text("key"), &r));
  EVP_PKEY_free(other.key);
}

static void test_a_session_id_has_a_length(void **state)
{
  (void)state;
  signedreq_t r;
  char id[SIGNEDREQ_SESSION_HASH_MAX + 2];
  memset(id, 'i', sizeof id);
  id[SIGNEDREQ_SESSION_HASH_MAX + 1] = '\0';
  permit_t p = begin(id);
  assert_false(permit_allows(&p, request(id, "dev", "key"), text("key"), &r));
  id[SIGNEDREQ_SESSION_HASH_MAX] = '\0';
  p = begin(id);
  assert_true(permit_allows(&p, request(id, "dev", "key"), text("key"), &r));
  EVP_PKEY_free(host.key);
  host.key = NULL;
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_login_of_the_user_with_the_key_is_allowed_to_one_session_alone),
      cmocka_unit_test(test_nothing_else_is),
      cmocka_unit_test(test_a_session_that_the_host_has_not_signed_is_another_ones),
      cmocka_unit_test(test_a_session_id_has_a_length),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
