/* SPDX-License-Identifier: Apache-2.0 */
/* What the program does besides serving, one row each (commands.c): over the control socket and on the
 * command line. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/diag.h"
#include "common/conf/command.h"
#include "common/conf/option.h"
#include "resolver/control/server.h"

enum { COMMANDS_ROLE = SERVER_ROLE + 1 /* of the command line: it may do all */ };

typedef struct arguments {
  char *const *words; /* behind the command */
  int word_count;
  const char *config, *socket, *from, *listener, *expect; /* NULL: not given */
  bool json, help, version;
} arguments_t;

typedef struct command {
  server_command_t served; /* first: what the server needs of a row */
  /* Prints the result on standard output and returns 0, or an error with its message in diag. */
  int (*run)(const struct command *c, const arguments_t *a, diag_t *diag);
  void (*print)(const json_t *reply); /* what the running resolver answered; NULL: run does it */
} command_t;

extern const command_set_t commands;
extern const option_set_t option_rows; /* of an arguments_t */

/* Where a resolver is asked unless told. */
extern const char commands_default_socket[];
