/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of smpl-app: one table for the command line and for the control socket. */
#pragma once

#include <stdbool.h>

#include "app/http/handler.h"
#include "app/program/admin.h"
#include "common/conf/command.h"
#include "common/conf/option.h"

enum { COMMANDS_ROLE = ADMIN_ROLE + 1 }; /* of the command line: it may do all */

typedef struct command command_t;

/* What the command line says; borrowed. */
typedef struct arguments {
  const service_t *const *services; /* all there are, ending with NULL */
  char *const *words;               /* behind the command */
  int word_count;
  const char *config, *service, *socket; /* NULL: not given */
  bool json, force, trust_keys, help, version;
} arguments_t;

/* command_t, and first in each an admin_command_t, for run. */
extern const command_set_t commands;
extern const option_set_t option_rows; /* of an arguments_t */

/* Which command the words name, and whether the options in a go with it; puts the words behind it into a.
 * NULL in *out: no command, the service is to run. SMPL_EINVAL and SMPL_ENOENT: diag has what is wrong. */
int commands_take(int argc, char **argv, arguments_t *a, const command_t **out, diag_t *diag);
/* Runs it; returns the exit status. */
int commands_run(const command_t *command, const arguments_t *a);
