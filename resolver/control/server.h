/* SPDX-License-Identifier: Apache-2.0 */
/* The running resolver: the main thread's loop (signals, control socket), the workers, the reload. */
#pragma once

#include "common/base/diag.h"

/* Serves until SIGTERM or SIGINT. 0 after a clean end; otherwise diag says why it could not start. Main
 * thread. */
int server_run(const char *config, diag_t *diag);
