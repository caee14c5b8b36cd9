/* SPDX-License-Identifier: Apache-2.0 */
/* Checks audit files: numbers without gaps, each record with the hash of the one before, the last line whole.
 */
#pragma once

#include "bastion/audit/audit_file.h"
#include "common/base/diag.h"

typedef struct audit_verify {
  uint64_t first, last;       /* numbers; last is 0 without a record */
  char head[AUDIT_HASH_TEXT]; /* of the last record */
  const char *wanted;         /* a head that was kept elsewhere: it must be some record's hash. NULL: none */
  uint64_t wanted_seq;        /* where it was found; 0: it was not */
} audit_verify_t;

/* Zeroed but for wanted before the first file; files that follow one another (rotated) are given in order to
 * the same state. diag says "path:line: what is wrong". */
int audit_verify_file(audit_verify_t *v, const char *path, diag_t *diag);
