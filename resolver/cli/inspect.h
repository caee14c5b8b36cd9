/* SPDX-License-Identifier: Apache-2.0 */
/* `explain` and `matrix` as people meet them: of a running resolver over its control socket, or, with -c, of
 * a configuration without one. Rows of commands.c. */
#pragma once

#include "resolver/cli/commands.h"

int inspect_explain(const command_t *c, const arguments_t *a, diag_t *diag);

/* a->expect is NULL or a file that `matrix --json` wrote: the differences are printed instead of the table,
 * and any is SMPL_EINVAL. */
int inspect_matrix(const command_t *c, const arguments_t *a, diag_t *diag);
