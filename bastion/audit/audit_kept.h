/* SPDX-License-Identifier: Apache-2.0 */
/* The audit's last head, kept in the folder `state`: with it a start sees whether the file that it finds is
 * the one that was written. It may lag behind the file by a moment, never run ahead of it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bastion/limits.h"

typedef struct audit_kept {
  uint64_t seq; /* 0: nothing is kept */
  char head[AUDIT_HASH_TEXT];
} audit_kept_t;

/* seq 0 where there is none or, with a warning in the log, it cannot be read; state may be NULL. */
void audit_kept_read(const char *state, audit_kept_t *out);
/* Replaces it; sync: and waits for the disk. SMPL_ESYS with errno. */
int audit_kept_write(const char *state, const audit_kept_t *kept, bool sync);
