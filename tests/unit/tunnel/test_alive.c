/* SPDX-License-Identifier: Apache-2.0 */
/* When a silence is asked about, when it is the end, and how long the next try waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tunnel/session/alive.h"
#include "tunnel/session/backoff.h"

static void test_bytes_are_life(void **state)
{
  (void)state;
  alive_t a;
  alive_start(&a, 0, 0, 1000);
  for (uint64_t i = 1; i < 100; i++)
    assert_int_equal(alive_judge(&a, i, 1000 + i * (ALIVE_ASK_MS - 1)), ALIVE_FINE);
}

static void test_a_silence_is_asked_about_once_and_ends_in_time(void **state)
{
  (void)state;
  alive_t a;
  alive_start(&a, 0, 0, 0);
  assert_int_equal(alive_judge(&a, 7, 0), ALIVE_FINE);
  assert_int_equal(alive_wait(&a, 0), ALIVE_ASK_MS);
  assert_int_equal(alive_judge(&a, 7, ALIVE_ASK_MS - 1), ALIVE_FINE);
  assert_int_equal(alive_judge(&a, 7, ALIVE_ASK_MS), ALIVE_ASK);
  assert_int_equal(alive_judge(&a, 7, ALIVE_ASK_MS + 1), ALIVE_FINE);
  assert_int_equal(alive_judge(&a, 7, ALIVE_DEAD_MS - 1), ALIVE_FINE);
  assert_int_equal(alive_judge(&a, 7, ALIVE_DEAD_MS), ALIVE_DEAD);
}

static void test_an_answer_starts_the_count_anew(void **state)
{
  (void)state;
  alive_t a;
  alive_start(&a, 0, 0, 0);
  assert_int_equal(alive_judge(&a, 0, ALIVE_ASK_MS), ALIVE_ASK);
  assert_int_equal(alive_judge(&a, 1, ALIVE_DEAD_MS - 1), ALIVE_FINE);
  assert_int_equal(alive_judge(&a, 1, ALIVE_DEAD_MS + 1), ALIVE_FINE);
  assert_int_equal(alive_judge(&a, 1, ALIVE_DEAD_MS - 1 + ALIVE_ASK_MS), ALIVE_ASK);
}

static void test_who_asks_late_still_gives_time_to_answer(void **state)
{
  (void)state;
  alive_t a;
  alive_start(&a, 0, 0, 0);
  assert_int_equal(alive_judge(&a, 0, 60000), ALIVE_ASK);
  assert_int_equal(alive_judge(&a, 0, 60001), ALIVE_FINE);
  assert_int_equal(alive_judge(&a, 0, 60000 + (ALIVE_DEAD_MS - ALIVE_ASK_MS) / 2), ALIVE_DEAD);
}

static void test_after_sleep_it_asks_at_once_and_waits_briefly(void **state)
{
  (void)state;
  alive_t a;
  alive_start(&a, 0, 0, 0);
  assert_int_equal(alive_judge(&a, 1, 1000), ALIVE_FINE);
  alive_woke(&a);
  assert_int_equal(alive_wait(&a, 1000), 0);
  assert_int_equal(alive_judge(&a, 1, 1000), ALIVE_ASK);
  assert_int_equal(alive_judge(&a, 1, 1000 + ALIVE_WOKE_MS - 1), ALIVE_FINE);
  assert_int_equal(alive_judge(&a, 1, 1000 + ALIVE_WOKE_MS), ALIVE_DEAD);
}

static void test_the_users_own_interval_counts(void **state)
{
  (void)state;
  alive_t a;
  alive_start(&a, 30000, 120000, 0);
  assert_int_equal(alive_judge(&a, 0, 29999), ALIVE_FINE);
  assert_int_equal(alive_judge(&a, 0, 30000), ALIVE_ASK);
  assert_int_equal(alive_judge(&a, 0, 119999), ALIVE_FINE);
  assert_int_equal(alive_judge(&a, 0, 120000), ALIVE_DEAD);
}

static void test_tries_come_soon_then_slower_and_never_in_step(void **state)
{
  (void)state;
  assert_int_equal(backoff_ms(0, 0), 0);
  for (unsigned n = 0; n < 100; n++) {
    uint64_t most = n == 0 ? BACKOFF_FIRST_MS : BACKOFF_BASE_MS;
    for (unsigned i = 1; i < n && most < BACKOFF_MAX_MS; i++)
      most *= 2;
    if (most > BACKOFF_MAX_MS)
      most = BACKOFF_MAX_MS;
    for (uint32_t r = 0; r < 40000; r += 37) {
      assert_true(backoff_ms(n, r) <= most);
      assert_true(n == 0 || backoff_ms(n, r) >= most / 2);
    }
    assert_true(backoff_ms(n, 1) != backoff_ms(n, 100));
  }
  assert_true(backoff_ms(UINT32_MAX, UINT32_MAX) <= BACKOFF_MAX_MS);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_bytes_are_life),
      cmocka_unit_test(test_a_silence_is_asked_about_once_and_ends_in_time),
      cmocka_unit_test(test_an_answer_starts_the_count_anew),
      cmocka_unit_test(test_who_asks_late_still_gives_time_to_answer),
      cmocka_unit_test(test_after_sleep_it_asks_at_once_and_waits_briefly),
      cmocka_unit_test(test_the_users_own_interval_counts),
      cmocka_unit_test(test_tries_come_soon_then_slower_and_never_in_step),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
