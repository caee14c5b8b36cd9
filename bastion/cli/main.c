/* SPDX-License-Identifier: Apache-2.0 */
/* smpl-bastion: the broker, and the commands of the people who run it. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bastion/broker/broker.h"
#include "bastion/cli/commands.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/process/crash.h"
#include "common/process/harden.h"

enum { WATCH_S = 2 };

static const char usage_head[] = "smpl-bastion -c FILE                run in the foreground\n"
                                 "smpl-bastion COMMAND [ARGUMENT...]  one of these:\n\n";
static const char usage_tail[] =
    "\n"
    "  -c, --config FILE    bastion.yaml; control commands find their socket in it\n"
    "      --socket PATH    control socket, without a configuration (default ./bastion.sock)\n"
    "  -v, --verbose        log more\n"
    "  -h, --help           this\n"
    "      --version\n"
    "\n"
    "Exit status: 0; 1 with the reason (a reload that failed has changed nothing); 2 wrong usage; 3 no "
    "bastion runs there.\n";

enum {
  OPT_SOCKET = 256,
  OPT_JSON,
  OPT_USER,
  OPT_SINCE,
  OPT_REASON,
  OPT_TARGET,
  OPT_UNTIL,
  OPT_WATCH,
  OPT_HEAD,
  OPT_VERSION
};

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"socket", required_argument, NULL, OPT_SOCKET},
    {"json", no_argument, NULL, OPT_JSON},
    {"user", required_argument, NULL, OPT_USER},
    {"since", required_argument, NULL, OPT_SINCE},
    {"reason", required_argument, NULL, OPT_REASON},
    {"target", required_argument, NULL, OPT_TARGET},
    {"until", required_argument, NULL, OPT_UNTIL},
    {"watch", optional_argument, NULL, OPT_WATCH},
    {"head", required_argument, NULL, OPT_HEAD},
    {"verbose", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

/* ---- options ---- */

static int take_watch(options_t *o, const char *text)
{
  uint64_t seconds = WATCH_S;
  if (text != NULL && (text_parse_u64(text, strlen(text), 3600, &seconds) || seconds == 0))
    return options_fail_usage("--watch takes seconds, from 1 to 3600");
  o->asked.watch_s = (unsigned)seconds;
  return -1;
}

/* -1: go on; else the exit status. */
static int take_option(options_t *o, int option)
{
  switch (option) {
  case 'c':
    o->config = optarg;
    return -1;
  case 'v':
    o->verbose = true;
    return -1;
  case OPT_SOCKET:
    o->asked.socket = optarg;
    return -1;
  case OPT_JSON:
    o->asked.json = true;
    return -1;
  case OPT_USER:
    o->asked.user = optarg;
    return -1;
  case OPT_SINCE:
    o->asked.since = optarg;
    return -1;
  case OPT_TARGET:
    o->asked.target = optarg;
    return -1;
  case OPT_UNTIL:
    o->asked.until = optarg;
    return -1;
  case OPT_HEAD:
    o->head = optarg;
    return -1;
  case OPT_WATCH:
    return take_watch(o, optarg);
  case OPT_REASON:
    o->asked.reason = optarg;
    return -1;
  case 'h':
    fputs(usage_head, stdout);
    command_print_usage(&commands_all, stdout);
    fputs(usage_tail, stdout);
    return EXIT_FINE;
  case OPT_VERSION:
    puts("smpl-bastion " SMPL_VERSION);
    return EXIT_FINE;
  default:
    return EXIT_USAGE; /* said already */
  }
}

static void say_wrong_option(int option, const char *word)
{
  fprintf(stderr, "smpl-bastion: %s %s; try: smpl-bastion --help\n",
          option == ':' ? "a value is missing after" : "unknown option", word);
}

int main(int argc, char **argv)
{
  options_t o = {0};
  int option;
  if (harden_process()) {
    perror("smpl-bastion");
    return EXIT_FAILED;
  }
  log_init("smpl-bastion", LOG_LEVEL_INFO);
  crash_catch("smpl-bastion");
  opterr = 0; /* one line, and ours */
  while ((option = getopt_long(argc, argv, ":c:vh", long_options, NULL)) != -1) {
    if (option == ':' || option == '?')
      say_wrong_option(option, argv[optind - 1]);
    int status = take_option(&o, option);
    if (status >= 0)
      return status;
  }
  if (optind < argc)
    return commands_run(&o, argc - optind, argv + optind);
  if (o.config == NULL)
    return options_fail_usage("a configuration is needed: smpl-bastion -c FILE");
  if (o.verbose)
    log_init("smpl-bastion", LOG_LEVEL_DEBUG);
  return broker_run(o.config, &commands_asked);
}
