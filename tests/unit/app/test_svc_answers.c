/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/services/answers.h"

#define ONE "d290f1ee-6c54-4b01-90e6-d701748f0851"
#define TWO "11111111-2222-4333-8444-555555555555"

static answers_t *answers;
static const store_change_t before = {{1, 2, 3}}, after = {{1, 2, 4}};

static int set_up(void **state)
{
  (void)state;
  answers = answers_new();
  return answers == NULL;
}

static int tear_down(void **state)
{
  (void)state;
  answers_free(answers);
  return 0;
}

static answers_key_t key(const char *account, const char *target)
{
  return (answers_key_t){account, target, strlen(target)};
}

static shared_t *body_of(size_t len)
{
  char *bytes = malloc(len + 1);
  assert_non_null(bytes);
  memset(bytes, 'x', len);
  shared_t *body = shared_new(bytes, len);
  assert_non_null(body);
  return body;
}

static void keep(const store_change_t *change, const char *account, const char *target, size_t len)
{
  answers_key_t k = key(account, target);
  shared_t *body = body_of(len);
  answers_keep(answers, change, &k, body);
  shared_drop(body);
}

static bool kept(const store_change_t *change, const char *account, const char *target)
{
  answers_key_t k = key(account, target);
  return answers_find(answers, change, &k) != NULL;
}

static void an_answer_is_given_to_the_same_account_for_the_same_target_only(void **state)
{
  (void)state;
  keep(&before, ONE, "/api/v1/configs/web", 10);
  assert_true(kept(&before, ONE, "/api/v1/configs/web"));
  assert_false(kept(&before, TWO, "/api/v1/configs/web"));
  assert_false(kept(&before, ONE, "/api/v1/configs/we"));
  assert_false(kept(&before, ONE, "/api/v1/configs/webs"));
  assert_false(kept(&before, ONE, "/api/v1/configs/web?"));
  assert_int_equal(answers_counts(answers).used, 1);
}

static void a_commit_ends_all_answers(void **state)
{
  (void)state;
  keep(&before, ONE, "/a", 10);
  keep(&before, ONE, "/b", 10);
  assert_false(kept(&after, ONE, "/a"));
  assert_int_equal(answers_counts(answers).kept, 0);
  assert_false(kept(&before, ONE, "/a")); /* not even if the change came back */
  keep(&before, ONE, "/a", 10);
  keep(&after, TWO, "/a", 10);
  assert_false(kept(&after, ONE, "/a"));
  assert_true(kept(&after, TWO, "/a"));
}

static void a_newer_answer_takes_the_older_ones_place(void **state)
{
  (void)state;
  answers_key_t k = key(ONE, "/a");
  keep(&before, ONE, "/a", 10);
  keep(&before, ONE, "/a", 20);
  assert_int_equal(answers_find(answers, &before, &k)->len, 20);
  assert_int_equal(answers_counts(answers).kept, 1);
  assert_int_equal(answers_counts(answers).bytes, 20);
}

static void the_longest_unused_goes_when_there_are_too_many(void **state)
{
  char target[32];
  (void)state;
  for (int i = 0; i < ANSWERS_MAX; i++) {
    snprintf(target, sizeof target, "/%d", i);
    keep(&before, ONE, target, 1);
  }
  size_t full = answers_counts(answers).kept; /* chains are bounded: a few may have gone already */
  assert_in_range(full, ANSWERS_MAX - 16, ANSWERS_MAX);
  bool first = kept(&before, ONE, "/0"), second = kept(&before, ONE, "/1");
  assert_true(first && second);
  assert_true(kept(&before, ONE, "/0")); /* "/2" is the oldest now */
  for (int i = 0; i < 16 && answers_counts(answers).kept < ANSWERS_MAX; i++) {
    snprintf(target, sizeof target, "/fill%d", i);
    keep(&before, ONE, target, 1);
  }
  assert_int_equal(answers_counts(answers).kept, ANSWERS_MAX);
  assert_true(kept(&before, ONE, "/2"));
  keep(&before, ONE, "/more", 1);
  assert_int_equal(answers_counts(answers).kept, ANSWERS_MAX);
  assert_false(kept(&before, ONE, "/3"));
  assert_true(kept(&before, ONE, "/0") && kept(&before, ONE, "/2") && kept(&before, ONE, "/more"));
}

