/* SPDX-License-Identifier: Apache-2.0 */
#include "app/program/app.h"

#include <stdbool.h>
#include <stdio.h>

#include "app/program/commands.h"
#include "app/program/run.h"
#include "app/program/status.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/process/crash.h"
#include "common/process/harden.h"

static const char head[] = "usage: smpl-app -c FILE   runs the service that FILE configures\n"
                           "       smpl-app COMMAND   one of\n\n";
static const char tail[] =
    "\n"
    "Exit status: 0; 1 with the reason (a reload that failed has changed nothing); 2 wrong usage; 3 no "
    "service runs there.\n";

static void print_help(void)
{
  fputs(head, stdout);
  command_print_usage(&commands, stdout);
  fputc('\n', stdout);
  option_print_usage(&option_rows, stdout);
  fputs(tail, stdout);
}

static int usage_of(const char *what, const char *word)
{
  diag_t diag = {.text = ""};
  diag_fail(&diag, SMPL_EINVAL, "%s %s", what, word);
  return status_usage(diag.text);
}

/* -1: go on; else the exit status. */
static int read_options(int argc, char **argv, arguments_t *a)
{
  option_table_t table;
  int letter;
  opterr = 0; /* one line, and ours */
  option_table(&option_rows, &table);
  while ((letter = getopt_long(argc, argv, table.letters, table.longs, NULL)) != -1) {
    const option_row_t *row = option_find(&option_rows, letter);
    if (row == NULL)
      return usage_of(letter == ':' ? "a value is missing after" : "unknown option", argv[optind - 1]);
    option_store(row, optarg, a);
    if (a->help)
      print_help();
    if (a->version)
      printf("smpl-app %s\n", SMPL_VERSION);
    if (a->help || a->version)
      return STATUS_OK;
  }
  return -1;
}

int app_main(int argc, char **argv, const service_t *const *services)
{
  arguments_t a = {.services = services};
  const command_t *command = NULL;
  diag_t diag = {.text = ""};
  if (harden_process()) {
    fprintf(stderr, "smpl-app: core dumps cannot be switched off\n");
    return STATUS_FAILED;
  }
  log_init("smpl-app", LOG_LEVEL_INFO);
  crash_catch("smpl-app");
  int status = read_options(argc, argv, &a);
  if (status >= 0)
    return status;
  if (commands_take(argc - optind, argv + optind, &a, &command, &diag))
    return status_usage(diag.text);
  return command != NULL ? commands_run(command, &a) : run(a.config, services, &commands);
}
