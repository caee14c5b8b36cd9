/* SPDX-License-Identifier: Apache-2.0 */
/* smpl-bastion: the broker, and the commands of the people who run it. */
#include <stdio.h>

#include "bastion/broker/broker.h"
#include "bastion/cli/commands.h"
#include "common/base/log.h"
#include "common/process/crash.h"
#include "common/process/harden.h"

static const char usage_head[] = "smpl-bastion -c FILE                run in the foreground\n"
                                 "smpl-bastion COMMAND [ARGUMENT...]  one of these:\n\n";
static const char usage_tail[] =
    "\n"
    "Commands find the control socket in bastion.yaml.\n"
    "Exit status: 0; 1 with the reason (a reload that failed has changed nothing); 2 wrong usage; 3 no "
    "bastion runs there.\n";

static void print_help(void)
{
  fputs(usage_head, stdout);
  command_print_usage(&commands_all, stdout);
  fputc('\n', stdout);
  option_print_usage(&option_rows, stdout);
  fputs(usage_tail, stdout);
}

static int say_wrong_option(int letter, const char *word)
{
  fprintf(stderr, "smpl-bastion: %s %s; try: smpl-bastion --help\n",
          letter == ':' ? "a value is missing after" : "unknown option", word);
  return EXIT_USAGE;
}

int main(int argc, char **argv)
{
  options_t o = {0};
  option_table_t table;
  int letter;
  if (harden_process()) {
    perror("smpl-bastion");
    return EXIT_FAILED;
  }
  log_init("smpl-bastion", LOG_LEVEL_INFO);
  crash_catch("smpl-bastion");
  opterr = 0; /* one line, and ours */
  option_table(&option_rows, &table);
  while ((letter = getopt_long(argc, argv, table.letters, table.longs, NULL)) != -1) {
    const option_row_t *row = option_find(&option_rows, letter);
    if (row == NULL)
      return say_wrong_option(letter, argv[optind - 1]);
    option_store(row, optarg, &o);
    if (o.help)
      print_help();
    if (o.version)
      puts("smpl-bastion " SMPL_VERSION);
    if (o.help || o.version)
      return EXIT_FINE;
  }
  if (optind < argc)
    return commands_run(&o, argc - optind, argv + optind);
  if (o.config == NULL)
    return options_fail_usage("a configuration is needed: smpl-bastion -c FILE");
  if (o.verbose)
    log_init("smpl-bastion", LOG_LEVEL_DEBUG);
  return broker_run(o.config, &commands_asked);
}
