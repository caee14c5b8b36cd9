/* SPDX-License-Identifier: Apache-2.0 */
/* The files that an audit was rotated into: beside it, with its name and a number or date behind it, as
 * logrotate names them. */
#pragma once

#include <stddef.h>

#include "bastion/limits.h"
#include "common/base/diag.h"

typedef struct rotated {
  char **paths; /* by their first records' numbers; the audit itself, if it is there, stands among them */
  size_t count;
  size_t compressed; /* that are not read */
} rotated_t;

/* SMPL_ENOENT where there is none at all, SMPL_ELIMIT, SMPL_ESYS, SMPL_ENOMEM, with one line in diag. */
int rotated_find(const char *audit, rotated_t *out, diag_t *diag);
void rotated_free(rotated_t *r);
