/* SPDX-License-Identifier: Apache-2.0 */
/* What the program does for people besides serving: check a configuration, ask a running resolver. Each
 * prints its result on standard output and returns 0, or an error with its message in diag. */
#pragma once

#include <stdbool.h>

#include "common/base/diag.h"

/* Reads configuration and zones, prints what each view sees. */
int commands_check(const char *config, diag_t *diag);

/* Where a resolver is asked unless told. */
extern const char commands_default_socket[];

/* True for status, reload, zones, stats. */
bool commands_known(const char *cmd);

/* Asks the resolver behind the control socket: socket, or the configuration's, or ./resolver.sock; either
 * may be NULL. */
int commands_ask(const char *cmd, const char *socket, const char *config, bool json, diag_t *diag);
