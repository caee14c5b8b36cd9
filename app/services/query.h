/* SPDX-License-Identifier: Apache-2.0 */
/* What the query of a list asks for. */
#pragma once

#include "app/http/handler.h"
#include "app/store/jsonapi.h"

/* Reads the query. False: a 400 that names the parameter was replied. */
bool query_list(request_t *request, const jsonapi_list_spec_t *spec, jsonapi_list_t *list);
/* A boolean filter: -1 if it was not asked for; else 0 or 1. False: a 400 was replied. */
bool query_bool(request_t *request, const char *name, const char *text, int *out);
