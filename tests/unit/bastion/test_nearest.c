/* How far two names are from one another, as the nearest one is chosen. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "bastion/broker_state.h"

static void edits_are_counted(void **state)
{
  (void)state;
  static const struct {
    const char *a, *b;
    unsigned distance;
  } pairs[] = {{"", "", 0},
               {"a", "", 1},
               {"", "abc", 3},
               {"config", "config", 0},
               {"config", "confg", 1},
               {"config", "conffig", 1},
               {"config", "conxig", 1},
               {"config", "cofnig", 1},
               {"config", "ocfnig", 2},
               {"config", "flags", 6},
               {"ab", "ba", 1},
               {"abcd", "badc", 2}};
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    assert_int_equal(targets_distance(pairs[i].a, pairs[i].b), pairs[i].distance);
    assert_int_equal(targets_distance(pairs[i].b, pairs[i].a), pairs[i].distance);
  }
}

static void the_longest_names_fit(void **state)
{
  (void)state;
  char a[GRANT_NAME_MAX], b[GRANT_NAME_MAX];
  memset(a, 'a', sizeof a - 1);
  memset(b, 'b', sizeof b - 1);
  a[sizeof a - 1] = b[sizeof b - 1] = '\0';
  assert_int_equal(targets_distance(a, b), GRANT_NAME_MAX - 1);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(edits_are_counted),
      cmocka_unit_test(the_longest_names_fit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
