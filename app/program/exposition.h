/* SPDX-License-Identifier: Apache-2.0 */
/* All numbers of the program as Prometheus reads them (text format 0.0.4): its own, those of the http side
 * and the service's. Loop's thread. */
#pragma once

#include <stddef.h>

#include "app/limits.h"
#include "app/program/built_in.h"

/* What a service says of itself (service_t.gauges). */
typedef struct exposition_numbers {
  size_t count;
  struct {
    const char *name, *help; /* literals */
    double value;
  } rows[EXPOSITION_NUMBERS_MAX];
} exposition_numbers_t;

/* One that finds no place is left out. */
void exposition_add(exposition_numbers_t *numbers, const char *name, const char *help, double value);

/* The text, malloc'ed; NULL when out of memory. */
char *exposition_text(const program_t *program, const exposition_numbers_t *numbers, size_t *len);
