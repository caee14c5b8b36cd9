/* Penalties of sources. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "bastion/penalty.h"

static ip_t address(const char *text)
{
  ip_t ip;
  assert_int_equal(ip_parse(text, &ip), 0);
  return ip;
}

static void small_deeds_are_refused_only_once_they_come_together(void **state)
{
  (void)state;
  penalty_t *p = penalty_new();
  ip_t a = address("192.0.2.1"), b = address("192.0.2.2");
  penalty_add(p, &a, PENALTY_AUTH_MS, 1000);
  penalty_add(p, &a, PENALTY_AUTH_MS, 1000);
  assert_int_equal(penalty_left(p, &a, 1000), 0);
  penalty_add(p, &a, PENALTY_AUTH_MS, 1000);
  assert_int_equal(penalty_left(p, &a, 1000), 15000); /* PENALTY_MIN_MS */
  assert_int_equal(penalty_left(p, &a, 15999), 1);    /* until all of it is over */
  assert_int_equal(penalty_left(p, &a, 16000), 0);
  assert_int_equal(penalty_left(p, &b, 1000), 0);
  penalty_add(p, &a, PENALTY_AUTH_MS, 16000); /* begins anew */
  assert_int_equal(penalty_left(p, &a, 16000), 0);
  penalty_free(p);
}

static void slow_deeds_never_come_together(void **state)
{
  (void)state;
  penalty_t *p = penalty_new();
  ip_t a = address("192.0.2.1");
  for (uint64_t now = 0; now < 3600000; now += PENALTY_NOAUTH_MS) {
    penalty_add(p, &a, PENALTY_NOAUTH_MS, now);
    assert_int_equal(penalty_left(p, &a, now), 0);
  }
  penalty_free(p);
}

static void a_penalty_ends_at_its_limit(void **state)
{
  (void)state;
  penalty_t *p = penalty_new();
  ip_t a = address("192.0.2.1");
  for (int i = 0; i < 20; i++)
    penalty_add(p, &a, PENALTY_CRASH_MS, 5);
  assert_int_equal(penalty_left(p, &a, 5), PENALTY_MAX_MS);
  penalty_free(p);
}

static void a_network_of_ipv6_is_one_source(void **state)
{
  (void)state;
  penalty_t *p = penalty_new();
  ip_t a = address("2001:db8::1"), same = address("2001:db8::ffff:1"), other = address("2001:db8:0:1::1");
  penalty_add(p, &a, PENALTY_CRASH_MS, 0);
  assert_int_equal(penalty_left(p, &same, 0), PENALTY_CRASH_MS);
  assert_int_equal(penalty_left(p, &other, 0), 0);
  penalty_free(p);
}

static void the_table_forgets_what_is_over_soonest(void **state)
{
  (void)state;
  penalty_t *p = penalty_new();
  ip_t first = address("192.0.2.1"), second = address("192.0.2.2"), ip = address("10.0.0.0");
  penalty_add(p, &first, PENALTY_CRASH_MS - 1, 0);
  penalty_add(p, &second, PENALTY_CRASH_MS * 2, 0);
  for (unsigned i = 0; i + 2 < PENALTY_SOURCES_MAX; i++) {
    ip.b[13] = (uint8_t)(i >> 16);
    ip.b[14] = (uint8_t)(i >> 8);
    ip.b[15] = (uint8_t)i;
    penalty_add(p, &ip, PENALTY_CRASH_MS, 0);
  }
  assert_int_equal(penalty_count(p), PENALTY_SOURCES_MAX);
  assert_true(penalty_left(p, &first, 0) > 0);
  ip.b[13] = 9;
  penalty_add(p, &ip, PENALTY_CRASH_MS, 0);
  assert_int_equal(penalty_count(p), PENALTY_SOURCES_MAX);
  assert_int_equal(penalty_left(p, &first, 0), 0);
  assert_true(penalty_left(p, &second, 0) > 0 && penalty_left(p, &ip, 0) > 0);
  ip.b[13] = 10;
  penalty_add(p, &ip, PENALTY_CRASH_MS, PENALTY_CRASH_MS); /* the table is full, but of what is over */
  assert_true(penalty_left(p, &second, PENALTY_CRASH_MS) > 0 && penalty_left(p, &ip, PENALTY_CRASH_MS) > 0);
  penalty_free(p);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(small_deeds_are_refused_only_once_they_come_together),
      cmocka_unit_test(slow_deeds_never_come_together),
      cmocka_unit_test(a_penalty_ends_at_its_limit),
      cmocka_unit_test(a_network_of_ipv6_is_one_source),
      cmocka_unit_test(the_table_forgets_what_is_over_soonest),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
