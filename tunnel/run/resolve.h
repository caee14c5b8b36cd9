/* SPDX-License-Identifier: Apache-2.0 */
/* Asking the bastion for a route's name, host and port. */
#pragma once

#include "tunnel/run/life.h"
#include "tunnel/run/link.h"
#include "tunnel/run/route.h"

/* What asking has to do with; it must live as long as the questions. */
typedef struct resolve {
  life_t *life;
  link_t *link;
  routes_t *routes;
} resolve_t;

/* again: after ready, once more, where things may have moved. Of a server that cannot be asked, the route
 * stays as it is. */
void resolve_ask(const resolve_t *r, route_t *route, bool again);
