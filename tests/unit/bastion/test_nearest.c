/* SPDX-License-Identifier: Apache-2.0 */
/* bastion/session/targets.h: how far two names are from one another, as the nearest one is chosen. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "bastion/session/targets.h"

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

static void a_name_without_some_of_its_labels_is_short_for_it(void **state)
{
  (void)state;
  static const struct {
    const char *asked, *name;
    bool is;
  } cases[] = {{"config.smplkit.local", "config.internal.smplkit.local", true},
               {"config.smplkit.local", "config.a.b.smplkit.local", true},
               {"config.internal.smplkit.local", "config.internal.smplkit.local", false},
               {"conf.smplkit.local", "config.internal.smplkit.local", false},
               {"internal.smplkit.local", "config.internal.smplkit.local", false},
               {"config.smplkit.local", "config.internal.other.local", false},
               {"smplkit.local", "config.internal.smplkit.local", false},
               {"config.example.com", "config.internal.smplkit.local", false},
               {"", "config.internal.smplkit.local", false}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_int_equal(targets_is_short_for(cases[i].asked, "smplkit.local", cases[i].name), cases[i].is);
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
      cmocka_unit_test(a_name_without_some_of_its_labels_is_short_for_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
