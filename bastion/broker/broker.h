/* SPDX-License-Identifier: Apache-2.0 */
/* The broker process: everything of the bastion but SSH itself. */
#pragma once

#include <stddef.h>

#include "common/base/diag.h"
#include "common/conf/command.h"

/* Runs in the foreground until SIGTERM or SIGINT. commands: admin_command_t, those of the control socket.
 * Returns the exit status. */
int broker_run(const char *config_path, const command_set_t *commands);
/* The path of smpl-bastion-worker, which stands beside our own executable. */
int broker_find_worker(char *path, size_t cap, diag_t *diag);
