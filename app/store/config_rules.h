/* SPDX-License-Identifier: Apache-2.0 */
/* The rules for a config: pure, over JSON, without storage. A "types map" is an object of item keys to
 * "STRING", "NUMBER", "BOOLEAN" or "JSON". */
#pragma once

#include <jansson.h>

#include "app/limits.h"
#include "app/store/jsonapi.h"
#include "app/store/problem.h"

/* Members and their shapes, as far as the body alone tells. */
int config_check_shape(const json_t *attributes, problem_t *problem);

/* Gives every item its type: what the body says, else what it has been here (own; NULL for a new config),
 * else an ancestor's, else what the value looks like. Refused: a type other than the item has had here or
 * than an ancestor declares; a value that is not of its type. *items (a new reference) holds value, type and
 * description of each. */
int config_type_items(const json_t *attributes, const json_t *own, const json_t *inherited, json_t **items,
                      problem_t *problem);

/* Every override names an item that is declared here or by an ancestor, and has its type. */
int config_check_overrides(const json_t *attributes, const json_t *items, const json_t *inherited,
                           problem_t *problem);

/* What a list of configs understands. */
extern const jsonapi_list_spec_t config_list_spec;
enum { CONFIG_FILTER_PARENT, CONFIG_FILTER_SEARCH, CONFIG_FILTER_MANAGED };
