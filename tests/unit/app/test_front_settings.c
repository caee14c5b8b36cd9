/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of the configuration file are complete (app/program/settings_file.c). The manual page is made from
 * them: tests/gates/manuals.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "app/program/settings_file.h"
#include "common/conf/reference.h"

static void each_row_is_complete(void **state)
{
  char flaw[256];
  (void)state;
  const char *found = conf_reference_flaw(&settings_file_map, flaw, sizeof flaw);
  if (found != NULL)
    fail_msg("%s", found);
}

static void keys_that_need_a_restart_are_some_and_not_all(void **state)
{
  size_t fixed = 0;
  (void)state;
  for (size_t i = 0; i < settings_file_map.count; i++)
    fixed += settings_file_map.fields[i].fixed;
  assert_true(fixed > 3 && fixed < settings_file_map.count);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_row_is_complete),
      cmocka_unit_test(keys_that_need_a_restart_are_some_and_not_all),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
