/* SPDX-License-Identifier: Apache-2.0 */
/* API keys in a SQLite file. */
#pragma once

#include "app/store/accounts.h"
#include "app/store/sqlite/storage.h"

/* SMPL_ENOENT: unknown, revoked or expired at now. */
int key_find(storage_db_t *db, const char *key, int64_t now, key_found_t *out);

/* Writer thread. Stores the key; *resource is it with its text, this once. SMPL_ELIMIT: API_KEYS_MAX. */
int key_insert(storage_db_t *db, key_new_t *key, const char *account, const char *name, int64_t now,
               json_t **resource);

/* The key as a resource, without its text. SMPL_ENOENT. */
int key_get(storage_db_t *db, const char *account, const char *id, json_t **resource);
int key_list(storage_db_t *db, const char *account, const jsonapi_list_t *list, json_t **data,
             int64_t *total);

/* Writer thread; SMPL_ENOENT. */
int key_update(storage_db_t *db, const char *account, const char *id, const char *name, int64_t expires_at,
               int64_t now);
int key_revoke(storage_db_t *db, const char *account, const char *id, int64_t now);
int key_delete(storage_db_t *db, const char *account, const char *id);
int key_touch(storage_db_t *db, const char *id, int64_t now);
