/* SPDX-License-Identifier: Apache-2.0 */
/* `explain` and `matrix` as people meet them: of a running resolver over its control socket, or of a
 * configuration without one. Print on standard output; return 0, or an error with its message in diag. */
#pragma once

#include <stdbool.h>

#include "common/base/diag.h"

typedef struct inspect {
  const char *config; /* NULL: the running resolver behind socket (NULL: ./resolver.sock) */
  const char *socket;
  bool json;
} inspect_t;

/* type and listener may be NULL. */
int inspect_explain(const inspect_t *where, const char *name, const char *type, const char *from,
                    const char *listener, diag_t *diag);

/* expect is NULL or a file that `matrix --json` wrote: the differences are printed instead of the table,
 * and any is SMPL_EINVAL. */
int inspect_matrix(const inspect_t *where, const char *expect, diag_t *diag);
