/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/cli/options.h"

#include <stdio.h>

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
