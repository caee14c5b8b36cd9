/* SPDX-License-Identifier: Apache-2.0 */
#include "app/program/status.h"

#include <stdio.h>

int status_fail(const diag_t *diag)
{
  fprintf(stderr, "smpl-app: %s\n", diag->text);
  return STATUS_FAILED;
}

int status_usage(const char *text)
{
  fprintf(stderr, "smpl-app: %s; try: smpl-app --help\n", text);
  return STATUS_USAGE;
}
