/* A service as the front sees it: its own routes and the built-in ones that every service has. */
#pragma once

#include <stddef.h>

#include "app/handler.h"
#include "app/router.h"

typedef struct built_in built_in_t;

/* Prepares /internal/v1/health, /openapi.json, /docs and its files, and / for the service. state_of_service is read when
 * a request is served (health asks the service whether its storage answers). */
int built_in_new(const service_t *service, void *const *state_of_service, built_in_t **out, diag_t *diag);
void built_in_free(built_in_t *built_in);

enum { SERVICE_SOURCES = 2 };

/* Where a listener's table takes its routes from: the service's own (called with its state) and the built-in ones. */
void built_in_sources(const built_in_t *built_in, const service_t *service, void *state,
                      route_source_t sources[SERVICE_SOURCES]);
