/* SPDX-License-Identifier: Apache-2.0 */
/* The networks of a listener's views. The load flattens them into sorted disjoint ranges per address family,
 * so one binary search finds the most specific network of an address (view_choice.h). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/ip.h"

typedef struct network {
  ip_net_t net;
  uint32_t value; /* what an address in this network stands for: the view's number */
} network_t;

enum { NETWORKS_NONE = UINT32_MAX }; /* the value of an address that no network holds */

typedef struct networks networks_t;

/* Of networks[0..count), the most specific that holds an address gives its value. The same network twice
 * with one value is fine; with two values it is SMPL_EEXIST and *tie_a, *tie_b (may be NULL) are the
 * positions of both. *out is NULL on error; the caller frees it. SMPL_ENOMEM. */
int networks_flatten(const network_t *networks, size_t count, networks_t **out, size_t *tie_a, size_t *tie_b);
void networks_free(networks_t *networks);

/* Any thread. */
uint32_t networks_find(const networks_t *networks, const ip_t *ip);

/* How many ranges both families were cut into. */
size_t networks_ranges(const networks_t *networks);
