/* SPDX-License-Identifier: Apache-2.0 */
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/process/crash.h"
#include "common/net/control.h"
#include "common/base/error.h"
#include "common/process/harden.h"
#include "common/base/log.h"
#include "resolver/cli/commands.h"
#include "resolver/cli/inspect.h"
#include "resolver/control/server.h"

static const char program[] = "smpl-resolver";

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static const char help[] =
    "usage: smpl-resolver -c FILE                 serve in the foreground\n"
    "       smpl-resolver check -c FILE           read configuration and zones, say what each view sees\n"
    "       smpl-resolver COMMAND [-c FILE | --socket PATH] [--json]\n"
    "\n"
    "Commands for a running resolver (over its control socket, ./resolver.sock unless told):\n"
    "  status   process, listeners, data, last reload\n"
    "  reload   read configuration and zones again, wait, say the result (SIGHUP does the same, and logs "
    "it)\n"
    "  zones    zones with serial, names, records, views\n"
    "  stats    counters by view and answer\n"
    "\n"
    "       smpl-resolver explain NAME [TYPE] --from ADDR [--listener ADDR:PORT] [-c FILE | --socket PATH] "
    "[--json]\n"
    "       smpl-resolver matrix [--expect FILE] [-c FILE | --socket PATH] [--json]\n"
    "\n"
    "Of a running resolver, or with -c of the configuration alone:\n"
    "  explain  the answer that a client gets, how it came about, what would have to change\n"
    "  matrix   names by views; --expect: differences from a table that --json wrote, status 1 if any\n"
    "\n"
    "  -c, --config FILE   configuration (YAML; see resolver/example/resolver.yaml)\n"
    "      --socket PATH   control socket\n"
    "      --json          the answer as JSON\n"
    "  -h, --help          this\n"
    "      --version\n"
    "\n"
    "Exit status: 0; 1 with the reason (a reload that failed has changed nothing); 2 wrong usage; 3 no "
    "resolver runs there.\n";

typedef struct arguments {
  const char *command;     /* NULL: serve */
  const char *name, *type; /* explain */
  const char *config, *socket, *from, *listener, *expect;
  bool json;
} arguments_t;

static int usage(const char *what, const char *word)
{
  fprintf(stderr, "%s: %s%s%s%s; try: %s --help\n", program, what, word != NULL ? " '" : "",
          word != NULL ? word : "", word != NULL ? "'" : "", program);
  return EXIT_USAGE;
}

static bool is(const arguments_t *a, const char *command)
{
  return a->command != NULL && strcmp(a->command, command) == 0;
}

/* What only some commands take. */
static int check_together(const arguments_t *a)
{
  bool explain = is(a, "explain");
  if (explain && a->name == NULL)
    return usage("a name is needed: explain NAME [TYPE] --from ADDR", NULL);
  if (explain && a->from == NULL)
    return usage("the client's address is needed: --from ADDR", NULL);
  if (!explain && (a->from != NULL || a->listener != NULL))
    return usage("--from and --listener go with explain", NULL);
  if (!is(a, "matrix") && a->expect != NULL)
    return usage("--expect goes with matrix", NULL);
  if ((explain || is(a, "matrix")) && a->config != NULL && a->socket != NULL)
    return usage("-c (without a running resolver) and --socket (a running one) exclude each other", NULL);
  return EXIT_OK;
}

/* EXIT_OK to go on; -1 when all is said and done. */
static int parse(int argc, char **argv, arguments_t *a)
{
  static const struct option options[] = {
      {"config", required_argument, NULL, 'c'},
      {"socket", required_argument, NULL, 's'},
      {"json", no_argument, NULL, 'j'},
      {"help", no_argument, NULL, 'h'},
      {"version", no_argument, NULL, 'V'},
      {"from", required_argument, NULL, 'f'},
      {"listener", required_argument, NULL, 'l'},
      {"expect", required_argument, NULL, 'e'},
      {NULL, 0, NULL, 0},
  };
  opterr = 0;
  int c;
  while ((c = getopt_long(argc, argv, ":c:h", options, NULL)) != -1) {
    switch (c) {
    case 'c':
      a->config = optarg;
      break;
    case 's':
      a->socket = optarg;
      break;
    case 'f':
      a->from = optarg;
      break;
    case 'l':
      a->listener = optarg;
      break;
    case 'e':
      a->expect = optarg;
      break;
    case 'j':
      a->json = true;
      break;
    case 'h':
      fputs(help, stdout);
      return -1;
    case 'V':
      printf("%s %s\n", program, SMPL_VERSION);
      return -1;
    case ':':
      return usage("a value is missing after", argv[optind - 1]);
    default:
      return usage("unknown option", argv[optind - 1]);
    }
  }
  if (optind < argc)
    a->command = argv[optind++];
  bool explain = is(a, "explain");
  if (explain && optind < argc)
    a->name = argv[optind++];
  if (explain && optind < argc)
    a->type = argv[optind++];
  if (optind < argc)
    return usage("too much:", argv[optind]);
  return check_together(a);
}

static int inspect(const arguments_t *a, diag_t *diag)
{
  inspect_t where = {a->config, a->socket, a->json};
  return is(a, "explain") ? inspect_explain(&where, a->name, a->type, a->from, a->listener, diag)
                          : inspect_matrix(&where, a->expect, diag);
}

int main(int argc, char **argv)
{
  arguments_t a = {0};
  diag_t diag = {""};
  if (harden_process()) {
    fprintf(stderr, "%s: cannot harden the process\n", program);
    return EXIT_FAILED;
  }
  log_init(program, LOG_LEVEL_INFO);
  crash_catch(program);
  int done = parse(argc, argv, &a);
  if (done != EXIT_OK)
    return done < 0 ? EXIT_OK : done;
  int err;
  if (a.command != NULL && commands_known(a.command)) {
    err = commands_ask(a.command, a.socket, a.config, a.json, &diag);
  } else if (is(&a, "explain") || is(&a, "matrix")) {
    err = inspect(&a, &diag);
  } else if (a.command != NULL && !is(&a, "check")) {
    return usage("unknown command", a.command);
  } else if (a.config == NULL) {
    return usage("a configuration is needed: -c FILE", NULL);
  } else {
    err = a.command != NULL ? commands_check(a.config, &diag) : server_run(a.config, &diag);
  }
  if (err)
    log_failure(program, diag.text[0] != '\0' ? diag.text : smpl_strerror(err));
  return is(&a, "check") || a.command == NULL ? (err ? EXIT_FAILED : EXIT_OK) : control_exit(err);
}
