/* SPDX-License-Identifier: Apache-2.0 */
/* Flags in a SQLite file. */
#pragma once

#include "app/store/edit.h"
#include "app/store/fetch.h"
#include "app/store/sqlite/sqlite.h"

extern const storage_schema_t flag_schema;
extern const sqlite_service_t flag_sqlite;

/* Writer thread: create (new_id, attributes), replace (id, attributes; new_id renames), remove (id). */
int flag_create(storage_db_t *db, edit_t *edit);
int flag_replace(storage_db_t *db, edit_t *edit);
int flag_remove(storage_db_t *db, edit_t *edit);
/* All that an account has. */
int flag_forget(storage_db_t *db, const char *account);

/* The flag as a resource. SMPL_ENOENT. */
int flag_get(storage_db_t *db, const char *account, const char *id, json_t **resource);
/* A page of resources and, if asked for, the total; a page that ends early changes *list. SMPL_ELIMIT: with a
 * context, more than FLAG_SCAN_BYTES_MAX or FLAG_PARSE_BYTES_MAX had to be looked through, since rules are
 * understood here and not in SQL. */
int flag_list(storage_db_t *db, const char *account, jsonapi_list_t *list, const fetch_filter_t *filter,
              json_t **data, int64_t *total);
