/* SPDX-License-Identifier: Apache-2.0 */
/* common/dns/dns_servers.h: whom to ask first, with a clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/dns/dns_servers.h"

static void servers_that_nothing_is_known_of_are_taken_in_order(void **state)
{
  (void)state;
  dns_servers_t s = {.count = 3};
  assert_int_equal(dns_servers_best(&s, 0), 0);
  assert_int_equal(dns_servers_best(&s, 1), 1);
  assert_int_equal(dns_servers_best(&s, 3), 2);
  assert_int_equal(dns_servers_best(&s, 7), 3);
}

static void servers_that_differ_by_little_are_taken_in_order(void **state)
{
  (void)state;
  dns_servers_t s = {.count = 2};
  dns_servers_answered(&s, 0, DNS_SERVERS_STEP_MS, 0);
  dns_servers_answered(&s, 1, 1, 0);
  assert_int_equal(dns_servers_best(&s, 0), 0);
  dns_servers_answered(&s, 0, DNS_SERVERS_STEP_MS + 2, 0);
  assert_int_equal(dns_servers_best(&s, 0), 1);
}

static void a_quick_server_is_not_left_for_one_that_nothing_is_known_of(void **state)
{
  (void)state;
  dns_servers_t s = {.count = 2};
  dns_servers_answered(&s, 0, DNS_SERVERS_UNKNOWN_MS, 0);
  assert_int_equal(dns_servers_best(&s, 0), 0);
  assert_int_equal(dns_servers_probe(&s, 0, 1000000), 2); /* nobody needs to know */
  for (size_t i = 0; i < 8; i++)
    dns_servers_answered(&s, 0, (uint64_t)4 * DNS_SERVERS_UNKNOWN_MS, 0);
  assert_int_equal(dns_servers_best(&s, 0), 1);
  dns_servers_answered(&s, 1, 0, 0);
  dns_servers_answered(&s, 0, 1, 0);
  assert_int_equal(dns_servers_best(&s, 0), 1); /* an answer within no time is known */
}

static void a_silent_server_is_last_until_it_answers(void **state)
{
  (void)state;
  dns_servers_t s = {.count = 2};
  dns_servers_outrun(&s, 0, 200, 1000);
  dns_servers_answered(&s, 1, 1, 1000);
  assert_int_equal(dns_servers_best(&s, 0), 1);
  dns_servers_outrun(&s, 0, 5, 1001); /* that it was not waited for for longer says nothing good */
  assert_int_equal(dns_servers_best(&s, 0), 1);
  dns_servers_answered(&s, 0, 1, 2000); /* one answer is enough */
  assert_int_equal(dns_servers_best(&s, 0), 0);
}

static void a_server_that_fails_is_before_a_silent_one_and_behind_a_good_one(void **state)
{
  (void)state;
  dns_servers_t s = {.count = 3};
  dns_servers_outrun(&s, 0, 200, 0);
  dns_servers_failed(&s, 1, 0);
  dns_servers_answered(&s, 2, DNS_SERVERS_FAILED_MS / 2, 0);
  assert_int_equal(dns_servers_best(&s, 0), 2);
  assert_int_equal(dns_servers_best(&s, 4), 1);
  dns_servers_answered(&s, 1, 1, 0);
  assert_int_equal(dns_servers_best(&s, 0), 1);
}

static void a_server_that_did_worse_is_probed_now_and_then(void **state)
{
  (void)state;
  dns_servers_t s = {.count = 2};
  assert_int_equal(dns_servers_probe(&s, 0, 0), 2); /* nothing is wrong */
  dns_servers_outrun(&s, 0, 200, 1000);
  assert_int_equal(dns_servers_probe(&s, 1, 1000 + DNS_SERVERS_PROBE_MS - 1), 2);
  assert_int_equal(dns_servers_probe(&s, 1, 1000 + DNS_SERVERS_PROBE_MS), 0);
  assert_int_equal(dns_servers_probe(&s, 1, 1000 + DNS_SERVERS_PROBE_MS), 2); /* once */
  assert_int_equal(dns_servers_probe(&s, 1, 1000 + 2 * DNS_SERVERS_PROBE_MS), 0);
  dns_servers_failed(&s, 1, 20000);
  assert_int_equal(dns_servers_probe(&s, 1, 90000), 0); /* the silent one is still the worse */
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(servers_that_nothing_is_known_of_are_taken_in_order),
      cmocka_unit_test(servers_that_differ_by_little_are_taken_in_order),
      cmocka_unit_test(a_quick_server_is_not_left_for_one_that_nothing_is_known_of),
      cmocka_unit_test(a_silent_server_is_last_until_it_answers),
      cmocka_unit_test(a_server_that_fails_is_before_a_silent_one_and_behind_a_good_one),
      cmocka_unit_test(a_server_that_did_worse_is_probed_now_and_then),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
