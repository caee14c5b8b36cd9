/* SPDX-License-Identifier: Apache-2.0 */
/* The OpenAPI 3.1 document, written from the table that routes and from files of JSON (api_file_t). A file
 * has "operations" by operation_id (tag, summary, description, example, parameters, responses), "schemas" by
 * name (JSON Schema 2020-12, $ref to "#/components/schemas/NAME"), and groups of "parameters" and
 * "responses". A name in an operation's list of parameters or responses stands for a group of any file. */
#pragma once

#include "app/http/handler.h"
#include "app/http/router.h"

/* Documents every route that has an operation_id. SMPL_EINVAL if a file is not JSON, or a route or file names
 * what no file has: diag names it. *out is a new reference. */
int openapi_document(const service_t *service, const route_source_t *sources, size_t source_count,
                     json_t **out, diag_t *diag);
