/* SPDX-License-Identifier: Apache-2.0 */
/* A view: a name and the zones that its clients may see. The only way to a zone's records. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "resolver/zone/zone.h"

typedef struct view view_t;

/* zones are borrowed and outlive the view; no two have the same origin (SMPL_EEXIST). SMPL_ENOMEM. */
int view_new(const char *name, zone_t *const *zones, size_t count, view_t **out);
void view_free(view_t *view);

const char *view_name(const view_t *view);
size_t view_zone_count(const view_t *view);

/* The zone of the longest origin at or above name (lower-case); false when the view has none. Never looks
 * at what other views hold (invariant 2). For DS, RFC 4035 section 3.1.4.1: at an origin the zone above
 * answers, if the view has it. */
bool view_zone_for(const view_t *view, const dns_name_t *name, uint16_t type, zone_in_view_t *out);
