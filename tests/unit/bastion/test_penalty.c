/* SPDX-License-Identifier: Apache-2.0 */
/* Penalties of sources. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "bastion/policy/penalty.h"

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

static const penalty_silent_t silent = {PENALTY_SILENT_RATE, PENALTY_SILENT_BURST};

static penalty_cause_t judge(penalty_t *p, const ip_t *address, bool known, uint64_t now)
{
  ip_net_t network;
  return penalty_judge(p, address, known, &silent, now, &network);
}

/* A balancer that looks twice a second whether we live, for an hour; and one that looks as often as the rate
 * says. */
static void health_checks_never_come_together(void **state)
{
  (void)state;
  penalty_t *p = penalty_new();
  ip_t a = address("192.0.2.1"), often = address("198.51.100.1");
  for (uint64_t now = 0; now < 3600000; now += 200) {
    penalty_add_silent(p, &often, &silent, now);
    if (now % 1000 < 400)
      penalty_add_silent(p, &a, &silent, now);
    assert_int_equal(judge(p, &a, false, now), PENALTY_NONE);
    assert_int_equal(judge(p, &often, false, now), PENALTY_NONE);
  }
  penalty_free(p);
}

/* One every 10 ms for a minute: how many are let in. */
static void silent_connections_have_a_limit_of_their_own(void **state)
{
  (void)state;
  penalty_t *p = penalty_new();
  ip_t a = address("192.0.2.1");
  unsigned let_in = 0;
  for (unsigned i = 0; i < PENALTY_SILENT_BURST; i++) { /* at once */
    assert_int_equal(judge(p, &a, false, 0), PENALTY_NONE);
    penalty_add_silent(p, &a, &silent, 0);
  }
  for (uint64_t now = 0; now < 60000; now += 10) {
    if (judge(p, &a, false, now) != PENALTY_NONE)
      continue;
    penalty_add_silent(p, &a, &silent, now);
    let_in++;
  }
  assert_in_range(let_in, 60 * PENALTY_SILENT_RATE - 1, 60 * PENALTY_SILENT_RATE);
  assert_int_equal(judge(p, &a, false, 60000 - 10), PENALTY_SILENT);
  assert_int_equal(penalty_left(p, &a, 60000), 0); /* no failed login */
  assert_int_equal(penalty_count(p), 0);
  assert_int_equal(judge(p, &a, false, 60200), PENALTY_NONE); /* there is room for one again */
  penalty_free(p);
}

/* Failed logins are refused as ever beside them, and neither adds to the other. */
static void silence_and_failed_logins_do_not_add_up(void **state)
{
  (void)state;
  penalty_t *p = penalty_new();
  ip_t a = address("192.0.2.1");
  for (unsigned i = 0; i < PENALTY_SILENT_BURST - 1; i++)
    penalty_add_silent(p, &a, &silent, 0);
  penalty_add(p, &a, PENALTY_AUTH_MS, 0);
  penalty_add(p, &a, PENALTY_AUTH_MS, 0);
  assert_int_equal(judge(p, &a, false, 0), PENALTY_NONE);
  penalty_add(p, &a, PENALTY_AUTH_MS, 0);
  assert_int_equal(judge(p, &a, false, 0), PENALTY_FAILED);
  penalty_free(p);
}

/* Addresses of one customer's network, a deed each: how many until all of the network is refused. */
static unsigned until_refused(const char *base, unsigned byte, uint64_t ms)
{
  penalty_t *p = penalty_new();
  unsigned n = 0;
  for (; n < 200; n++) {
    ip_t ip = address(base);
    ip.b[byte] = (uint8_t)n;
    if (judge(p, &ip, false, 0) != PENALTY_NONE)
      break;
    penalty_add(p, &ip, ms, 0);
  }
  ip_t last = address(base);
  last.b[byte] = 255;
  assert_int_equal(judge(p, &last, false, 0), PENALTY_FAILED);
  assert_int_equal(judge(p, &last, true, 0),
                   PENALTY_NONE); /* somebody signed in from there: it answers for itself alone */
  last.b[ip_is_v4(&last) ? 12 : 0]++;
  assert_int_equal(judge(p, &last, false, 0), PENALTY_NONE);
  penalty_free(p);
  return n;
}

