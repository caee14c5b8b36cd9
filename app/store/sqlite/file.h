/* SPDX-License-Identifier: Apache-2.0 */
/* The SQLite store of each service. */
#pragma once

#include "app/http/handler.h"
#include "app/store/store.h"

/* As stores_open and stores_tool; env->database is the file's path. */
int file_open(const service_env_t *env, const char *service, store_t **out, diag_t *diag);
int file_tool(const char *service, const tool_call_t *call, diag_t *diag);
