/* SPDX-License-Identifier: Apache-2.0 */
/* Accounts in a SQLite file. */
#pragma once

#include "app/store/accounts.h"
#include "app/store/sqlite/storage.h"

/* The schema of everything that the account service keeps (storage.h). */
extern const storage_schema_t account_schema;

/* The account as a resource. SMPL_ENOENT. */
int account_get(storage_db_t *db, const char *id, json_t **resource);
/* A page of resources and, if asked for, the total. */
int account_list(storage_db_t *db, const jsonapi_list_t *list, json_t **data, int64_t *total);
/* Writer thread. Gives the account a key of its own, made of its name. */
int account_insert(storage_db_t *db, const char *id, const char *name, int64_t now);

/* Writer thread: marks it deleted, takes its keys away, and has the sisters told. SMPL_ENOENT. */
int account_delete(storage_db_t *db, const char *id, int64_t now);
/* Writer thread: forgets accounts that were deleted ACCOUNT_TOMBSTONE_DAYS ago, ACCOUNT_BURIED_MAX at a time.
 */
int account_bury(storage_db_t *db, int64_t now);
