/* SPDX-License-Identifier: Apache-2.0 */
/* Who is found to take most: compared with a count made anew each time, over many random changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/net/crowd.h"
#include "common/base/error.h"

enum { MEMBERS = 300, STEPS = 20000 };

typedef struct being {
  crowd_member_t member; /* first */
  ip_t ip;
  uint64_t entered;
} being_t;

static being_t beings[MEMBERS];
static crowd_t *crowd;

static int set_up(void **state)
{
  (void)state;
  memset(beings, 0, sizeof beings);
  crowd = crowd_new();
  return crowd != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
  (void)state;
  for (size_t i = 0; i < MEMBERS; i++)
    crowd_leave(crowd, &beings[i].member);
  assert_int_equal(crowd_total(crowd), 0);
  assert_null(crowd_heaviest(crowd));
  crowd_free(crowd);
  return 0;
}

static ip_t at(const char *text)
{
  ip_t ip;
  assert_int_equal(ip_parse(text, &ip), SMPL_OK);
  return ip;
}

static void enter(size_t i, const char *text, uint64_t weight)
{
  beings[i].ip = at(text);
  assert_int_equal(crowd_add(crowd, &beings[i].member, &beings[i].ip, weight), SMPL_OK);
}

static size_t heaviest(void)
{
  return (size_t)((being_t *)crowd_heaviest(crowd) - beings);
}

static void the_first_of_the_heaviest_address_is_found(void **state)
{
  (void)state;
  enter(0, "192.0.2.1", 1);
  enter(1, "192.0.2.2", 1);
  enter(2, "192.0.2.2", 1);
  assert_int_equal(heaviest(), 1);
  crowd_leave(crowd, &beings[1].member);
  enter(3, "192.0.2.1", 1);
  assert_int_equal(heaviest(), 0);
  assert_true(crowd_newest(&beings[0].member) == &beings[3].member);
  assert_int_equal(crowd_of_network(&beings[3].member), 3);
  assert_int_equal(crowd_of_source(crowd, &beings[3].ip), 2);
}

static void a_member_that_is_renewed_is_the_last_at_its_address(void **state)
{
  (void)state;
  for (size_t i = 0; i < 3; i++)
    enter(i, "192.0.2.1", 1);
  crowd_renew(&beings[0].member);
  assert_int_equal(heaviest(), 1);
  crowd_renew(&beings[2].member);
  crowd_renew(&beings[2].member);
  assert_int_equal(heaviest(), 1);
  crowd_leave(crowd, &beings[1].member);
  assert_int_equal(heaviest(), 0);
  assert_ptr_equal(beings[0].member.newer, &beings[2].member);
  assert_null(beings[2].member.newer);
}

static void what_has_no_networks_is_counted_each_for_itself(void **state)
{
  (void)state;
  crowd_free(crowd);
  crowd = crowd_new_flat();
  enter(0, "2001:db8::1", 2);
  enter(1, "2001:db8::2", 3);
  enter(2, "2001:db8:0:1::1", 4);
  assert_int_equal(heaviest(), 2);
  assert_int_equal(crowd_of_source(crowd, &beings[0].ip), 2);
  assert_int_equal(crowd_of_network(&beings[1].member), 3);
  assert_true(crowd_compare(&beings[1].member, &beings[0].member) > 0);
}

static void who_spreads_over_his_networks_is_found_in_the_widest(void **state)
{
  (void)state;
  char text[64];
  enter(0, "2001:db8:1::1", 4);
  for (size_t i = 1; i <= 5; i++) { /* one /48, a /64 for each */
    snprintf(text, sizeof text, "2001:db8:2:%zx::1", i);
    enter(i, text, 1);
  }
  assert_in_range(heaviest(), 1, 5);
  enter(6, "2001:db8:2:100::1", 2); /* one /56 of it weighs 5, this one 2 */
  assert_in_range(heaviest(), 1, 5);
  crowd_leave(crowd, &beings[1].member);
  crowd_leave(crowd, &beings[2].member);
  crowd_leave(crowd, &beings[3].member);
  assert_int_equal(crowd_compare(&beings[6].member, &beings[0].member), 0);
  enter(7, "2001:db8:2:100::2", 1); /* now the second /56 does, and in its /64 the first address */
  assert_int_equal(heaviest(), 6);
  assert_int_equal(crowd_of_source(crowd, &beings[7].ip), 3);
  assert_true(crowd_compare(&beings[7].member, &beings[0].member) > 0);
  assert_true(crowd_compare(&beings[7].member, &beings[6].member) < 0);
  assert_true(crowd_compare(&beings[7].member, &beings[4].member) > 0);
  assert_true(crowd_heaviest_of_source(crowd, &beings[7].ip) == &beings[6].member);
}

/* The 128-bit prefix of a level, or 0 beyond the last. */
static unsigned level(const ip_t *ip, size_t i)
{
  static const unsigned v4[] = {120, 128, 0}, v6[] = {48, 56, 64, 128, 0};
  return ip_is_v4(ip) ? v4[i] : v6[i];
}

static bool same(const ip_t *a, const ip_t *b, unsigned prefix)
{
  return ip_is_v4(a) == ip_is_v4(b) && memcmp(a->b, b->b, prefix / 8) == 0;
}

static uint64_t sum(const ip_t *ip, unsigned prefix)
{
  uint64_t all = 0;
  for (size_t i = 0; i < MEMBERS; i++)
    if (beings[i].member.at != NULL && same(&beings[i].ip, ip, prefix))
      all += beings[i].member.weight;
  return all;
}

