/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of smpl-app: commands, options and keys are complete, and the socket offers what its rows say.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "app/program/admin.h"
#include "app/program/commands.h"
#include "app/program/settings_file.h"
#include "common/base/error.h"
#include "common/conf/reference.h"

static void each_row_is_complete(void **state)
{
  char flaw[256];
  (void)state;
  if (command_flaw(&commands, flaw, sizeof flaw) != NULL ||
      option_flaw(&option_rows, flaw, sizeof flaw) != NULL ||
      conf_reference_flaw(&settings_file_map, flaw, sizeof flaw) != NULL)
    fail_msg("%s", flaw);
  for (size_t i = 0; i < commands.count; i++) {
    const admin_command_t *command = (const admin_command_t *)command_at(&commands, i);
    assert_int_equal(command->answer != NULL, command->row.role == ADMIN_ROLE);
    assert_int_equal(command->answer != NULL, command->row.timeout_ms > 0);
  }
}

static int asked(unsigned role, const char *cmd, char text[DIAG_TEXT_MAX])
{
  diag_t diag = {.text = ""};
  const void *row = NULL;
  int err = command_take(&commands, role, cmd, &row, &diag);
  snprintf(text, DIAG_TEXT_MAX, "%s", diag.text);
  assert_true((row != NULL) == !err);
  return err;
}

static void what_the_command_line_alone_does_cannot_be_asked_for(void **state)
{
  char text[DIAG_TEXT_MAX];
  size_t offered = 0;
  (void)state;
  for (size_t i = 0; i < commands.count; i++) {
    int err = asked(ADMIN_ROLE, command_at(&commands, i)->name, text);
    assert_true(err == SMPL_OK || err == SMPL_EDENIED);
    offered += !err;
  }
  assert_int_equal(offered, 2);
  assert_int_equal(asked(ADMIN_ROLE, NULL, text), SMPL_EINVAL);
  assert_string_equal(text, "the command is missing: expected reload or status");
  assert_int_equal(asked(ADMIN_ROLE, "relaod", text), SMPL_ENOENT);
  assert_string_equal(text, "unknown command 'relaod': did you mean reload?");
}

static void whoever_has_no_known_role_may_nothing(void **state)
{
  static const unsigned unknown[] = {COMMAND_ROLE_NONE, COMMANDS_ROLE + 1, UINT32_MAX};
  char text[DIAG_TEXT_MAX];
  (void)state;
  for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
    for (size_t k = 0; k < commands.count; k++)
      assert_int_equal(asked(unknown[i], command_at(&commands, k)->name, text), SMPL_EDENIED);
}

static int taken(char text[DIAG_TEXT_MAX], arguments_t a, int argc, char **argv)
{
  diag_t diag = {.text = ""};
  const command_t *command = NULL;
  int err = commands_take(argc, argv, &a, &command, &diag);
  snprintf(text, DIAG_TEXT_MAX, "%s", diag.text);
  assert_true(err || (command != NULL) == (argc > 0));
  return err;
}

#define TAKE(arguments, ...)                                                                                 \
  taken(text, (arguments_t){arguments}, sizeof((char *[]){__VA_ARGS__}) / sizeof(char *),                    \
        (char *[]){__VA_ARGS__})

static void options_go_with_their_commands(void **state)
{
  char text[DIAG_TEXT_MAX];
  (void)state;
  assert_int_equal(TAKE(.config = "f", "check"), SMPL_OK);
  assert_int_equal(taken(text, (arguments_t){.config = "f"}, 0, NULL), SMPL_OK);
  assert_int_equal(taken(text, (arguments_t){.config = NULL}, 0, NULL), SMPL_EINVAL);
  assert_string_equal(text, "a configuration file is missing: -c FILE");
  assert_int_equal(taken(text, (arguments_t){.socket = "s"}, 0, NULL), SMPL_EINVAL);
  assert_string_equal(text, "--socket goes with reload and status only");
  assert_int_equal(TAKE(.socket = "s", "reload"), SMPL_OK);
  assert_int_equal(TAKE(.service = "s", "openapi"), SMPL_OK);
  assert_int_equal(TAKE(.service = "s", "check"), SMPL_EINVAL);
  assert_string_equal(text, "--service goes with openapi only");
  assert_int_equal(TAKE(.config = NULL, "internal-key"), SMPL_OK);
  assert_int_equal(TAKE(.config = "f", "internal-key"), SMPL_EINVAL);
  assert_string_equal(text, "internal-key takes no configuration");
  assert_int_equal(TAKE(.config = "f", "restore"), SMPL_EINVAL);
  assert_string_equal(text, "a file is missing after restore");
  arguments_t trusting = {.config = "f", .trust_keys = true};
  assert_int_equal(taken(text, trusting, 1, (char *[]){"restore"}), SMPL_OK);
  assert_int_equal(taken(text, trusting, 2, (char *[]){"backup", "out"}), SMPL_EINVAL);
  assert_string_equal(text, "--trust-keys goes with restore only");
  assert_int_equal(TAKE(.config = "f", "backup", ""), SMPL_EINVAL);
  assert_string_equal(text, "an empty name after backup");
  assert_int_equal(TAKE(.config = "f", "backup"), SMPL_EINVAL);
  assert_int_equal(TAKE(.config = "f", "backup", "a", "b"), SMPL_EINVAL);
  assert_non_null(strstr(text, "backup: 'b' is too much; usage: smpl-app backup OUT -c FILE"));
  assert_int_equal(TAKE(.config = "f", "chekc"), SMPL_ENOENT);
  assert_string_equal(text, "unknown command 'chekc': did you mean check?");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_row_is_complete),
      cmocka_unit_test(what_the_command_line_alone_does_cannot_be_asked_for),
      cmocka_unit_test(whoever_has_no_known_role_may_nothing),
      cmocka_unit_test(options_go_with_their_commands),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
