/* SPDX-License-Identifier: Apache-2.0 */
/* bastion/session/targets.h: which names one that was mistyped may stand for. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "bastion/session/targets.h"

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

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_name_without_some_of_its_labels_is_short_for_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
