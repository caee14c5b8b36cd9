/* SPDX-License-Identifier: Apache-2.0 */
/* The tunnel itself: binds, connects, learns the targets, checks them, says ready, and carries connections
 * until it is told to end. A session that is lost is replaced by another behind the same local ports. */
#pragma once

#include "tunnel/limits.h"
#include "tunnel/base/exit.h"
#include "tunnel/run/task.h"
#include "tunnel/base/say.h"

/* Prints how it ended; returns the exit status. */
int tunnel_run(const task_t *task, say_t *say);