/* Nobody beside the path that was found weighs more than what is on it, and nobody at its end has been
 * there for longer. */
static void assert_heaviest(const being_t *found)
{
  for (size_t i = 0; i < MEMBERS; i++) {
    const being_t *b = &beings[i];
    if (b->member.at == NULL)
      continue;
    size_t l = 0;
    while (level(&found->ip, l) != 0 && level(&b->ip, l) != 0 &&
           same(&b->ip, &found->ip, level(&found->ip, l)))
      l++;
    if (level(&found->ip, l) == 0)
      assert_true(b->entered >= found->entered);
    else
      assert_true(sum(&found->ip, level(&found->ip, l)) >= sum(&b->ip, level(&b->ip, l)));
  }
}

static uint64_t next_random(uint64_t *seed)
{
  *seed = *seed * 6364136223846793005u + 1442695040888963407u;
  return *seed >> 33;
}

static void change_one(uint64_t *seed, uint64_t step)
{
  static const char *const v4[] = {"192.0.2.1", "192.0.2.2", "192.0.3.1", "198.51.100.7"};
  being_t *b = &beings[next_random(seed) % MEMBERS];
  uint64_t what = next_random(seed) % 8;
  if (b->member.at == NULL) {
    char text[64];
    uint64_t r = next_random(seed);
    snprintf(text, sizeof text, "2001:db8:%x:%x%02x::%x", (unsigned)(r % 3), (unsigned)(r / 3 % 2),
             (unsigned)(r / 6 % 3), (unsigned)(r / 18 % 3 + 1));
    b->ip = at(what < 2 ? v4[r % 4] : text);
    b->entered = step;
  } else if (what == 0) {
    crowd_leave(crowd, &b->member);
    return;
  } else if (what < 3) {
    crowd_less(crowd, &b->member, next_random(seed) % (b->member.weight + 1));
    return;
  }
  assert_int_equal(crowd_add(crowd, &b->member, &b->ip, next_random(seed) % 50), SMPL_OK);
}

static void after_any_change_the_heaviest_is_found(void **state)
{
  uint64_t seed = 1;
  (void)state;
  for (uint64_t step = 1; step <= STEPS; step++) {
    change_one(&seed, step);
    if (step % 20 != 0)
      continue;
    const being_t *found = (being_t *)crowd_heaviest(crowd);
    assert_non_null(found);
    assert_heaviest(found);
    assert_int_equal(crowd_of_source(crowd, &found->ip), sum(&found->ip, ip_is_v4(&found->ip) ? 128 : 64));
  }
}

/* Networks that all have one or two members: those that have been there for longest are found first, however
 * the others came and went meanwhile. */
static void of_equals_the_one_that_has_been_there_longest_is_found(void **state)
{
  (void)state;
  char text[64];
  for (size_t i = 0; i < 200; i++) {
    snprintf(text, sizeof text, i % 2 == 0 ? "10.0.%zu.1" : "2001:db8:%zx::1", i);
    enter(i, text, 1);
  }
  for (size_t i = 0; i < 200; i += 3)
    crowd_leave(crowd, &beings[i].member);
  for (size_t i = 0; i < 200; i += 6) {
    snprintf(text, sizeof text, "10.1.%zu.1", i);
    enter(i, text, 1);
  }
  for (size_t round = 0; round < 2; round++)
    for (size_t i = 0; i < 200; i++) {
      if (beings[i].member.at == NULL || (round == 0) == (i % 3 == 0))
        continue; /* those that came again are found last */
      assert_int_equal(heaviest(), i);
      crowd_leave(crowd, &beings[i].member);
    }
  assert_null(crowd_heaviest(crowd));
}

static void many_addresses_take_more_buckets_and_give_all_back(void **state)
{
  enum { MANY = 5000 };
  static crowd_member_t many[MANY];
  (void)state;
  for (unsigned i = 0; i < MANY; i++) {
    ip_t ip = at("10.0.0.0");
    ip.b[13] = (uint8_t)(i >> 12);
    ip.b[14] = (uint8_t)(i >> 4);
    ip.b[15] = (uint8_t)(i & 15);
    assert_int_equal(crowd_add(crowd, &many[i], &ip, i == MANY / 2 ? 2 : 1), SMPL_OK);
  }
  assert_true(crowd_heaviest(crowd) == &many[MANY / 2]);
  for (size_t i = 0; i < MANY; i++)
    crowd_leave(crowd, &many[i]);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(the_first_of_the_heaviest_address_is_found, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_member_that_is_renewed_is_the_last_at_its_address, set_up, tear_down),
      cmocka_unit_test_setup_teardown(what_has_no_networks_is_counted_each_for_itself, set_up, tear_down),
      cmocka_unit_test_setup_teardown(who_spreads_over_his_networks_is_found_in_the_widest, set_up,
                                      tear_down),
      cmocka_unit_test_setup_teardown(of_equals_the_one_that_has_been_there_longest_is_found, set_up,
                                      tear_down),
      cmocka_unit_test_setup_teardown(after_any_change_the_heaviest_is_found, set_up, tear_down),
      cmocka_unit_test_setup_teardown(many_addresses_take_more_buckets_and_give_all_back, set_up, tear_down),
  };
  return cmocka_run_group_tests_name("crowd", tests, NULL, NULL);
}
