/* SPDX-License-Identifier: Apache-2.0 */
/* A listener's route table. It is built from the rules and holds only what they admit (invariant 6): on a
 * public listener there is no internal route to find. Paths are split and compared raw; only a {parameter}'s
 * segment is decoded. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "app/gate/gate.h"
#include "app/http/handler.h"
#include "app/gate/rules.h"

typedef struct router router_t;

/* A route and what its handler is called with. */
typedef struct route_source {
  const route_t *routes;
  size_t count;
  void *context;
  void (*guard)(request_t *request, void *context); /* service_t.guard; NULL for none */
} route_source_t;

typedef struct route_match {
  const route_t *route; /* NULL: no route has this path, or none with this method */
  void *context;
  void (*guard)(request_t *request, void *context); /* of a route that needs a key; NULL for none */
  unsigned allowed; /* bit per method_t of the routes with this path; 0: no route has it */
  size_t parameter_count;
  span_t parameters[LIMIT_ROUTE_PARAMETERS]; /* raw, places in the path, in the pattern's order */
} route_match_t;

/* Takes from the sources every route that a rule admits. The routes are borrowed. SMPL_EINVAL (a malformed
 * pattern), SMPL_EEXIST (two routes with one method and shape), SMPL_ELIMIT, SMPL_ENOMEM, each with the
 * route's path in diag. */
int router_new(const rule_t *rules, size_t rule_count, const route_source_t *sources, size_t source_count,
               router_t **out, diag_t *diag);
void router_free(router_t *router);

/* path was admitted by the gate and by one of the rules. */
void router_find(const router_t *router, const uint8_t *path, size_t len, method_t method,
                 route_match_t *out);

size_t router_count(const router_t *router);
const route_t *router_route(const router_t *router, size_t index);
