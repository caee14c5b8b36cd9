/* SPDX-License-Identifier: Apache-2.0 */
/* A process that is made now and acts later. Its deed is settled before the tunnel's walls stand and before a
 * byte of the bastion is read. It has none of these walls. It waits for a word, and ends without one. Any
 * thread, one at a time. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

typedef struct later {
  pid_t pid; /* 0: none */
  int go;    /* -1: it was told */
  int report;
} later_t;

/* What it does. Returns, or its process executes something else; report_fd is closed by that. What it
 * returns, an errno or any number above 0 for a failure, is what later_start gives. */
typedef int (*later_work_t)(void *ctx);

/* False: no process or no pipe. */
bool later_make(later_t *l, later_work_t work, void *ctx);
/* Says the word. 0: it acts, or has acted; else what it returned. The process stays the caller's to wait for.
 */
int later_start(later_t *l);
/* Whether it still waits for the word. */
bool later_waits(const later_t *l);
/* It ends if it still waits. */
void later_drop(later_t *l);
