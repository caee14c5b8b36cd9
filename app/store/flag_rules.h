/* SPDX-License-Identifier: Apache-2.0 */
/* The rules for a flag: pure, over JSON, without storage. Evaluation itself happens in the SDKs. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "app/limits.h"
#include "app/store/jsonapi.h"
#include "app/store/problem.h"

/* "BOOLEAN", "STRING", "NUMERIC" or "JSON" in any case, as that literal; NULL for anything else. */
const char *flag_type(const char *text);

/* Everything that must hold of the attributes: shapes; default, values and every environment's default and
 * rules of the flag's type, and among its values if it has some. */
int flag_check(const json_t *attributes, problem_t *problem);

/* The environments with what may be left out filled in: enabled true, default null, no rules. NULL when out
 * of memory. */
json_t *flag_environments(const json_t *attributes);

/* Whether a rule of any environment mentions the context type ({"var": "TYPE..."}), or with key not NULL,
 * compares TYPE.key with that very key. */
bool flag_references(const json_t *environments, const char *context_type, const char *key);

/* What a list of flags understands. */
extern const jsonapi_list_spec_t flag_list_spec;
enum {
  FLAG_FILTER_TYPE,
  FLAG_FILTER_MANAGED,
  FLAG_FILTER_CONTEXT,
  FLAG_FILTER_CONTEXT_TYPE,
  FLAG_FILTER_SEARCH
};
