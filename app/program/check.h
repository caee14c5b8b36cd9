/* SPDX-License-Identifier: Apache-2.0 */
/* The command `check`: what is wrong with a configuration, or what follows from it. */
#pragma once

#include "app/http/handler.h"

/* Prints it. Returns the exit status. */
int check_run(const char *path, const service_t *const *services);
