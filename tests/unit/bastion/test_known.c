/* SPDX-License-Identifier: Apache-2.0 */
/* From where somebody signed in lately. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>

#include "bastion/session/known.h"

static ip_t address(const char *text)
{
  ip_t ip;
  assert_int_equal(ip_parse(text, &ip), 0);
  return ip;
}

static ip_t numbered(unsigned i)
{
  ip_t ip = address("10.0.0.0");
  ip.b[14] = (uint8_t)(i >> 8);
  ip.b[15] = (uint8_t)i;
  return ip;
}

static void a_source_is_known_for_a_while_after_the_last_login(void **state)
{
  (void)state;
  known_t *k = known_new();
  ip_t a = address("192.0.2.1"), b = address("192.0.2.2"), net = address("2001:db8::1"),
       same = address("2001:db8::2:3");
  assert_false(known_is(k, &a, 0));
  known_mark(k, &a, "dev", 0);
  known_mark(k, &net, "dev", 0);
  assert_true(known_is(k, &a, KNOWN_MS - 1));
  assert_true(known_is(k, &same, 0));
  assert_false(known_is(k, &b, 0));
  assert_false(known_is(k, &a, KNOWN_MS));
  known_mark(k, &a, "dev", KNOWN_MS - 1);
  assert_true(known_is(k, &a, KNOWN_MS));
  known_free(k);
}

static void a_user_has_so_many_sources_and_pushes_out_no_other_users(void **state)
{
  (void)state;
  known_t *k = known_new();
  ip_t other = address("192.0.2.1");
  known_mark(k, &other, "other", 0);
  for (unsigned i = 0; i < 2 * KNOWN_MAX; i++) {
    ip_t ip = numbered(i);
    known_mark(k, &ip, "greedy", i + 1);
  }
  unsigned left = 0;
  for (unsigned i = 0; i < 2 * KNOWN_MAX; i++) {
    ip_t ip = numbered(i);
    bool is = known_is(k, &ip, 2 * KNOWN_MAX);
    assert_int_equal(is, i >= 2 * KNOWN_MAX - KNOWN_OF_USER_MAX); /* the newest of them */
    left += is;
  }
  assert_int_equal(left, KNOWN_OF_USER_MAX);
  assert_true(known_is(k, &other, 2 * KNOWN_MAX));
  known_free(k);
}

static void the_table_forgets_what_is_over_soonest(void **state)
{
  (void)state;
  known_t *k = known_new();
  char user[16];
  for (unsigned i = 0; i <= KNOWN_MAX; i++) {
    ip_t ip = numbered(i);
    snprintf(user, sizeof user, "u%u", i);
    known_mark(k, &ip, user, i + 1);
  }
  for (unsigned i = 0; i <= KNOWN_MAX; i++) {
    ip_t ip = numbered(i);
    assert_int_equal(known_is(k, &ip, KNOWN_MAX + 1), i != 0);
  }
  known_free(k);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_source_is_known_for_a_while_after_the_last_login),
      cmocka_unit_test(a_user_has_so_many_sources_and_pushes_out_no_other_users),
      cmocka_unit_test(the_table_forgets_what_is_over_soonest),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
