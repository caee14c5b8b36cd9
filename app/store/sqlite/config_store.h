/* SPDX-License-Identifier: Apache-2.0 */
/* Configs in a SQLite file. */
#pragma once

#include "app/store/sqlite/documents.h"

extern const storage_schema_t config_schema;
extern const document_kind_t config_kind;
extern const sqlite_service_t config_sqlite;

/* Writer thread: create (new_id, attributes), replace (id, attributes), remove (id). */
int config_create(storage_db_t *db, edit_t *edit);
int config_replace(storage_db_t *db, edit_t *edit);
int config_remove(storage_db_t *db, edit_t *edit);
