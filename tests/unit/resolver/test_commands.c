/* SPDX-License-Identifier: Apache-2.0 */
/* How long a command waits for the running resolver. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/net/control.h"
#include "common/base/error.h"
#include "resolver/cli/commands.h"

int __wrap_control_call(const char *path, const json_t *body, uint64_t timeout_ms, json_t **reply,
                        diag_t *diag);

static uint64_t waits;

int __wrap_control_call(const char *path, const json_t *body, uint64_t timeout_ms, json_t **reply,
                        diag_t *diag)
{
  (void)path;
  (void)body;
  *reply = NULL;
  waits = timeout_ms;
  return diag_fail(diag, SMPL_ECLOSED, "nobody answers");
}

static void a_reload_is_waited_for_as_long_as_big_zones_take_and_nothing_else_is(void **state)
{
  static const char *const others[] = {"status", "zones", "stats"};
  diag_t diag = {""};
  (void)state;
  assert_int_equal(commands_ask("reload", "r.sock", NULL, false, &diag), SMPL_ECLOSED);
  assert_int_equal(waits, CONTROL_RELOAD_MS);
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
    assert_int_equal(commands_ask(others[i], "r.sock", NULL, false, &diag), SMPL_ECLOSED);
    assert_in_range(waits, 1, CONTROL_RELOAD_MS / 10);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_reload_is_waited_for_as_long_as_big_zones_take_and_nothing_else_is),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