static void who_has_many_addresses_is_refused_with_all_of_them(void **state)
{
  (void)state;
  assert_int_equal(until_refused("198.51.100.0", 15, PENALTY_AUTH_MS), 3 * PENALTY_WIDE_SHARE); /* a /24 */
  assert_int_equal(until_refused("2001:db8:1:100::", 7, PENALTY_AUTH_MS),
                   3 * PENALTY_NARROW_SHARE);                                                  /* a /56 */
  assert_int_equal(until_refused("2001:db8:1::", 6, PENALTY_AUTH_MS), 3 * PENALTY_WIDE_SHARE); /* a /48 */
  assert_int_equal(until_refused("2001:db8:1::", 6, PENALTY_CRASH_MS), 3);
  assert_int_equal(until_refused("198.51.100.0", 15, PENALTY_CRASH_MS), 3);
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
  assert_int_equal(judge(p, &other, false, 0), PENALTY_NONE);
  assert_int_equal(penalty_left(p, &same, 0), PENALTY_CRASH_MS);
  assert_int_equal(penalty_left(p, &other, 0), 0);
  penalty_free(p);
}

static void a_user_answers_for_crashes_himself(void **state)
{
  (void)state;
  penalty_t *p = penalty_new();
  penalty_add_user(p, "mallory", PENALTY_USER_CRASH_MS, 0);
  assert_int_equal(penalty_left_user(p, "mallory", 0), 0); /* one may happen to anybody */
  penalty_add_user(p, "mallory", PENALTY_USER_CRASH_MS, 0);
  assert_int_equal(penalty_left_user(p, "mallory", 0), 2 * PENALTY_USER_CRASH_MS);
  assert_int_equal(penalty_left_user(p, "dev", 0), 0);
  assert_int_equal(penalty_left_user(p, "mallory", 2 * PENALTY_USER_CRASH_MS), 0);
  assert_int_equal(penalty_count(p), 0);
  penalty_free(p);
}

static void the_table_forgets_what_is_over_soonest(void **state)
{
  (void)state;
  enum { MANY = PENALTY_ENTRIES_MAX / 2 + 1000 };
  penalty_t *p = penalty_new();
  ip_t first = address("192.0.2.1"), second = address("192.0.2.2");
  penalty_add(p, &first, PENALTY_CRASH_MS, 0);
  penalty_add(p, &second, PENALTY_MAX_MS, 0);
  for (unsigned i = 0; i < MANY; i++) { /* each of a network of its own: a source and a network */
    ip_t ip = address("10.0.0.1");
    ip.b[13] = (uint8_t)(i >> 8);
    ip.b[14] = (uint8_t)i;
    penalty_add(p, &ip, PENALTY_MAX_MS, 0);
    if (i == MANY / 2)
      assert_true(penalty_left(p, &first, 0) > 0);
  }
  for (unsigned i = 0; i < 20000; i++) { /* shorter ones come and go, and push out one another */
    ip_t ip = address("10.200.0.1");
    ip.b[13] = (uint8_t)(i >> 8);
    ip.b[14] = (uint8_t)i;
    penalty_add(p, &ip, PENALTY_AUTH_MS, 0);
  }
  assert_true(penalty_left(p, &first, 0) > 0 && penalty_left(p, &second, 0) > 0);
  assert_in_range(penalty_count(p), PENALTY_ENTRIES_MAX / 4, PENALTY_ENTRIES_MAX);
  penalty_free(p);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(small_deeds_are_refused_only_once_they_come_together),
      cmocka_unit_test(health_checks_never_come_together),
      cmocka_unit_test(silent_connections_have_a_limit_of_their_own),
      cmocka_unit_test(silence_and_failed_logins_do_not_add_up),
      cmocka_unit_test(who_has_many_addresses_is_refused_with_all_of_them),
      cmocka_unit_test(a_user_answers_for_crashes_himself),
      cmocka_unit_test(a_penalty_ends_at_its_limit),
      cmocka_unit_test(a_network_of_ipv6_is_one_source),
      cmocka_unit_test(the_table_forgets_what_is_over_soonest),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
