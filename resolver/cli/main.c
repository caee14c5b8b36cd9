/* SPDX-License-Identifier: Apache-2.0 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/process/crash.h"
#include "common/net/control.h"
#include "common/base/count.h"
#include "common/base/error.h"
#include "common/process/harden.h"
#include "common/base/log.h"
#include "resolver/cli/commands.h"
#include "resolver/control/server.h"

static const char program[] = "smpl-resolver";

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static const char head[] = "usage: smpl-resolver -c FILE   serves in the foreground\n"
                           "       smpl-resolver COMMAND   one of\n\n";
static const char tail[] =
    "\n"
    "explain and matrix ask a running resolver, or with -c look at the configuration alone.\n"
    "Exit status: 0; 1 with the reason (a reload that failed has changed nothing); 2 wrong usage; 3 no "
    "resolver runs there.\n";

static int usage(const char *what, const char *word)
{
  fprintf(stderr, "%s: %s%s%s%s; try: %s --help\n", program, what, word != NULL ? " '" : "",
          word != NULL ? word : "", word != NULL ? "'" : "", program);
  return EXIT_USAGE;
}

static bool is(const command_t *c, const char *name)
{
  return c != NULL && strcmp(c->served.row.name, name) == 0;
}

/* What only some commands take. */
static int check_together(const command_t *c, const arguments_t *a, diag_t *diag)
{
  const command_row_t *row = c != NULL ? &c->served.row : NULL;
  const struct {
    const char *option, *value;
  } own[] = {{"--from", a->from}, {"--listener", a->listener}, {"--expect", a->expect}};
  for (size_t i = 0; i < COUNT_OF(own); i++) {
    int err = own[i].value != NULL ? command_check_option(&commands, row, own[i].option, diag) : SMPL_OK;
    if (err)
      return err;
  }
  if (is(c, "explain") && a->from == NULL)
    return diag_fail(diag, SMPL_EINVAL, "the client's address is needed: --from ADDR");
  if (c != NULL && c->run != NULL && c->print == NULL && a->config != NULL && a->socket != NULL &&
      row->timeout_ms > 0)
    return diag_fail(diag, SMPL_EINVAL,
                     "-c (without a running resolver) and --socket (a running one) exclude each other");
  if (a->config == NULL && (c == NULL || is(c, "check")))
    return diag_fail(diag, SMPL_EINVAL, "a configuration is needed: -c FILE");
  return SMPL_OK;
}

static void print_help(void)
{
  fputs(head, stdout);
  command_print_usage(&commands, stdout);
  fputc('\n', stdout);
  option_print_usage(&option_rows, stdout);
  fputs(tail, stdout);
}

/* The words that are no options. Without any the program serves. */
static int take_command(int argc, char **argv, const command_t **c, arguments_t *a)
{
  diag_t diag = {""};
  const void *row = NULL;
  int used = 0;
  int err = argc > 0 ? command_take_words(&commands, COMMANDS_ROLE, argc, argv, &row, &used, &diag) : SMPL_OK;
  *c = row;
  a->words = argv + used;
  a->word_count = argc - used;
  if (!err)
    err = check_together(*c, a, &diag);
  return err ? usage(diag.text, NULL) : EXIT_OK;
}

/* EXIT_OK to go on; -1 when all is said and done. */
static int parse(int argc, char **argv, const command_t **c, arguments_t *a)
{
  option_table_t table;
  int letter;
  opterr = 0;
  option_table(&option_rows, &table);
  while ((letter = getopt_long(argc, argv, table.letters, table.longs, NULL)) != -1) {
    const option_row_t *row = option_find(&option_rows, letter);
    if (row == NULL)
      return usage(letter == ':' ? "a value is missing after" : "unknown option", argv[optind - 1]);
    option_store(row, optarg, a);
    if (a->help)
      print_help();
    if (a->version)
      printf("%s %s\n", program, SMPL_VERSION);
    if (a->help || a->version)
      return -1;
  }
  return take_command(argc - optind, argv + optind, c, a);
}

int main(int argc, char **argv)
{
  arguments_t a = {0};
  const command_t *c = NULL;
  diag_t diag = {""};
  if (harden_process()) {
    fprintf(stderr, "%s: cannot harden the process\n", program);
    return EXIT_FAILED;
  }
  log_init(program, LOG_LEVEL_INFO);
  crash_catch(program);
  int done = parse(argc, argv, &c, &a);
  if (done != EXIT_OK)
    return done < 0 ? EXIT_OK : done;
  int err = c != NULL ? c->run(c, &a, &diag) : server_run(a.config, &commands, &diag);
  if (err)
    log_failure(program, diag.text[0] != '\0' ? diag.text : smpl_strerror(err));
  bool asked = c != NULL && c->served.answer != NULL;
  return asked ? control_exit(err) : err ? EXIT_FAILED : EXIT_OK;
}
