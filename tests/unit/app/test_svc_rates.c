/* SPDX-License-Identifier: Apache-2.0 */
/* What one API key may send, by a clock that the test moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "app/services/rates.h"

enum { REQUESTS = 10, BURST = 25, SECOND = 1000000 };

static rates_t *rates;
static uint64_t now = 5 * SECOND;

static int set_up(void **state)
{
  (void)state;
  rates = rates_new(REQUESTS, BURST);
  return rates != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
  (void)state;
  rates_free(rates);
  return 0;
}

static const char *key(unsigned i)
{
  static char text[UUID_TEXT_MAX];
  snprintf(text, sizeof text, "b2c3d4e5-f6a7-4901-bcde-%012x", i);
  return text;
}

static rate_t take(unsigned i, bool within)
{
  rate_t rate;
  assert_int_equal(rates_take(rates, key(i), now, &rate), within);
  assert_int_equal(rate.limit, BURST);
  assert_int_equal(rate.wait_s == 0, within);
  return rate;
}

static void a_key_may_send_its_burst_at_once_and_then_its_rate(void **state)
{
  (void)state;
  for (unsigned left = BURST; left-- > 0;)
    assert_int_equal(take(1, true).left, left);
  rate_t rate = take(1, false);
  assert_int_equal(rate.left, 0);
  assert_int_equal(rate.wait_s, 1);
  assert_int_equal(rate.reset_s, 3); /* 25 at 10 a second */
  now += SECOND / REQUESTS - 1;
  take(1, false);
  now += 1;
  assert_int_equal(take(1, true).left, 0);
  take(1, false);
  now += SECOND;
  for (unsigned left = REQUESTS; left-- > 0;)
    assert_int_equal(take(1, true).left, left);
  take(1, false);
  now += 100 * SECOND; /* no more than the burst, however long it was quiet */
  assert_int_equal(take(1, true).left, BURST - 1);
}

static void what_is_refused_is_not_counted(void **state)
{
  (void)state;
  for (unsigned i = 0; i < BURST; i++)
    take(1, true);
  for (unsigned i = 0; i < 1000; i++)
    take(1, false);
  now += SECOND / REQUESTS;
  take(1, true);
}

static void keys_are_counted_each_for_itself(void **state)
{
  (void)state;
  for (unsigned i = 0; i < BURST; i++)
    take(1, true);
  take(1, false);
  assert_int_equal(take(2, true).left, BURST - 1);
}

static void one_a_second_waits_for_whole_seconds(void **state)
{
  rate_t rate;
  (void)state;
  rates_free(rates);
  rates = rates_new(1, 3);
  for (unsigned i = 0; i < 3; i++)
    assert_true(rates_take(rates, key(1), now, &rate));
  assert_false(rates_take(rates, key(1), now, &rate));
  assert_int_equal(rate.wait_s, 1);
  assert_int_equal(rate.reset_s, 3);
  now += SECOND / 2;
  assert_false(rates_take(rates, key(1), now, &rate));
  assert_int_equal(rate.wait_s, 1);
  assert_int_equal(rate.reset_s, 3); /* 2.5, and never too early */
}

/* Full buckets say nothing and go first. */
static void a_key_beyond_the_places_takes_that_of_one_whose_bucket_is_full(void **state)
{
  (void)state;
  for (unsigned i = 0; i < RATES_KEYS_MAX; i++)
    take(i, true);
  now += SECOND; /* all are full again */
  for (unsigned i = 0; i < BURST; i++)
    take(7, true);
  for (unsigned i = 0; i < RATES_KEYS_MAX - 1; i++)
    take(RATES_KEYS_MAX + i, true);
  take(7, false);
}

/* Whoever has used up his bucket does not get a new one by sending with other keys, however many. */
static void an_empty_bucket_is_kept_while_others_come(void **state)
{
  (void)state;
  for (unsigned i = 0; i < BURST; i++)
    take(1, true);
  for (unsigned i = 2; i < 3 * RATES_KEYS_MAX; i++)
    take(i, true);
  take(1, false);
}

static void a_bucket_that_gave_way_begins_anew(void **state)
{
  (void)state;
  for (unsigned i = 0; i < RATES_KEYS_MAX + 1000; i++)
    assert_int_equal(take(i, true).left, BURST - 1);
  for (unsigned i = 0; i < RATES_KEYS_MAX + 1000; i++) {
    unsigned left = take(i, true).left;
    assert_true(left == BURST - 1 || left == BURST - 2);
  }
}

static rate_t state_of(unsigned i, bool within)
{
  rate_t rate;
  assert_int_equal(rates_take(rates, key(i), now, &rate), within);
  return rate;
}

/* What is missing in a bucket is missing in the new one: nobody gets a full one by a reload. */
static void other_numbers_leave_what_a_key_has_used(void **state)
{
  (void)state;
  for (unsigned i = 0; i < 20; i++)
    take(1, true);
  rates_set(rates, 1, 100, now);
  assert_int_equal(state_of(1, true).left, 79);
  assert_int_equal(state_of(1, true).limit, 100);
  rates_set(rates, 1000, 10, now); /* 22 are missing, and 10 is all there is */
  assert_int_equal(state_of(1, false).left, 0);
  now += 1000;
  assert_int_equal(state_of(1, true).left, 0);
  assert_int_equal(state_of(2, true).left, 9);
}

static void no_limit_can_become_one_and_the_other_way_round(void **state)
{
  (void)state;
  assert_true(rates_limit(rates));
  for (unsigned i = 0; i < BURST; i++)
    take(1, true);
  rates_set(rates, 0, 1, now);
  assert_false(rates_limit(rates));
  rates_set(rates, REQUESTS, BURST, now);
  assert_true(rates_limit(rates));
  take(1, true); /* nothing was counted meanwhile */
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(a_key_may_send_its_burst_at_once_and_then_its_rate),
      TEST(what_is_refused_is_not_counted),
      TEST(keys_are_counted_each_for_itself),
      TEST(one_a_second_waits_for_whole_seconds),
      TEST(a_key_beyond_the_places_takes_that_of_one_whose_bucket_is_full),
      TEST(an_empty_bucket_is_kept_while_others_come),
      TEST(a_bucket_that_gave_way_begins_anew),
      TEST(other_numbers_leave_what_a_key_has_used),
      TEST(no_limit_can_become_one_and_the_other_way_round),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
