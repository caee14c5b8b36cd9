/* SPDX-License-Identifier: Apache-2.0 */
/* Shares among owners who take all they can. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/base/share.h"

enum { OWNERS_MAX = 200 };

/* So many owners take in turn, `step` at a time, until none gets one more. */
static size_t take_all(size_t owners, size_t limit, size_t part, size_t step, size_t *held)
{
  size_t taken = 0;
  for (size_t i = 0; i < owners; i++)
    held[i] = 0;
  for (size_t before = SIZE_MAX; before != taken;) {
    before = taken;
    for (size_t i = 0; i < owners; i++)
      for (size_t k = 0; k < step && share_allows(held[i], taken, limit, part); k++) {
        held[i]++;
        taken++;
      }
  }
  return taken;
}

/* How many owners, each of whom takes at once all that he gets, leave a place for one more. */
static size_t leave_room(size_t limit, size_t part)
{
  size_t held[OWNERS_MAX], owners = 0;
  while (owners < OWNERS_MAX && share_allows(0, take_all(owners, limit, part, limit, held), limit, part))
    owners++;
  return owners - 1;
}

static void the_greedy_leave_room_for_those_who_come_late(void **state)
{
  (void)state;
  size_t held[OWNERS_MAX];
  assert_in_range(leave_room(1024, 1), 9, 11);
  assert_in_range(leave_room(1024, 8), 40, 60);
  assert_in_range(leave_room(8192, 4), 30, 50);
  for (size_t limit = 1; limit <= 64; limit++) /* in turn, one each: as many owners as places */
    for (size_t owners = 0; owners < limit; owners++)
      for (size_t part = 1; part <= 8; part++)
        assert_true(share_allows(0, take_all(owners, limit, part, 1, held), limit, part));
}

static void who_is_alone_gets_much_and_who_holds_nothing_gets_the_last(void **state)
{
  (void)state;
  size_t held[OWNERS_MAX];
  assert_int_equal(take_all(1, 1024, 1, 1024, held), 512);
  assert_int_equal(take_all(1, 1024, 8, 1024, held), 113);
  assert_int_equal(take_all(1, 1, 8, 1, held), 1);
  assert_true(share_allows(0, 1023, 1024, 8));
  assert_false(share_allows(1, 1023, 1024, 1));
  assert_false(share_allows(0, 1024, 1024, 1));
  assert_false(share_allows(0, 2000, 1024, 1));
}

/* Everybody asks all the time, and what is held ends in any order: after a while all hold about as much, also
 * who was first and had most of it. */
static void what_ends_goes_to_those_who_hold_less(void **state)
{
  (void)state;
  enum { LIMIT = 1024, OWNERS = 30, PART = 8 };
  size_t held[OWNERS_MAX] = {0},
         taken = take_all(1, LIMIT, 1, LIMIT, held); /* by another rule: half of all */
  unsigned long long seed = 1;
  for (unsigned i = 0; i < 50000; i++) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    size_t ends = (size_t)(seed >> 33) % taken, at = 0;
    while (ends >= held[at])
      ends -= held[at++];
    held[at]--;
    taken--;
    for (size_t k = 0; k < OWNERS; k++)
      if (share_allows(held[k], taken, LIMIT, PART)) {
        held[k]++;
        taken++;
      }
  }
  for (size_t k = 0; k < OWNERS; k++)
    assert_in_range(held[k], taken / OWNERS / 2, taken / OWNERS * 2);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_greedy_leave_room_for_those_who_come_late),
      cmocka_unit_test(who_is_alone_gets_much_and_who_holds_nothing_gets_the_last),
      cmocka_unit_test(what_ends_goes_to_those_who_hold_less),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
