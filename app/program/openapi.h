/* SPDX-License-Identifier: Apache-2.0 */
/* The OpenAPI 3.1 document, written from the same table that routes. */
#pragma once

#include "app/http/handler.h"
#include "app/http/router.h"

/* Documents every route that has an operation_id. SMPL_EINVAL if a schema, example or parameter is not JSON
 * or a route names a schema that does not exist: diag names it. *out is a new reference. */
int openapi_document(const service_t *service, const route_source_t *sources, size_t source_count,
                     json_t **out, diag_t *diag);
