/* SPDX-License-Identifier: Apache-2.0 */
/* The audit's disk: what is left of it, and who gives way when it is nearly full. */
#pragma once

#include <jansson.h>

#include "bastion/session/session.h"

/* audit_space_cb with the sessions_t: has whoever wrote most give way while the disk is nearly full. */
void space_judge(void *sessions, uint64_t free_bytes);
/* For `status`: free, reserve, low, and the users who are out. */
json_t *space_json(const sessions_t *all, const audit_status_t *a);
