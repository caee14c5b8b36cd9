/* SPDX-License-Identifier: Apache-2.0 */
/* Which stores there are (app/store/), and how a service comes to its own. */
#pragma once

#include "app/http/handler.h"
#include "app/store/store.h"

/* Opens what env->database names, for the service "accounts", "config" or "flags". SMPL_EDENIED, SMPL_EINVAL
 * (corrupt, of another service, or newer than this program), SMPL_ESYS, SMPL_ENOMEM; diag names it. */
int stores_open(const service_env_t *env, const char *service, store_t **out, diag_t *diag);
/* service_t.tool, of that service. */
int stores_tool(const char *service, const tool_call_t *call, diag_t *diag);
/* service_t.check. */
void stores_check(store_t *store, void (*done)(void *ctx, int err, const char *why), void *ctx);
