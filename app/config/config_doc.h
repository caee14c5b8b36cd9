/* SPDX-License-Identifier: Apache-2.0 */
/* The config service's words: what its OpenAPI document says. */
#pragma once

#include "app/http/handler.h"

extern const schema_t config_schemas[];
extern const char config_create_example[], config_replace_example[];
extern const route_parameter_t config_list_parameters[], config_get_parameters[], config_id_parameters[];
extern const route_response_t config_create_responses[], config_list_responses[], config_get_responses[],
    config_replace_responses[], config_delete_responses[];
