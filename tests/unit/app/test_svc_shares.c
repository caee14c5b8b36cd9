/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "app/store/sqlite/shares.h"
#include "common/base/clock.h"

#define HEAVY "d290f1ee-6c54-4b01-90e6-d701748f0851"
#define OTHER "11111111-2222-4333-8444-555555555555"

/* The tests' time: stands in for common/base/clock.c. */
static uint64_t now_us = 1000;

uint64_t clock_mono_us(void)
{
  return now_us;
}

static shares_t *shares;

static int set_up(void **state)
{
  (void)state;
  shares = shares_new();
  return shares == NULL;
}

static int tear_down(void **state)
{
  (void)state;
  shares_free(shares);
  return 0;
}

static void long_reads_of_one_account_use_up_its_own_share_only(void **state)
{
  (void)state;
  assert_false(shares_used_up(shares, HEAVY));
  shares_count(shares, HEAVY, SHARES_FREE_US);
  assert_false(shares_used_up(shares, HEAVY));
  shares_count(shares, HEAVY, SHARES_CHEAP_US + 1);
  assert_true(shares_used_up(shares, HEAVY));
  assert_false(shares_used_up(shares, OTHER));
}

static void used_time_is_paid_back_at_its_part(void **state)
{
  (void)state;
  shares_count(shares, HEAVY, SHARES_FREE_US + 1000);
  now_us += 1000 * SHARES_PART - 1;
  assert_true(shares_used_up(shares, HEAVY));
  now_us += SHARES_PART;
  assert_false(shares_used_up(shares, HEAVY));
  for (int i = 0; i < 100; i++) { /* as much as is paid back meanwhile */
    now_us += 1000;
    shares_count(shares, OTHER, 1000 / SHARES_PART);
    assert_false(shares_used_up(shares, OTHER));
  }
}

static void cheap_reads_are_never_counted(void **state)
{
  int count = 10 * SHARES_FREE_US / SHARES_CHEAP_US;
  (void)state;
  for (int i = 0; i < count; i++)
    shares_count(shares, HEAVY, SHARES_CHEAP_US);
  assert_false(shares_used_up(shares, HEAVY));
  for (int i = 0; i < count; i++)
    shares_count(shares, HEAVY, SHARES_CHEAP_US + 1);
  assert_true(shares_used_up(shares, HEAVY));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(long_reads_of_one_account_use_up_its_own_share_only, set_up, tear_down),
      cmocka_unit_test_setup_teardown(used_time_is_paid_back_at_its_part, set_up, tear_down),
      cmocka_unit_test_setup_teardown(cheap_reads_are_never_counted, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
