/* SPDX-License-Identifier: Apache-2.0 */
/* Flags in storage: the writing jobs of the flags service, and its reads. */
#pragma once

#include "app/services/change.h"
#include "app/services/jsonapi.h"
#include "app/services/storage.h"

extern const storage_schema_t flag_schema;
extern const jsonapi_list_spec_t flag_list_spec;
enum {
  FLAG_FILTER_TYPE,
  FLAG_FILTER_MANAGED,
  FLAG_FILTER_CONTEXT,
  FLAG_FILTER_CONTEXT_TYPE,
  FLAG_FILTER_SEARCH
};

/* Jobs for change_t.run: create (new_id, attributes), replace (id, attributes; new_id renames), remove (id).
 * Writer thread. */
int flag_create(storage_db_t *db, change_t *change);
int flag_replace(storage_db_t *db, change_t *change);
int flag_remove(storage_db_t *db, change_t *change);
/* All that an account has: product_forget. */
int flag_forget(storage_db_t *db, const char *account);

/* The flag as a resource. SMPL_ENOENT. */
int flag_get(storage_db_t *db, const char *account, const char *id, json_t **resource);

/* What a list is narrowed to, besides its search. */
typedef struct flag_filter {
  const char *type;         /* NULL for any */
  int managed;              /* -1 for either */
  const char *context_type; /* NULL: whatever the rules refer to */
  const char *context_key;  /* NULL: any reference to the type */
} flag_filter_t;

enum {
  FLAG_SCAN_BYTES_MAX = 16 << 20, /* of environments that a list with a context looks through */
  FLAG_PARSE_BYTES_MAX = 4 << 20, /* the same, of those that name the context's type anywhere */
};

/* A page of resources and, if asked for, the total; a page that ends early changes *list. SMPL_ELIMIT: with a
 * context, more than the above had to be looked through, since rules are understood here and not in SQL. */
int flag_list(storage_db_t *db, const char *account, jsonapi_list_t *list, const flag_filter_t *filter,
              json_t **data, int64_t *total);
