/* SPDX-License-Identifier: Apache-2.0 */
/* app/http/front_conf.h: how many connections a listener may have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "app/http/front_conf.h"
#include "app/limits.h"

static void connections_leave_files_for_everything_else(void **state)
{
  (void)state;
  static const struct {
    uint64_t files;
    size_t listeners, connections;
  } cases[] = {
      {2 * LIMIT_CONNECTIONS + LIMIT_FILES_KEPT, 2, LIMIT_CONNECTIONS},
      {2 * LIMIT_CONNECTIONS + LIMIT_FILES_KEPT - 2, 2, LIMIT_CONNECTIONS - 1},
      {UINT64_MAX, LIMIT_LISTENERS, LIMIT_CONNECTIONS},
      {2 * LIMIT_FILES_KEPT, 1, LIMIT_FILES_KEPT},
      {300, 2, 75},
      {0, 2, 1},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_int_equal(front_connections_for(cases[i].files, cases[i].listeners), cases[i].connections);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(connections_leave_files_for_everything_else),
  };
  return cmocka_run_group_tests_name("front conf", tests, NULL, NULL);
}
