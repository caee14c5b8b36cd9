/* SPDX-License-Identifier: Apache-2.0 */
/* common/conf/command.h: what follows from a table of commands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/error.h"
#include "common/conf/command.h"

enum { READ = 1, CHANGE = 3 };

/* As an owner's row: its own handler behind the part that all have. */
typedef struct row {
  command_row_t row;
  int (*run)(int);
} row_t;

static int twice(int n)
{
  return 2 * n;
}

static int thrice(int n)
{
  return 3 * n;
}

static const row_t rows[] = {
    {{"status", .role = READ, .timeout_ms = 5000, .help = "walls, counts and audit"}, twice},
    {{"stop", "PID", 1, 1, .role = CHANGE, .help = "ends one"}, twice},
    {{"explain", "USER TARGET[:PORT]", 2, 2, "--from ADDR [--json]", READ, 60000, .help = "tells why"},
     thrice},
    {{"audit verify", "[FILE...]", 0, 9, "[--head=HASH|--json]", READ, .help = "checks the chain"}, twice},
    {{"audit show", .role = READ, .help = "shows it"}, twice},
    {{"hidden", .help = "has no role"}, twice},
    {{"future", .role = 2, .help = "has a role that is not named"}, twice},
    {{"beyond", .role = 4, .help = "has a role above all"}, twice},
};
static const char *const roles[] = {[READ] = "read", [CHANGE] = "change"};
static const command_set_t set = {COMMAND_ROWS(rows), .roles = roles, .role_count = CHANGE + 1,
                                  .program = "smpl-x"};

static char text[DIAG_TEXT_MAX];

/* What is answered; "" when the command may run. */
static const char *take(unsigned role, const char *name, int want)
{
  diag_t diag = {""};
  const void *found = &set;
  assert_int_equal(command_take(&set, role, name, &found, &diag), want);
  assert_true((want == SMPL_OK) == (found != NULL));
  snprintf(text, sizeof text, "%s", diag.text);
  return text;
}

static void a_row_is_found_with_what_its_owner_put_behind_it(void **state)
{
  (void)state;
  const void *found;
  assert_int_equal(command_take(&set, READ, "explain", &found, NULL), SMPL_OK);
  const row_t *row = found;
  assert_int_equal(row->run(7), 21);
  assert_int_equal(row->row.timeout_ms, 60000);
  assert_ptr_equal(command_find(&set, "status"), &rows[0]);
  assert_null(command_find(&set, "statu"));
  assert_null(command_find(&set, ""));
}

static void a_role_may_what_it_and_lesser_roles_may(void **state)
{
  (void)state;
  assert_string_equal(take(READ, "status", SMPL_OK), "");
  assert_string_equal(take(CHANGE, "status", SMPL_OK), "");
  assert_string_equal(take(CHANGE, "stop", SMPL_OK), "");
  assert_string_equal(take(READ, "stop", SMPL_EDENIED), "stop needs the role change");
}

static void a_row_without_role_and_an_unknown_role_mean_no(void **state)
{
  (void)state;
  for (unsigned role = 0; role < 6; role++) {
    assert_string_equal(take(role, "hidden", SMPL_EDENIED), "hidden: no role may give this command");
    assert_string_equal(take(role, "future", SMPL_EDENIED), "future: no role may give this command");
    assert_string_equal(take(role, "beyond", SMPL_EDENIED), "beyond: no role may give this command");
  }
  static const unsigned unknown[] = {COMMAND_ROLE_NONE, 2, 4, 1000, UINT32_MAX};
  for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
    assert_string_equal(take(unknown[i], "status", SMPL_EDENIED), "status needs the role read");
  command_set_t bare = set;
  bare.role_count = 0;
  assert_false(command_may(&bare, &rows[0].row, CHANGE));
}

