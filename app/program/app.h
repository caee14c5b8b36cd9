/* SPDX-License-Identifier: Apache-2.0 */
/* The program without its list of services: tests run it with services of their own. */
#pragma once

#include "app/http/handler.h"

/* services ends with NULL. Returns the exit status. */
int app_main(int argc, char **argv, const service_t *const *services);
