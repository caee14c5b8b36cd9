/* SPDX-License-Identifier: Apache-2.0 */
/* What stands on smpl-bastion's command line, and how a mistake in it is told. */
#pragma once

#include "bastion/cli/operator.h"

enum { EXIT_FINE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

typedef struct options {
  const char *config;
  bool verbose;
  const char *head;
  operator_args_t asked;
} options_t;

/* Each tells one line on standard error and returns the exit status. */
int options_fail_usage(const char *text);
int options_fail(const diag_t *diag);
