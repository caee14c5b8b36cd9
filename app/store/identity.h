/* SPDX-License-Identifier: Apache-2.0 */
/* Which database this is. Each file has an id, made with it, and an epoch, made with it and anew by each
 * restore. It also counts what the account service told it (heard). Together they tell the account service
 * that a sister's database is another one than before, or an older one: then everything is told again. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "app/store/ident.h"

typedef struct identity {
  char database[UUID_TEXT_MAX];
  char epoch[UUID_TEXT_MAX];
  int64_t heard; /* what changed by a call of the account service; never goes back but by another file */
} identity_t;

/* {"database": id, "epoch": id, "heard": n}, as sisters report it; NULL when out of memory. */
json_t *identity_report(const identity_t *identity);
/* What a sister reported, in `meta` of its answer. False if it said nothing of the kind. */
bool identity_of_report(const json_t *body, identity_t *out);
