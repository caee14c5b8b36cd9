/* SPDX-License-Identifier: Apache-2.0 */
/* Who of the users takes too much, and gives way: counted, on a clock of the test's own. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "bastion/session/usage.h"

enum { RESERVE = 16000 };

static unsigned taken_of(usage_t *u, const char *user, unsigned tries, unsigned burst, uint64_t now)
{
  unsigned n = 0;
  for (unsigned i = 0; i < tries; i++)
    n += usage_take(u, user, 100, burst, now);
  return n;
}

static unsigned taken(usage_t *u, const char *user, unsigned tries, uint64_t now)
{
  return taken_of(u, user, tries, 1000, now);
}

static void a_greedy_user_gets_his_rate_and_nobody_else_notices(void **state)
{
  (void)state;
  usage_t *u = usage_new();
  assert_int_equal(taken(u, "eve", 5000, 1000), 1000);
  assert_int_equal(taken(u, "ann", 900, 1000), 900);
  uint64_t eve = 0, ann = 0;
  for (uint64_t now = 1010; now <= 11000; now += 10) {
    eve += taken(u, "eve", 100, now);
    ann += taken(u, "ann", 1, now); /* 100 a second: every one of hers */
  }
  assert_int_equal(eve, 1000);
  assert_int_equal(ann, 1000);
  usage_free(u);
}

static void a_browser_and_a_parallel_curl_do_not_meet_the_rate(void **state)
{
  (void)state;
  usage_t *u = usage_new();
  uint64_t now = 1000;
  assert_int_equal(taken(u, "dev", 300, now), 300); /* curl --parallel --parallel-max 300 */
  for (int page = 0; page < 1000; page++, now += 500)
    assert_int_equal(taken(u, "dev", 6, now), 6);
  for (int i = 0; i < 5000; i++) /* no limit at all */
    assert_true(usage_take(u, "other", 0, 1, now));
  usage_free(u);
}

static void whoever_wrote_most_ends_first_and_then_whoever_uses_up_the_reserve(void **state)
{
  (void)state;
  usage_t *u = usage_new();
  usage_wrote(u, "ann", 5000, 1);
  usage_wrote(u, "eve", 90000, 1);
  usage_wrote(u, "bob", 7000, 1);
  assert_null(usage_space(u, RESERVE, RESERVE, 2));
  assert_false(usage_is_low(u));
  assert_string_equal(usage_space(u, RESERVE - 1, RESERVE, 2), "eve");
  assert_true(usage_is_low(u) && usage_is_out(u, "eve") && !usage_is_out(u, "ann") &&
              !usage_is_out(u, "nobody"));
  assert_null(usage_space(u, RESERVE - 1, RESERVE, 2)); /* one a step */
  usage_wrote(u, "eve", 300, 3);
  usage_wrote(u, "ann", 4500, 3); /* of the reserve more than bob, who wrote more before */
  usage_wrote(u, "bob", 3200, 3);
  assert_null(usage_space(u, RESERVE / 2, RESERVE, 3));
  assert_string_equal(usage_space(u, RESERVE / 2 - 1, RESERVE, 3), "ann");
  size_t at = 0;
  assert_string_equal(usage_next_out(u, &at), "ann");
  assert_string_equal(usage_next_out(u, &at), "eve");
  assert_null(usage_next_out(u, &at));
  /* there is room again: not at once with the first byte of it */
  assert_null(usage_space(u, RESERVE + 1, RESERVE, 4));
  assert_true(usage_is_low(u) && usage_is_out(u, "eve"));
  assert_null(usage_space(u, RESERVE + RESERVE / USAGE_RELIEF_DIVISOR, RESERVE, 4));
  assert_false(usage_is_low(u) || usage_is_out(u, "eve") || usage_is_out(u, "ann"));
  at = 0;
  assert_null(usage_next_out(u, &at));
  usage_free(u);
}

static void nobody_ends_for_what_others_put_on_the_disk(void **state)
{
  (void)state;
  usage_t *u = usage_new();
  usage_wrote(u, "ann", RESERVE / USAGE_SHARE_DIVISOR - 1, 1);
  for (uint64_t left = RESERVE; left-- > 0;)
    assert_null(usage_space(u, left, RESERVE, 2));
  assert_true(usage_is_low(u));
  for (uint64_t left = 0; left < 10; left++) /* no reserve, no end */
    assert_null(usage_space(u, left, 0, 2));
  usage_free(u);
}

/* However fast it fills: one user each time half of what was left is used up, and one of those who used it.
 */
