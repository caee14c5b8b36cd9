/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/cli/options.h"

#include <stddef.h>
#include <stdio.h>

enum {
  OPT_SOCKET = OPTION_LONG,
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

#define AT(member) .at = offsetof(options_t, member)

static const option_row_t rows[] = {
    {'c', "config", "FILE", AT(config), .help = "the configuration, smpl-bastion.yaml(5)"},
    {OPT_SOCKET, "socket", "PATH", AT(asked.socket),
     .help = "the control socket, where no configuration is given (default: ./bastion.sock)"},
    {OPT_JSON, "json", NULL, AT(asked.json), .help = "prints the answer as JSON"},
    {OPT_USER, "user", "U", AT(asked.user)},
    {OPT_TARGET, "target", "T[:PORT]", AT(asked.target)},
    {OPT_SINCE, "since", "T", AT(asked.since)},
    {OPT_UNTIL, "until", "T", AT(asked.until)},
    {OPT_REASON, "reason", "TEXT", AT(asked.reason)},
    {OPT_WATCH, "watch", "[=SECONDS]", AT(watch)},
    {OPT_HEAD, "head", "HASH", AT(head)},
    {'v', "verbose", NULL, AT(verbose), .help = "logs more"},
    {'h', "help", NULL, AT(help), .help = "prints this"},
    {OPT_VERSION, "version", NULL, AT(version), .help = "prints the version"},
};

const option_set_t option_rows = {OPTION_ROWS(rows)};

int options_fail_usage(const char *text)
{
  fprintf(stderr, "smpl-bastion: %s (see --help)\n", text);
  return EXIT_USAGE;
}

int options_fail(const diag_t *diag)
{
  fprintf(stderr, "smpl-bastion: %s\n", diag->text);
  return EXIT_FAILED;
}
