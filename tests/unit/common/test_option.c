/* SPDX-License-Identifier: Apache-2.0 */
/* Options, a row each, and the scripts that complete them (conf/option.c, conf/completion.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/error.h"
#include "common/conf/completion.h"
#include "common/conf/option.h"

typedef struct taken {
  const char *file, *path;
  bool loud;
} taken_t;

enum { OPT_OPEN = OPTION_LONG, OPT_TARGET };

#define AT(member) .at = offsetof(taken_t, member)

static const option_row_t rows[] = {
    {'c', "config", "FILE", AT(file), .help = "the configuration"},
    {OPT_OPEN, "open", "[=PATH]", AT(path), .help = "opens it"},
    {OPT_TARGET, "target", "T[:PORT]", AT(path), .completes = "targets"},
    {'v', "loud", NULL, AT(loud), .help = "says \"more\""},
};
static const option_set_t set = {OPTION_ROWS(rows)};

static const command_row_t command_rows[] = {
    {"audit show", .role = COMMAND_ROLE_ANY, .help = "shows it"},
    {"audit verify", "[FILE...]", 0, 9, .role = COMMAND_ROLE_ANY, .help = "checks it"},
    {"up", "SET", 1, 1, .role = COMMAND_ROLE_ANY, .help = "begins", .completes = "sets"},
    {"completion", "bash|zsh|fish", 1, 1, .role = COMMAND_ROLE_ANY, .help = "prints a script",
     .completes = COMPLETION_SHELLS},
};
static const command_set_t commands = {COMMAND_ROWS(command_rows), COMMAND_OPEN, .program = "smpl-x"};

/* What getopt_long makes of the words with the table; the letter that it could not take, else 0. */
static int read_options(taken_t *out, int argc, char **argv)
{
  option_table_t table;
  int letter;
  *out = (taken_t){0};
  option_table(&set, &table);
  opterr = 0;
  optind = 0;
  while ((letter = getopt_long(argc, argv, table.letters, table.longs, NULL)) != -1) {
    const option_row_t *row = option_find(&set, letter);
    if (row == NULL)
      return letter;
    option_store(row, optarg, out);
  }
  return 0;
}

#define READ(out, ...)                                                                                       \
  read_options(out, sizeof(char *[]){"x", __VA_ARGS__} / sizeof(char *), (char *[]){"x", __VA_ARGS__, NULL})

static void values_are_stored_where_the_rows_say(void **state)
{
  (void)state;
  taken_t t;
  assert_int_equal(READ(&t, "-c", "a.yaml", "--loud"), 0);
  assert_string_equal(t.file, "a.yaml");
  assert_true(t.loud);
  assert_null(t.path);
  assert_int_equal(READ(&t, "--open"), 0);
  assert_string_equal(t.path, "");
  assert_int_equal(READ(&t, "--open=/docs"), 0);
  assert_string_equal(t.path, "/docs");
  assert_int_equal(READ(&t, "--config"), ':');
  assert_int_equal(READ(&t, "--what"), '?');
  assert_int_equal(READ(&t, "-x"), '?');
}

static char *printed(void (*print)(const option_set_t *, FILE *))
{
  char *out = NULL;
  size_t len = 0;
  FILE *to = open_memstream(&out, &len);
  assert_non_null(to);
  print(&set, to);
  fclose(to);
  return out;
}

static void usage_and_manual_leave_out_what_commands_show(void **state)
{
  (void)state;
  char *usage = printed(option_print_usage);
  assert_string_equal(usage, "  -c, --config FILE          the configuration\n"
                             "      --open[=PATH]          opens it\n"
                             "  -v, --loud                 says \"more\"\n");
  free(usage);
  char *manual = printed(option_print_manual);
  assert_string_equal(manual, "*-c*, *--config* _FILE_\n\tThe configuration.\n\n"
                              "*--open*[=_PATH_]\n\tOpens it.\n\n"
                              "*-v*, *--loud*\n\tSays \"more\".\n\n");
  free(manual);
}

static char *script(const char *shell, const char *own)
{
  const completion_t completion = {&commands, &set, own, own, own};
  char *out = NULL;
  size_t len = 0;
  diag_t diag = {""};
  FILE *to = open_memstream(&out, &len);
  assert_non_null(to);
  assert_int_equal(completion_print(&completion, shell, to, &diag), SMPL_OK);
  fclose(to);
  return out;
}

