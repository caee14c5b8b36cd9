/* SPDX-License-Identifier: Apache-2.0 */
/* What the user wants: command line, then environment, then tunnel.yaml, then the defaults. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tunnel/limits.h"
#include "common/conf/conf.h"
#include "common/base/diag.h"
#include "common/conf/command.h"
#include "common/conf/option.h"
#include "tunnel/base/say.h"
#include "tunnel/run/job.h"
#include "tunnel/run/task.h"

typedef struct options options_t;

/* A row of the commands' table: the first word, when it has no colon. */
typedef struct cli_command {
  command_row_t row;
  const char *wants;                                /* what is expected behind it, for a message */
  int (*run)(const options_t *options, say_t *say); /* returns the exit status */
  const job_t *job;                                 /* what it asks the bastion; NULL: nothing */
  bool about_target;                                /* its word is a target */
  bool from_sets; /* its words are sets of tunnel.yaml, whose forwards are made */
  bool local;     /* it asks nobody but this machine, and needs no bastion */
} cli_command_t;

struct options {
  const cli_command_t *command; /* NULL: forwards follow */
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
};

/* Reads all sources; commands has rows of cli_command_t. SMPL_EINVAL (SMPL_EDENIED) is a fault of the command
 * line; *in_file tells that it is one of tunnel.yaml instead. options_free afterwards in any case. */
int options_read(int argc, char **argv, const command_set_t *commands, options_t *out, bool *in_file,
                 diag_t *diag);
void options_free(options_t *options);

/* The options, a row each. */
extern const option_set_t option_rows;
