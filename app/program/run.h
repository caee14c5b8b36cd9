/* SPDX-License-Identifier: Apache-2.0 */
/* Running one service until a signal ends it. */
#pragma once

#include "app/http/handler.h"
#include "common/conf/command.h"

/* Serves what the configuration file says; returns the exit status. commands: what the control socket offers,
 * admin_command_t. */
int run(const char *path, const service_t *const *services, const command_set_t *commands);
