/* SPDX-License-Identifier: Apache-2.0 */
/* Exit statuses of smpl-app, and how what goes with them is told. CONTROL_EXIT_ABSENT is one more. */
#pragma once

#include "common/base/diag.h"

enum { STATUS_OK = 0, STATUS_FAILED = 1, STATUS_USAGE = 2, STATUS_STOPPED = 130 };

/* Print the one line and return the status: STATUS_FAILED, or STATUS_USAGE with a hint at --help. */
int status_fail(const diag_t *diag);
int status_usage(const char *text);
