/* SPDX-License-Identifier: Apache-2.0 */
/* A program of the system run to its end for what it prints. Any thread. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct capture {
  const char *const *argv; /* found in PATH */
  int in;                  /* its standard input; -1: /dev/null */
  int third;               /* its descriptor 3; 0: none */
  const char *variable;    /* NAME=VALUE that stands before our environment; NULL: none */
  bool alone;              /* without our terminal: it can ask nobody there */
  bool quiet;              /* its standard error goes nowhere, else to ours */
  size_t most;             /* bytes it may print */
  int ms;                  /* it may take; then it is killed */
  /* Where its process group stands while it runs: it gets one of its own, which is killed as a whole. NULL:
   * it stays in ours. The end of this process ends that group too (capture_end). */
  atomic_int *group;
} capture_t;

/* *text is what it printed, with a NUL, to be freed; NULL: too much, too late or no memory. *fine: it ended
 * by itself with 0. Returns 0, or the errno with which it could not be started (ENOENT: it is not there). */
int capture_run(const capture_t *c, char **text, bool *fine);

/* Kills what still runs in group. Any thread; NULL allowed. */
void capture_end(atomic_int *group);
