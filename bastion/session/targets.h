/* SPDX-License-Identifier: Apache-2.0 */
/* smpl-control's `targets`: what a user's grants name, and below each wildcard the services that DNS lists
 * there and the grants cover. And the nearest of these names to one that was mistyped. */
#pragma once

#include <jansson.h>

#include "bastion/session/session.h"

/* Makes known what targets_list and targets_nearest look into. cb as of catalog_gather. */
void targets_gather(session_t *s, catalog_cb cb, void *ctx, catalog_gather_t **out);
/* smpl-control's answer; budget is the bytes that its rows may have. */
json_t *targets_list(const session_t *s, size_t budget);
/* The name nearest to this final one that targets_list has, if only a letter or two are between them. nearest
 * of GRANT_NAME_MAX bytes. */
bool targets_nearest(const session_t *s, const char *name, char *nearest);
/* Whether asked, a name below domain, is name without some of its labels before the domain. Pure. */
bool targets_is_short_for(const char *asked, const char *domain, const char *name);
