/* SPDX-License-Identifier: Apache-2.0 */
/* The rules for a flag: pure, over JSON, without storage. Evaluation itself happens in the SDKs. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "app/store/jsonapi.h"
#include "app/store/problem.h"

enum {
  FLAG_NAME_MAX = 255,
  FLAG_DESCRIPTION_MAX = 1000,
  FLAG_VALUES_MAX = 1000,         /* of a constrained flag */
  FLAG_ENVIRONMENTS_MAX = 100,    /* in one flag */
  FLAG_RULES_MAX = 1000,          /* in one environment */
  FLAG_KEY_MAX = 255,             /* characters of an environment's key */
  FLAGS_MAX = 10000,              /* in one account */
  FLAG_SCAN_BYTES_MAX = 16 << 20, /* of environments that a list with a context looks through */
  FLAG_PARSE_BYTES_MAX = 4 << 20, /* the same, of those that name the context's type anywhere */
};

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
