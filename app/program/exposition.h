/* SPDX-License-Identifier: Apache-2.0 */
/* All numbers of the program as Prometheus reads them (text format 0.0.4): its own, those of the http side
 * and the service's. Loop's thread. */
#pragma once

#include <stddef.h>

#include "app/program/built_in.h"

/* The text, malloc'ed; NULL when out of memory. */
char *exposition_text(const service_t *service, const program_t *program, size_t *len);
