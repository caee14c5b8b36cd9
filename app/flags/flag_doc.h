/* SPDX-License-Identifier: Apache-2.0 */
/* The flags service's words: what its OpenAPI document says. */
#pragma once

#include "app/http/handler.h"

extern const schema_t flag_schemas[];
extern const char flag_create_example[], flag_replace_example[];
extern const route_parameter_t flag_list_parameters[], flag_id_parameters[];
extern const route_response_t flag_create_responses[], flag_list_responses[], flag_get_responses[],
    flag_replace_responses[], flag_delete_responses[];