static void each_half_of_what_is_left_costs_one_of_those_who_used_it_up(void **state)
{
  (void)state;
  usage_t *u = usage_new();
  char name[USAGE_NAME_MAX];
  unsigned ended = 0;
  for (uint64_t left = RESERVE * 2; left > 0; left -= 10) {
    for (int i = 0; i < 10; i++) {
      snprintf(name, sizeof name, "u%d", i);
      usage_wrote(u, name, i < 5 ? 2 : left % 1000 == 0, 5);
    }
    const char *who = usage_space(u, left, RESERVE, 5);
    if (who == NULL)
      continue;
    ended++;
    assert_true(who[1] < '5'); /* one of those five */
  }
  assert_int_equal(ended, 5); /* all of them, and the others never */
  usage_free(u);
}

/* The reserve may be more than the whole disk, or something else filled it before the start. */
static void a_disk_that_is_low_from_the_start_is_guarded_too(void **state)
{
  (void)state;
  usage_t *u = usage_new();
  assert_null(usage_space(u, 900, RESERVE, 1));
  assert_true(usage_is_low(u));
  usage_wrote(u, "ann", 20, 1);
  usage_wrote(u, "eve", 430, 1);
  assert_string_equal(usage_space(u, 450, RESERVE, 1), "eve");
  usage_wrote(u, "ann", 20, 1);
  assert_null(usage_space(u, 430, RESERVE, 1));
  /* a little room, used up by somebody new */
  assert_null(usage_space(u, 4000, RESERVE, 1));
  usage_wrote(u, "bob", 2000, 1);
  assert_string_equal(usage_space(u, 2000, RESERVE, 1), "bob");
  assert_true(usage_is_out(u, "eve") && !usage_is_out(u, "ann"));
  usage_wrote(u, "carl", 1990, 1);
  assert_string_equal(usage_space(u, 0, RESERVE, 1), "carl");
  for (int i = 0; i < 5; i++) { /* nothing is left to share: nobody ends for that */
    usage_wrote(u, "ann", 100, 1);
    assert_null(usage_space(u, 0, RESERVE, 1));
  }
  usage_free(u);
}

static void what_was_written_hours_ago_counts_for_nothing(void **state)
{
  (void)state;
  usage_t *u = usage_new();
  usage_wrote(u, "eve", 90000, 1);
  usage_wrote(u, "ann", 2000, USAGE_WINDOW_MS * 2);
  assert_string_equal(usage_space(u, 0, RESERVE, USAGE_WINDOW_MS * 2), "ann");
  usage_free(u);
  u = usage_new();
  usage_wrote(u, "eve", 90000, 1);
  usage_wrote(u, "ann", 2000, USAGE_WINDOW_MS);
  assert_string_equal(usage_space(u, 0, RESERVE, USAGE_WINDOW_MS), "eve"); /* an hour ago it does */
  usage_free(u);
}

static void places_are_as_many_as_users_and_those_who_left_leave_theirs(void **state)
{
  (void)state;
  usage_t *u = usage_new();
  char name[USAGE_NAME_MAX];
  for (int round = 0; round < 3; round++) {
    uint64_t now = 1000 + (uint64_t)round * 3 * USAGE_WINDOW_MS;
    for (int i = 0; i < USAGE_USERS_MAX; i++) {
      snprintf(name, sizeof name, "r%d-u%d", round, i);
      assert_int_equal(taken_of(u, name, 11, 10, now), 10);
      usage_wrote(u, name, 10, now);
    }
    assert_int_equal(taken_of(u, "one more", 11, 10, now), 11); /* cannot be counted, is not refused */
    assert_int_equal(taken_of(u, "r0-u0", 1, 10, now), round == 0 ? 0 : 1);
  }
  usage_free(u);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_greedy_user_gets_his_rate_and_nobody_else_notices),
      cmocka_unit_test(a_browser_and_a_parallel_curl_do_not_meet_the_rate),
      cmocka_unit_test(whoever_wrote_most_ends_first_and_then_whoever_uses_up_the_reserve),
      cmocka_unit_test(nobody_ends_for_what_others_put_on_the_disk),
      cmocka_unit_test(each_half_of_what_is_left_costs_one_of_those_who_used_it_up),
      cmocka_unit_test(a_disk_that_is_low_from_the_start_is_guarded_too),
      cmocka_unit_test(what_was_written_hours_ago_counts_for_nothing),
      cmocka_unit_test(places_are_as_many_as_users_and_those_who_left_leave_theirs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
