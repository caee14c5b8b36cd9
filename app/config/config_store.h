/* SPDX-License-Identifier: Apache-2.0 */
/* Configs in storage: the writing jobs of the config service, and its reads. */
#pragma once

#include "app/services/change.h"
#include "app/services/jsonapi.h"
#include "app/services/storage.h"

extern const storage_schema_t config_schema;
extern const jsonapi_list_spec_t config_list_spec;
enum { CONFIG_FILTER_PARENT, CONFIG_FILTER_SEARCH, CONFIG_FILTER_MANAGED }; /* its filters */

/* Jobs for change_t.run: create (new_id, attributes), replace (id, attributes), remove (id). Writer thread.
 */
int config_create(storage_db_t *db, change_t *change);
int config_replace(storage_db_t *db, change_t *change);
int config_remove(storage_db_t *db, change_t *change);
/* What a new account begins with: the config `common`. */
int config_provision(storage_db_t *db, const char *account, int64_t now);
/* All that an account has: product_forget. */
int config_forget(storage_db_t *db, const char *account);

/* The config as a resource. SMPL_ENOENT. */
int config_get(storage_db_t *db, const char *account, const char *id, json_t **resource);
/* A page of resources and, if asked for, the total; a page that ends early changes *list. managed: -1 for
 * either. */
int config_list(storage_db_t *db, const char *account, jsonapi_list_t *list, int managed, json_t **data,
                int64_t *total);
