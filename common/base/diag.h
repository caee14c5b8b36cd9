/* SPDX-License-Identifier: Apache-2.0 */
/* One error message that names the place: what a parser of files, arguments or configuration hands back
 * beside its error code. The caller owns the struct; the first message set stays, so the root cause is what
 * is printed. */
#pragma once

enum { DIAG_TEXT_MAX = 1024 };

typedef struct diag {
  char text[DIAG_TEXT_MAX]; /* one line without newline, control characters escaped; "" while nothing is wrong
                             */
} diag_t;

/* Writes the message unless one stands already (d may be NULL), and returns err, so that `return
 * diag_fail(...)` reads well. */
int diag_fail(diag_t *d, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The same with ": strerror(errno)" appended; returns SMPL_ESYS. */
int diag_fail_errno(diag_t *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