static void a_script_has_what_the_rows_have(void **state)
{
  (void)state;
  char *bash = script("bash", "own of @PROGRAM@ and @NAME@\n");
  assert_non_null(strstr(bash, "complete -F _smpl_x smpl-x\n"));
  assert_non_null(strstr(bash, "own of smpl-x and smpl_x\n"));
  assert_non_null(strstr(bash, "words='audit up completion'\n"));
  assert_non_null(strstr(bash, "words='--config --open --target --loud'\n"));
  assert_non_null(strstr(bash, "-c|--config) COMPREPLY=($(compgen -f "));
  assert_non_null(strstr(bash, "--target) COMPREPLY=($(compgen -W \"$(smpl-x completion targets "));
  assert_non_null(strstr(bash, "audit) COMPREPLY=($(compgen -W 'show' "));
  assert_non_null(strstr(bash, "verify) COMPREPLY=($(compgen -f "));
  assert_non_null(strstr(bash, "up) COMPREPLY=($(compgen -W \"$(smpl-x completion sets "));
  free(bash);
  char *fish = script("fish", NULL);
  assert_non_null(strstr(fish, "complete -c smpl-x -l loud -s v -d \"says \\\"more\\\"\"\n"));
  assert_non_null(strstr(fish, "complete -c smpl-x -l config -s c -r -F -d \"the configuration\"\n"));
  assert_non_null(strstr(fish, "complete -c smpl-x -l target -x -a '(smpl-x completion targets)' -d \"\"\n"));
  free(fish);
}

static void an_unknown_shell_is_refused(void **state)
{
  (void)state;
  const completion_t completion = {.commands = &commands, .options = &set};
  diag_t diag = {""};
  assert_int_equal(completion_print(&completion, "ksh", stdout, &diag), SMPL_ENOENT);
  assert_string_equal(diag.text, "no completion for 'ksh': bash, zsh and fish are known");
}

static const char *flaw_of(option_row_t first, option_row_t second)
{
  static char text[128];
  const option_row_t pair[] = {first, second};
  const option_set_t two = {OPTION_ROWS(pair)};
  return option_flaw(&two, text, sizeof text);
}

static void a_table_with_a_flaw_is_found(void **state)
{
  (void)state;
  const option_row_t good = {'a', "all", .help = "does"};
  option_row_t bad = {'b', "all", .help = "does"};
  assert_null(option_flaw(&set, (char[128]){0}, 128));
  assert_string_equal(flaw_of(good, bad), "row 2 (all): the letter or the name is there twice");
  bad = (option_row_t){'a', "both", .help = "does"};
  assert_string_equal(flaw_of(good, bad), "row 2 (both): the letter or the name is there twice");
  bad = (option_row_t){'b', "both", .help = "two\nlines"};
  assert_string_equal(flaw_of(good, bad), "row 2 (both): help is not one line");
  bad = (option_row_t){'b', .help = "does"};
  assert_string_equal(flaw_of(good, bad), "row 2 (): no name");
}

static void rows_up_to_the_most_are_taken_and_one_more_is_a_flaw(void **state)
{
  (void)state;
  static char names[OPTION_ROWS_MAX + 1][16];
  static option_row_t many[OPTION_ROWS_MAX + 1];
  char text[128];
  option_table_t table;
  for (int i = 0; i <= OPTION_ROWS_MAX; i++) {
    snprintf(names[i], sizeof names[i], "n%d", i);
    many[i] = (option_row_t){OPTION_LONG + i, names[i], .help = "does"};
  }
  option_set_t most = {many, sizeof *many, OPTION_ROWS_MAX};
  assert_null(option_flaw(&most, text, sizeof text));
  option_table(&most, &table);
  assert_string_equal(table.longs[OPTION_ROWS_MAX - 1].name, "n31");
  assert_null(table.longs[OPTION_ROWS_MAX].name);
  most.count++;
  assert_string_equal(option_flaw(&most, text, sizeof text), "row 33 (n32): too many rows");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(values_are_stored_where_the_rows_say),
      cmocka_unit_test(usage_and_manual_leave_out_what_commands_show),
      cmocka_unit_test(a_script_has_what_the_rows_have),
      cmocka_unit_test(an_unknown_shell_is_refused),
      cmocka_unit_test(a_table_with_a_flaw_is_found),
      cmocka_unit_test(rows_up_to_the_most_are_taken_and_one_more_is_a_flaw),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
