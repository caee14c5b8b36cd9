/* SPDX-License-Identifier: Apache-2.0 */
/* `resolver:` of every program's configuration: which DNS servers it asks, and from where. */
#pragma once

#include <stdbool.h>

#include "common/conf/conf.h"
#include "common/base/diag.h"
#include "common/base/ip.h"
#include "common/dns/lookup.h"

typedef struct resolver_conf {
  conf_list_t servers; /* endpoint_t, from 1 to LOOKUP_SERVERS_MAX, best liked first; 0: no `resolver:` */
  ip_t source;         /* to ask from */
  bool has_source;     /* set by resolver_conf_check */
} resolver_conf_t;

/* For a field of the shape CONF_MAP. */
extern const conf_map_t resolver_conf_map;

/* After decoding: each server has a port, is there once, and can be asked from source. */
int resolver_conf_check(const conf_t *conf, resolver_conf_t *resolver, diag_t *diag);
bool resolver_conf_same(const resolver_conf_t *a, const resolver_conf_t *b);

/* For lookup_new; borrows from resolver. */
lookup_conf_t resolver_conf_lookup(const resolver_conf_t *resolver);
