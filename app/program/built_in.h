/* SPDX-License-Identifier: Apache-2.0 */
/* A service as the front sees it: its own routes and the built-in ones that every service has. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "app/http/front.h"
#include "app/http/handler.h"
#include "app/http/router.h"
#include "common/net/prom_text.h"

typedef struct built_in built_in_t;

/* What the built-in routes tell of the running program, read when a request is served. */
typedef struct program {
  void *service; /* its state; NULL until it is open */
  const front_t *front;
  prom_program_t about;
  bool restart; /* the file says what takes effect after a restart only */
  int statm;    /* /proc/self/statm, open from the start on; 0: not there */
  bool leaving; /* told to end: no balancer should send requests any more */
} program_t;

/* Prepares /internal/v1/health, /internal/v1/ready, /openapi.json, /docs and its files, and / for the
 * service. program is borrowed. */
int built_in_new(const service_t *service, const program_t *program, built_in_t **out, diag_t *diag);
void built_in_free(built_in_t *built_in);

enum { SERVICE_SOURCES = 2 };

/* Where a listener's table takes its routes from: the service's own (called with its state) and the built-in
 * ones. */
void built_in_sources(const built_in_t *built_in, const service_t *service, void *state,
                      route_source_t sources[SERVICE_SOURCES]);
