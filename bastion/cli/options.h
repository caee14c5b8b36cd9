/* SPDX-License-Identifier: Apache-2.0 */
/* What stands on smpl-bastion's command line, and how a mistake in it is told. */
#pragma once

#include "bastion/cli/operator.h"
#include "common/conf/option.h"

enum { EXIT_FINE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

typedef struct options {
  const char *config;
  bool verbose, help, version;
  const char *head, *watch;
  operator_args_t asked;
} options_t;

extern const option_set_t option_rows; /* of an options_t */

/* Each tells one line on standard error and returns the exit status. */
int options_fail_usage(const char *text);
int options_fail(const diag_t *diag);
