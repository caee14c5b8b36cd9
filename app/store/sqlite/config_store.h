/* SPDX-License-Identifier: Apache-2.0 */
/* Configs in a SQLite file. */
#pragma once

#include "app/store/edit.h"
#include "app/store/fetch.h"
#include "app/store/sqlite/sqlite.h"

extern const storage_schema_t config_schema;
extern const sqlite_service_t config_sqlite;

/* Writer thread: create (new_id, attributes), replace (id, attributes), remove (id). */
int config_create(storage_db_t *db, edit_t *edit);
int config_replace(storage_db_t *db, edit_t *edit);
int config_remove(storage_db_t *db, edit_t *edit);
/* What a new account begins with: the config `common`. */
int config_provision(storage_db_t *db, const char *account, int64_t now);
/* All that an account has. */
int config_forget(storage_db_t *db, const char *account);

/* The config as a resource. SMPL_ENOENT. */
int config_get(storage_db_t *db, const char *account, const char *id, json_t **resource);
/* A page of resources and, if asked for, the total; a page that ends early changes *list. */
int config_list(storage_db_t *db, const char *account, jsonapi_list_t *list, const fetch_filter_t *filter,
                json_t **data, int64_t *total);
