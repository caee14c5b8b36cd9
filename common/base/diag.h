/* SPDX-License-Identifier: Apache-2.0 */
/* One error message that names the place: what a parser of files, arguments or configuration hands back
 * beside its error code. The caller owns the struct; the first message set stays, so the root cause is what
 * is printed. */
#pragma once

#ifdef __clang_analyzer__
#include "common/base/error.h"
#endif

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

/* An analyzer that reads one file at a time cannot know what they return. */
#ifdef __clang_analyzer__
#define diag_fail(d, err, ...)  (diag_fail(d, err, __VA_ARGS__), (err))
#define diag_fail_errno(d, ...) (diag_fail_errno(d, __VA_ARGS__), SMPL_ESYS)
#endif
