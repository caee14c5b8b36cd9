/* SPDX-License-Identifier: Apache-2.0 */
/* How long a command waits for the running resolver. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "common/net/control.h"
#include "common/base/error.h"
#include "common/conf/reference.h"
#include "resolver/cli/commands.h"
#include "resolver/view/settings.h"

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
  (void)state;
  for (size_t i = 0; i < commands.count; i++) {
    const command_t *c = command_find(&commands, command_at(&commands, i)->name);
    char *words[] = {"a.example", NULL};
    arguments_t a = {.words = words, .word_count = 1, .socket = "r.sock", .from = "127.0.0.1"};
    diag_t diag = {""};
    if (c->served.answer == NULL)
      continue;
    assert_int_equal(c->run(c, &a, &diag), SMPL_ECLOSED);
    if (strcmp(c->served.row.name, "reload") == 0)
      assert_int_equal(waits, CONTROL_RELOAD_MS);
    else
      assert_in_range(waits, 1, CONTROL_RELOAD_MS / 10);
  }
}

static void the_table_of_commands_is_whole(void **state)
{
  char flaw[200];
  (void)state;
  if (command_flaw(&commands, flaw, sizeof flaw) != NULL ||
      option_flaw(&option_rows, flaw, sizeof flaw) != NULL ||
      conf_reference_flaw(&settings_map, flaw, sizeof flaw) != NULL)
    fail_msg("%s", flaw);
  for (size_t i = 0; i < commands.count; i++) {
    const command_t *c = command_find(&commands, command_at(&commands, i)->name);
    assert_non_null(c->run);
    assert_int_equal(c->served.answer != NULL, c->served.row.role == SERVER_ROLE);
    assert_int_equal(c->served.answer != NULL, c->served.row.timeout_ms > 0);
  }
}

static void what_the_command_line_alone_does_cannot_be_asked_for(void **state)
{
  const void *row;
  diag_t diag = {""};
  (void)state;
  assert_int_equal(command_take(&commands, SERVER_ROLE, "check", &row, &diag), SMPL_EDENIED);
  diag = (diag_t){""};
  assert_int_equal(command_take(&commands, SERVER_ROLE, "nonsense", &row, &diag), SMPL_ENOENT);
  assert_string_equal(diag.text,
                      "unknown command 'nonsense': expected status, reload, zones, stats, explain or matrix");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_table_of_commands_is_whole),
      cmocka_unit_test(what_the_command_line_alone_does_cannot_be_asked_for),
      cmocka_unit_test(a_reload_is_waited_for_as_long_as_big_zones_take_and_nothing_else_is),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
