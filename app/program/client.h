/* SPDX-License-Identifier: Apache-2.0 */
/* Commands for a running service, over its control socket. */
#pragma once

#include <stdbool.h>

#include "app/http/handler.h"

/* cmd: "status" or "reload". socket NULL: the one that the configuration file names, which may be broken
 * by now. Returns the exit status: 0, 1 with the reason on standard error, CONTROL_EXIT_ABSENT if no
 * program answers there. */
int client_ask(const char *cmd, const char *config, const char *socket, const service_t *const *services,
               bool json);
