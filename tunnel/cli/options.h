/* SPDX-License-Identifier: Apache-2.0 */
/* What the user wants: command line, then environment, then tunnel.yaml, then the defaults. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tunnel/limits.h"
#include "common/conf/conf.h"
#include "common/base/diag.h"
#include "tunnel/run/task.h"

/* The first word, when it has no colon. */
typedef enum command {
  COMMAND_FORWARD, /* none: forwards follow */
  COMMAND_UP,      /* the same, with forwards of tunnel.yaml */
  COMMAND_LS,
  COMMAND_WHOAMI,
  COMMAND_WHY,
  COMMAND_STATUS,
  COMMAND_STOP,
  COMMAND_COMPLETION,
} command_t;

typedef struct options {
  command_t command;
  const char *words[WORDS_MAX]; /* what follows the command */
  size_t word_count;
  const char *sets[SETS_MAX]; /* the names of those in tunnel.yaml */
  size_t set_count;
  task_t task;
  const char *config; /* -c; NULL: not given */
  bool core_dumps;    /* harden_core_dumps */
  bool gateway;       /* listeners may be reached from other machines */
  bool quiet;
  unsigned verbose;
  bool json;
  bool help;
  bool version;
  conf_t *conf;                                  /* owns strings that come from tunnel.yaml */
  char *paths[IDENTITIES_MAX + KNOWN_HOSTS_MAX]; /* owned */
  size_t path_count;
} options_t;

/* Reads all sources. SMPL_EINVAL (SMPL_EDENIED) is a fault of the command line; *in_file tells that it is one
 * of tunnel.yaml instead. options_free afterwards in any case. */
int options_read(int argc, char **argv, options_t *out, bool *in_file, diag_t *diag);
void options_free(options_t *options);

const char *options_usage(void);
/* The words that are commands, NULL at the end. */
const char *const *options_commands(void);
