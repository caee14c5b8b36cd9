/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of commands (cli/commands.c, session/question.c): a command without a role is nobody's, and each
 * row has what it needs. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bastion/broker/admin.h"
#include "bastion/cli/commands.h"
#include "bastion/policy/config.h"
#include "bastion/session/question.h"
#include "common/base/error.h"
#include "common/conf/reference.h"

static void answer(broker_t *b, control_request_t *request, const control_peer_t *peer, const json_t *body)
{
  (void)b;
  (void)request;
  (void)peer;
  (void)body;
}

static void a_command_without_a_role_is_refused_to_everybody(void **state)
{
  static const admin_command_t rows[] = {
      {{"forgotten", .help = "its row has no role"}, answer},
      {{"beyond", .role = ROLE_TERMINATE + 1, .help = "its role does not exist"}, answer},
      {{"look", .role = ROLE_READ, .help = "for everybody with a role"}, answer},
  };
  static const command_set_t set = {COMMAND_ROWS(rows), .roles = role_names,
                                    .role_count = ROLE_TERMINATE + 1};
  static const role_t all[] = {ROLE_NONE, ROLE_READ, ROLE_TERMINATE, (role_t)(ROLE_TERMINATE + 1),
                               (role_t)99};
  const admin_command_t *command;
  (void)state;
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    bool may_look = all[i] == ROLE_READ || all[i] == ROLE_TERMINATE;
    diag_t diag = {""};
    assert_int_equal(admin_take(&set, all[i], "forgotten", &command, &diag), SMPL_EDENIED);
    assert_null(command);
    assert_int_equal(admin_take(&set, all[i], "beyond", &command, &diag), SMPL_EDENIED);
    assert_null(command);
    assert_int_equal(admin_take(&set, all[i], "look", &command, &diag), may_look ? SMPL_OK : SMPL_EDENIED);
    assert_ptr_equal(command, may_look ? &rows[2] : NULL);
  }
}

static void what_is_no_command_of_the_socket_is_refused(void **state)
{
  static const char *const names[] = {"", "dance", "check", "history", "audit verify", "sessions ", "STATUS"};
  const admin_command_t *command;
  (void)state;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    diag_t diag = {""};
    assert_int_equal(admin_take(&commands_asked, ROLE_TERMINATE, names[i], &command, &diag), SMPL_ENOENT);
    assert_null(command);
    assert_non_null(strstr(diag.text, "unknown command"));
    if (admin_take(&commands_all, ROLE_TERMINATE, names[i], &command, &diag) == SMPL_OK)
      fail_msg("'%s' has no answer and is taken", names[i]);
  }
  diag_t diag = {""};
  assert_int_equal(admin_take(&commands_asked, ROLE_TERMINATE, NULL, &command, &diag), SMPL_EINVAL);
}

static void who_may_look_may_change_nothing(void **state)
{
  static const char *const looks[] = {"explain", "sessions", "status", "blocks"};
  size_t found = 0;
  (void)state;
  for (size_t i = 0; i < commands_asked.count; i++) {
    const command_row_t *row = command_at(&commands_asked, i);
    bool look = false;
    for (size_t k = 0; k < sizeof looks / sizeof *looks; k++)
      look = look || strcmp(row->name, looks[k]) == 0;
    found += look;
    assert_int_equal(command_may(&commands_asked, row, ROLE_READ), look);
    assert_true(command_may(&commands_asked, row, ROLE_TERMINATE));
    assert_false(command_may(&commands_asked, row, ROLE_NONE));
  }
  assert_int_equal(found, sizeof looks / sizeof *looks);
}

static void each_row_has_what_it_needs(void **state)
{
  char flaw[256];
  (void)state;
  if (command_flaw(&commands_all, flaw, sizeof flaw) != NULL ||
      command_flaw(&question_commands, flaw, sizeof flaw) != NULL ||
      option_flaw(&option_rows, flaw, sizeof flaw) != NULL ||
      conf_reference_flaw(&config_map, flaw, sizeof flaw) != NULL)
    fail_msg("%s", flaw);
  for (size_t i = 0; i < commands_asked.count; i++) {
    const admin_command_t *command = (const admin_command_t *)command_at(&commands_asked, i);
    assert_non_null(command->answer);
    assert_true(command->row.timeout_ms > 0);
  }
  for (size_t i = 0; i < commands_all.count - commands_asked.count; i++)
    assert_null(((const admin_command_t *)command_at(&commands_all, i))->answer);
}

static void usage_names_each_command(void **state)
{
  char *text = NULL;
  size_t len;
  (void)state;
  FILE *to = open_memstream(&text, &len);
  assert_non_null(to);
  command_print_usage(&commands_all, to);
  fclose(to);
  for (size_t i = 0; i < commands_all.count; i++) {
    assert_non_null(strstr(text, command_at(&commands_all, i)->name));
    assert_non_null(strstr(text, command_at(&commands_all, i)->help));
  }
  free(text);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_command_without_a_role_is_refused_to_everybody),
      cmocka_unit_test(what_is_no_command_of_the_socket_is_refused),
      cmocka_unit_test(who_may_look_may_change_nothing),
      cmocka_unit_test(each_row_has_what_it_needs),
      cmocka_unit_test(usage_names_each_command),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
