/* SPDX-License-Identifier: Apache-2.0 */
/* One SQLite connection: the private half of storage.h, where nothing knows of threads or queues. */
#pragma once

#include "app/store/sqlite/storage.h"

typedef enum storage_role { STORAGE_READS, STORAGE_WRITES } storage_role_t;

/* STORAGE_WRITES: the process has no other connection to the file. It closes a descriptor of its own, and
 * that lets go of all locks that the process has on the file, those of its other connections too (fcntl(2),
 * "lost locks"). */
int storage_db_open(const char *path, storage_role_t role, storage_db_t **out, diag_t *diag);
/* NULL allowed. */
void storage_db_close(storage_db_t *db);

/* Refuses a file that is corrupt, of another owner or newer; brings an older one up to date. The writing
 * connection's. */
int storage_db_prepare(storage_db_t *db, const char *path, const storage_schema_t *schema, diag_t *diag);

/* SQLite keeps a number for "whose file is this" in its header: this one for files of that owner. */
int64_t storage_db_owner_id(const char *owner);

/* BEGIN IMMEDIATE, SAVEPOINT and so on: fixed texts. */
int storage_db_command(storage_db_t *db, const char *sql);
/* From now on, statements are refused or, if they only read, ended with SMPL_ETIMEOUT after ms; 0: no limit.
 */
void storage_db_limit(storage_db_t *db, uint64_t ms);
/* The same for a short read: it ends with SMPL_EAGAIN, also once it gives more bytes of text. 0, 0: no limit;
 * bytes SIZE_MAX: as many as there are.
 */
void storage_db_bound(storage_db_t *db, uint64_t ms, size_t bytes);
/* True if another connection, of whatever process, has written since this was asked last. */
bool storage_db_others_wrote(storage_db_t *db);
/* storage_change of this connection, which has read before. */
bool storage_db_change(storage_db_t *db, store_change_t *out);
/* Does the file answer a read? Quick: it reads one page. SMPL_ESERVER, SMPL_EBUSY. */
int storage_db_check(storage_db_t *db);
/* False once SQLite has ended the transaction by itself (disk full, I/O error). */
bool storage_db_in_transaction(storage_db_t *db);
