/* SPDX-License-Identifier: Apache-2.0 */
/* Running one service until a signal ends it. */
#pragma once

#include "app/http/handler.h"

/* Serves what the configuration file says; returns the exit status. */
int run(const char *path, const service_t *const *services);