static void an_unknown_command_is_told_what_is_nearest(void **state)
{
  (void)state;
  assert_string_equal(take(CHANGE, "stauts", SMPL_ENOENT), "unknown command 'stauts': did you mean status?");
  assert_string_equal(take(CHANGE, "st", SMPL_ENOENT), "unknown command 'st': did you mean status or stop?");
  assert_string_equal(take(READ, "st", SMPL_ENOENT), "unknown command 'st': did you mean status?");
  assert_string_equal(take(CHANGE, "audit", SMPL_ENOENT),
                      "unknown command 'audit': did you mean audit verify or audit show?");
  assert_string_equal(take(READ, "dance", SMPL_ENOENT),
                      "unknown command 'dance': expected status, explain, audit verify or audit show");
  assert_string_equal(take(COMMAND_ROLE_NONE, "dance", SMPL_ENOENT), "unknown command 'dance'");
  assert_string_equal(take(READ, "", SMPL_ENOENT),
                      "unknown command '': expected status, explain, audit verify or audit show");
  assert_string_equal(take(READ, NULL, SMPL_EINVAL),
                      "the command is missing: expected status, explain, audit verify or audit show");
}

static void a_hostile_name_is_cut_and_escaped(void **state)
{
  (void)state;
  char name[100000];
  memset(name, 'x', sizeof name - 1);
  name[sizeof name - 1] = '\0';
  take(READ, name, SMPL_ENOENT);
  assert_true(strlen(text) < 200);
  assert_non_null(strstr(text, ": expected status"));
  take(READ, "a\n\033[2Jb", SMPL_ENOENT);
  assert_null(strchr(text, '\n'));
  assert_null(strchr(text, '\033'));
}

typedef struct line {
  int argc;
  char *argv[12];
} line_t;

static const char *take_line(line_t line, int want, const void **row, int *used)
{
  diag_t diag = {""};
  assert_int_equal(command_take_words(&set, CHANGE, line.argc, line.argv, row, used, &diag), want);
  assert_true((want == SMPL_OK) == (*row != NULL));
  snprintf(text, sizeof text, "%s", diag.text);
  return text;
}

static void the_words_of_a_command_line_are_counted(void **state)
{
  (void)state;
  const void *row;
  int used;
  take_line((line_t){1, {"status"}}, SMPL_OK, &row, &used);
  assert_int_equal(used, 1);
  take_line((line_t){3, {"explain", "alice", "db"}}, SMPL_OK, &row, &used);
  assert_ptr_equal(row, &rows[2]);
  take_line((line_t){2, {"audit", "verify"}}, SMPL_OK, &row, &used);
  assert_int_equal(used, 2);
  assert_ptr_equal(row, &rows[3]);
  take_line((line_t){11, {"audit", "verify", "1", "2", "3", "4", "5", "6", "7", "8", "9"}}, SMPL_OK, &row,
            &used);
  assert_string_equal(
      take_line((line_t){2, {"explain", "alice"}}, SMPL_EINVAL, &row, &used),
      "explain: too few arguments; usage: smpl-x explain USER TARGET[:PORT] --from ADDR [--json]");
  assert_string_equal(take_line((line_t){2, {"status", "now"}}, SMPL_EINVAL, &row, &used),
                      "status: 'now' is too much; usage: smpl-x status");
  assert_string_equal(take_line((line_t){2, {"audit", "dance"}}, SMPL_ENOENT, &row, &used),
                      "unknown command 'audit': did you mean audit verify or audit show?");
  take_line((line_t){0, {NULL}}, SMPL_EINVAL, &row, &used);
  assert_int_equal(used, 0);
}

static void an_option_goes_with_the_commands_that_name_it(void **state)
{
  (void)state;
  diag_t diag = {""};
  assert_true(command_has_option(&rows[2].row, "--from"));
  assert_true(command_has_option(&rows[2].row, "--json"));
  assert_true(command_has_option(&rows[3].row, "--head"));
  assert_false(command_has_option(&rows[3].row, "--he"));
  assert_false(command_has_option(&rows[3].row, "head"));
  assert_false(command_has_option(&rows[0].row, "--json"));
  assert_false(command_has_option(NULL, "--json"));
  assert_int_equal(command_check_option(&set, &rows[2].row, "--from", &diag), SMPL_OK);
  assert_int_equal(command_check_option(&set, &rows[0].row, "--json", &diag), SMPL_EINVAL);
  assert_string_equal(diag.text, "--json goes with explain and audit verify only");
  diag.text[0] = '\0';
  assert_int_equal(command_check_option(&set, NULL, "--none", &diag), SMPL_EINVAL);
  assert_string_equal(diag.text, "no command takes --none");
}

