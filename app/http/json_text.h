/* SPDX-License-Identifier: Apache-2.0 */
/* JSON values as text for people and programs. */
#pragma once

#include <jansson.h>

/* Compact text, malloc'ed; NULL when out of memory or json is NULL. Numbers read back as the same double, and
 * are written with 15 or 16 digits where those are enough for all of the document: 0.1, not
 * 0.10000000000000001. */
char *json_text(const json_t *json);
