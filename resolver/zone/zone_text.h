/* SPDX-License-Identifier: Apache-2.0 */
/* From a master file to a zone: directives, owners, TTLs, classes; scan.h before it, rdata.h and
 * zone_build.h behind it. */
#pragma once

#include <stddef.h>

#include "common/base/diag.h"
#include "common/dns/dns_wire.h"
#include "resolver/zone/zone.h"

/* Reads the master file at path (and what it includes) as the zone `name` (as configured) with this
 * lower-case origin. On error *out is NULL and diag says "path:line: what is wrong". Any thread. */
int zone_read_file(const char *name, const dns_name_t *origin, const char *path, zone_contents_t **out,
                   diag_t *diag);

/* The same for a text in memory; path is for messages and for finding what is included. */
int zone_read_text(const char *name, const dns_name_t *origin, const char *path, const char *text, size_t len,
                   zone_contents_t **out, diag_t *diag);
