/* SPDX-License-Identifier: Apache-2.0 */
/* The broker process: everything of the bastion but SSH itself. */
#pragma once

#include <stddef.h>

#include "common/base/diag.h"

/* Runs in the foreground until SIGTERM or SIGINT. Returns the exit status. */
int broker_run(const char *config_path);
/* The path of smpl-bastion-worker, which stands beside our own executable. */
int broker_find_worker(char *path, size_t cap, diag_t *diag);
