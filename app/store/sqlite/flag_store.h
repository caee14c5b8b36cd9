/* SPDX-License-Identifier: Apache-2.0 */
/* Flags in a SQLite file. */
#pragma once

#include "app/store/sqlite/documents.h"

extern const storage_schema_t flag_schema;
/* A list with a context ends with SMPL_ELIMIT when it looks through more than FLAG_SCAN_BYTES_MAX, or
 * FLAG_PARSE_BYTES_MAX of what names the context: rules are understood here and not in SQL. */
extern const document_kind_t flag_kind;
extern const sqlite_service_t flag_sqlite;

/* Writer thread: create (new_id, attributes), replace (id, attributes; new_id renames), remove (id). */
int flag_create(storage_db_t *db, edit_t *edit);
int flag_replace(storage_db_t *db, edit_t *edit);
int flag_remove(storage_db_t *db, edit_t *edit);
