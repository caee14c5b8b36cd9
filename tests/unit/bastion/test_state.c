/* SPDX-License-Identifier: Apache-2.0 */
/* Which message a worker may send when: said once more in other words than the table, and compared
 * everywhere. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "bastion/policy/config.h"
#include "bastion/contract/state.h"

static verdict_t expected(state_t s, msg_type_t type)
{
  bool ending = s == STATE_ENDING;
  switch (type) {
  case MSG_BYE: /* the end may come at any time, once */
    return ending ? VERDICT_IGNORE : VERDICT_ALLOW;
  case MSG_CRASHED: /* so may a crash */
    return VERDICT_ALLOW;
  case MSG_HELLO: /* once, first */
    return s == STATE_SPAWNED ? VERDICT_ALLOW : ending ? VERDICT_IGNORE : VERDICT_VIOLATION;
  case MSG_SIGN: /* once before the login, again for rekeys after it */
    return s == STATE_KEX || s == STATE_OPEN ? VERDICT_ALLOW : ending ? VERDICT_REFUSE : VERDICT_VIOLATION;
  case MSG_VERIFY:
  case MSG_PROBE: /* only a session with an id and without a user */
    return s == STATE_LOGIN ? VERDICT_ALLOW : s > STATE_LOGIN ? VERDICT_REFUSE : VERDICT_VIOLATION;
  case MSG_LOGIN:
    return s == STATE_LOGIN ? VERDICT_ALLOW : ending ? VERDICT_IGNORE : VERDICT_VIOLATION;
  case MSG_OPEN: /* nothing opens before the start is on record */
  case MSG_CONTROL:
    return s == STATE_OPEN ? VERDICT_ALLOW : ending ? VERDICT_IGNORE : VERDICT_VIOLATION;
  case MSG_TRAFFIC:
  case MSG_CHANNEL_END: /* the last counts come in during the end */
    return s == STATE_OPEN || ending ? VERDICT_ALLOW : VERDICT_VIOLATION;
  case MSG_NOTE:
    return s == STATE_SPAWNED ? VERDICT_VIOLATION : VERDICT_ALLOW;
  default:
    return VERDICT_VIOLATION;
  }
}

static void the_table_says_what_the_words_say(void **state)
{
  (void)state;
  for (unsigned type = 0; type <= 300; type++)
    for (unsigned s = 0; s < STATE_COUNT; s++)
      if (state_verdict((state_t)s, (msg_type_t)type) != expected((state_t)s, (msg_type_t)type))
        fail_msg("message %u in state %s", type, state_name((state_t)s));
  assert_int_equal(state_verdict(STATE_COUNT, MSG_BYE), VERDICT_VIOLATION);
}

static void connections_strike_as_the_startups_say(void **state)
{
  (void)state;
  startups_t s = {10, 30, 100};
  assert_false(startups_strike(&s, 9, 0));
  assert_true(startups_strike(&s, 10, 29));
  assert_false(startups_strike(&s, 10, 30));
  assert_true(startups_strike(&s, 55, 64)); /* half way: 65 % */
  assert_false(startups_strike(&s, 55, 65));
  assert_true(startups_strike(&s, 100, 99));
  assert_true(startups_strike(&s, 100000, 99));
  startups_t all = {1, 100, 1};
  assert_false(startups_strike(&all, 0, 0));
  assert_true(startups_strike(&all, 1, 99));
  unsigned before = 0;
  for (size_t n = 0; n <= 120; n++) { /* never less likely with more waiting */
    unsigned dropped = 0;
    for (unsigned r = 0; r < 100; r++)
      dropped += startups_strike(&s, n, r);
    assert_true(dropped >= before);
    before = dropped;
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_table_says_what_the_words_say),
      cmocka_unit_test(connections_strike_as_the_startups_say),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
