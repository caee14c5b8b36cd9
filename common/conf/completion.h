/* SPDX-License-Identifier: Apache-2.0 */
/* Completion for shells: a script for bash, zsh or fish, from the rows of a program's commands and options.
 * If a row names a list, the script asks `PROGRAM completion LIST` for its words. Any thread. */
#pragma once

#include <stdio.h>

#include "common/base/diag.h"
#include "common/conf/command.h"
#include "common/conf/option.h"

/* The shells, as a command's row has them in `completes`. */
#define COMPLETION_SHELLS "bash zsh fish"

typedef struct completion {
  const command_set_t *commands; /* with its program */
  const option_set_t *options;
  /* What the program completes besides commands and options, in each shell's language: branches of an if
   * (bash, zsh), lines (fish). NULL: nothing. */
  const char *bash, *zsh, *fish;
} completion_t;

/* Writes the script. SMPL_ENOENT, and diag has the text: there is no such shell. */
int completion_print(const completion_t *completion, const char *shell, FILE *to, diag_t *diag);