static void bytes_and_sizes_are_bounded(void **state)
{
  char target[ANSWERS_TARGET_MAX + 2];
  (void)state;
  keep(&before, ONE, "/big", ANSWERS_ONE_MAX + 1);
  assert_int_equal(answers_counts(answers).kept, 0);
  for (int i = 0; i < ANSWERS_BYTES_MAX / ANSWERS_ONE_MAX; i++) {
    snprintf(target, sizeof target, "/%d", i);
    keep(&before, ONE, target, ANSWERS_ONE_MAX);
  }
  assert_int_equal(answers_counts(answers).bytes, ANSWERS_BYTES_MAX);
  assert_true(kept(&before, ONE, "/0")); /* used: "/1" goes for the next */
  keep(&before, ONE, "/small", 1);
  assert_int_equal(answers_counts(answers).bytes, ANSWERS_BYTES_MAX - ANSWERS_ONE_MAX + 1);
  assert_true(kept(&before, ONE, "/0") && kept(&before, ONE, "/small"));
  assert_false(kept(&before, ONE, "/1"));

  memset(target, 'a', sizeof target);
  target[ANSWERS_TARGET_MAX + 1] = '\0';
  keep(&before, ONE, target, 1);
  assert_false(kept(&before, ONE, target));
  target[ANSWERS_TARGET_MAX] = '\0';
  keep(&before, ONE, target, 1);
  assert_true(kept(&before, ONE, target));
}

/* The same hash as answers.c's, to make targets that share a bucket. */
static uint32_t bucket(const char *target)
{
  uint32_t h = 2166136261u;
  for (const char *c = ONE; *c != '\0'; c++)
    h = (h ^ (uint8_t)*c) * 16777619u;
  for (const char *c = target; *c != '\0'; c++)
    h = (h ^ (uint8_t)*c) * 16777619u;
  return h & 4095u;
}

static void a_chain_takes_its_limit_and_not_one_more(void **state)
{
  static char targets[ANSWERS_CHAIN_MAX + 1][16];
  int found = 0;
  (void)state;
  for (int i = 0; found <= ANSWERS_CHAIN_MAX; i++) {
    snprintf(targets[found], sizeof targets[found], "/%d", i);
    found += bucket(targets[found]) == bucket("/0");
  }
  for (int i = 0; i < ANSWERS_CHAIN_MAX; i++)
    keep(&before, ONE, targets[i], 1);
  assert_int_equal(answers_counts(answers).kept, ANSWERS_CHAIN_MAX);
  keep(&before, ONE, targets[ANSWERS_CHAIN_MAX], 1);
  assert_int_equal(answers_counts(answers).kept, ANSWERS_CHAIN_MAX);
  assert_false(kept(&before, ONE, targets[0]));
  for (int i = 1; i <= ANSWERS_CHAIN_MAX; i++)
    assert_true(kept(&before, ONE, targets[i]));
}

static void a_body_outlives_its_place_while_it_is_being_sent(void **state)
{
  (void)state;
  answers_key_t k = key(ONE, "/a");
  keep(&before, ONE, "/a", 10);
  shared_t *body = shared_take(answers_find(answers, &before, &k));
  assert_false(kept(&after, ONE, "/a"));
  assert_int_equal(body->users, 1);
  assert_memory_equal(body->bytes, "xxxxxxxxxx", 10);
  shared_drop(body);
}

/* Whoever asks for ever new things does not drive out what others ask for again. */
static void an_account_with_many_answers_gives_up_its_own(void **state)
{
  char target[32];
  (void)state;
  keep(&before, TWO, "/a", 10);
  for (unsigned i = 0; i < 2 * ANSWERS_MAX; i++) {
    snprintf(target, sizeof target, "/many?n=%u", i);
    keep(&before, ONE, target, 10);
  }
  assert_true(kept(&before, TWO, "/a"));
  assert_true(kept(&before, ONE, target)); /* of its own, the longest unused have gone */
  assert_false(kept(&before, ONE, "/many?n=0"));
}

static void an_account_with_big_answers_gives_up_its_own(void **state)
{
  char target[32];
  (void)state;
  keep(&before, TWO, "/a", 10);
  for (unsigned i = 0; i < 2 * ANSWERS_BYTES_MAX / ANSWERS_ONE_MAX; i++) {
    snprintf(target, sizeof target, "/big?n=%u", i);
    keep(&before, ONE, target, ANSWERS_ONE_MAX);
  }
  assert_true(kept(&before, TWO, "/a"));
  assert_in_range(answers_counts(answers).bytes, 1, ANSWERS_BYTES_MAX);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(an_account_with_many_answers_gives_up_its_own, set_up, tear_down),
      cmocka_unit_test_setup_teardown(an_account_with_big_answers_gives_up_its_own, set_up, tear_down),
      cmocka_unit_test_setup_teardown(an_answer_is_given_to_the_same_account_for_the_same_target_only, set_up,
                                      tear_down),
      cmocka_unit_test_setup_teardown(a_commit_ends_all_answers, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_newer_answer_takes_the_older_ones_place, set_up, tear_down),
      cmocka_unit_test_setup_teardown(the_longest_unused_goes_when_there_are_too_many, set_up, tear_down),
      cmocka_unit_test_setup_teardown(bytes_and_sizes_are_bounded, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_chain_takes_its_limit_and_not_one_more, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_body_outlives_its_place_while_it_is_being_sent, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
