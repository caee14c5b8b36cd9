/* SPDX-License-Identifier: Apache-2.0 */
/* The commands about a service's database: backup, restore, resend. */
#pragma once

#include <stdbool.h>

#include "app/http/handler.h"

typedef struct tool_run {
  const char *name; /* of the command, for messages */
  tool_verb_t verb;
  const char *config;   /* the file that names service and database */
  const char *argument; /* NULL: none */
  bool force, trust_keys;
} tool_run_t;

/* Runs it: exit status 0, 1 (it failed, and changed nothing), 130 (given up on SIGINT or SIGTERM). */
int tools_run(const tool_run_t *tool, const service_t *const *services);