static char *printed(void (*print)(const command_set_t *, FILE *))
{
  char *out = NULL;
  size_t len = 0;
  FILE *to = open_memstream(&out, &len);
  assert_non_null(to);
  print(&set, to);
  fclose(to);
  return out;
}

static void usage_and_manual_come_from_the_rows(void **state)
{
  (void)state;
  char *usage = printed(command_print_usage);
  assert_non_null(strstr(usage, "  status                            walls, counts and audit\n"));
  assert_non_null(strstr(usage, "  explain USER TARGET[:PORT] --from ADDR [--json]\n"
                                "                                    tells why\n"));
  free(usage);
  char *manual = printed(command_print_manual);
  assert_non_null(strstr(manual, "*stop* _PID_\n\tEnds one.\n\n"));
  assert_non_null(
      strstr(manual, "*explain* _USER_ _TARGET_[:_PORT_] *--from* _ADDR_ [*--json*]\n\tTells why.\n"));
  free(manual);
}

static void names_are_cut_to_their_buffer(void **state)
{
  (void)state;
  char small[8], one[1];
  assert_string_equal(command_names(&set, CHANGE, "and", text, sizeof text),
                      "status, stop, explain, audit verify and audit show");
  assert_string_equal(command_names(&set, CHANGE, "and", small, sizeof small), "status,");
  assert_string_equal(command_names(&set, CHANGE, "and", one, sizeof one), "");
}

static const char *flaw_of(command_row_t first, command_row_t second)
{
  const command_row_t pair[] = {first, second};
  const command_set_t two = {COMMAND_ROWS(pair), COMMAND_OPEN};
  return command_flaw(&two, text, sizeof text);
}

static void a_table_with_a_flaw_is_found(void **state)
{
  (void)state;
  const command_row_t good = {"a", .role = COMMAND_ROLE_ANY, .help = "does"};
  command_row_t bad = good;
  assert_string_equal(flaw_of(good, bad), "row 2 (a): the name is there twice");
  bad.name = "b";
  assert_null(flaw_of(good, bad));
  bad.role = COMMAND_ROLE_NONE;
  assert_string_equal(flaw_of(good, bad), "row 2 (b): no role");
  bad.role = COMMAND_ROLE_ANY + 1;
  assert_string_equal(flaw_of(good, bad), "row 2 (b): no role");
  bad = (command_row_t){"b", .role = COMMAND_ROLE_ANY};
  assert_string_equal(flaw_of(good, bad), "row 2 (b): help is not one line");
  bad = (command_row_t){"b", "X", 1, 0, .role = COMMAND_ROLE_ANY, .help = "does"};
  assert_string_equal(flaw_of(good, bad), "row 2 (b): min is above max");
  bad = (command_row_t){"b", NULL, 0, 1, .role = COMMAND_ROLE_ANY, .help = "does"};
  assert_string_equal(flaw_of(good, bad), "row 2 (b): args and the number of words do not agree");
  bad = (command_row_t){.role = COMMAND_ROLE_ANY, .help = "does"};
  assert_string_equal(flaw_of(good, bad), "row 2 (): no name");
  char help[COMMAND_HELP_MAX + 2];
  memset(help, 'h', sizeof help);
  help[COMMAND_HELP_MAX] = '\0';
  bad = (command_row_t){"b", .role = COMMAND_ROLE_ANY, .help = help};
  assert_null(flaw_of(good, bad));
  help[COMMAND_HELP_MAX] = 'h';
  help[COMMAND_HELP_MAX + 1] = '\0';
  assert_string_equal(flaw_of(good, bad), "row 2 (b): help is not one line");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_row_is_found_with_what_its_owner_put_behind_it),
      cmocka_unit_test(a_role_may_what_it_and_lesser_roles_may),
      cmocka_unit_test(a_row_without_role_and_an_unknown_role_mean_no),
      cmocka_unit_test(an_unknown_command_is_told_what_is_nearest),
      cmocka_unit_test(a_hostile_name_is_cut_and_escaped),
      cmocka_unit_test(the_words_of_a_command_line_are_counted),
      cmocka_unit_test(an_option_goes_with_the_commands_that_name_it),
      cmocka_unit_test(usage_and_manual_come_from_the_rows),
      cmocka_unit_test(names_are_cut_to_their_buffer),
      cmocka_unit_test(a_table_with_a_flaw_is_found),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
