/* SPDX-License-Identifier: Apache-2.0 */
/* `metrics:` of every program's configuration: an address with port alone, or with the names by which the
 * metrics are asked for. */
#pragma once

#include <stdbool.h>

#include "common/conf/conf.h"
#include "common/base/diag.h"
#include "common/base/ip.h"

enum { METRICS_HOSTS_MAX = 16 };

typedef struct metrics_conf {
  endpoint_t address; /* port 0: no metrics */
  bool free_bind;     /* the program's key, put in after decoding */
  conf_list_t hosts;  /* const char *, names or addresses that a Host may have besides the listener's own */
} metrics_conf_t;

/* For a field of the shape CONF_ONE_OR_MAP. */
extern const conf_map_t metrics_conf_map;

/* After decoding: the port is there, each host is a name or an address without a port. */
int metrics_conf_check(const conf_t *conf, const metrics_conf_t *metrics, diag_t *diag);
bool metrics_conf_same(const metrics_conf_t *a, const metrics_conf_t *b);
