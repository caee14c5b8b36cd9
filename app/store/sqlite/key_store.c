/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/sqlite/key_store.h"

#include <string.h>

#include "app/store/sqlite/key_store.sql.h"
#include "app/store/sqlite/rows.h"
#include "common/base/error.h"

static storage_arg_t time_arg(int64_t ms)
{
  return ms < 0 ? STORAGE_NULL : STORAGE_INT(ms);
}

static int64_t time_of(storage_stmt_t *stmt, int column)
{
  return storage_is_null(stmt, column) ? -1 : storage_int(stmt, column);
}

static json_t *resource_of(storage_stmt_t *stmt, size_t *bytes)
{
  (void)bytes;
  json_t *attributes =
      json_pack("{s:s, s:s, s:n, s:{}, s:o, s:o, s:o, s:o, s:o}", "name", storage_text(stmt, 1), "status",
                storage_text(stmt, 2), "key", "scopes", "created_by", jsonapi_text(storage_text(stmt, 7)),
                "expires_at", row_time(stmt, 3), "last_used_at", row_time(stmt, 4), "created_at",
                row_time(stmt, 5), "updated_at", row_time(stmt, 6));
  return jsonapi_resource("api_key", storage_text(stmt, 0), attributes);
}

/* Reads the row into out; false if its hash is another one. */
static bool read_found(storage_stmt_t *stmt, const uint8_t *hash, key_found_t *out)
{
  size_t len = 0;
  const void *stored = storage_blob(stmt, 0, &len);
  const char *id = storage_text(stmt, 1), *account = storage_text(stmt, 2);
  if (len != KEY_HASH_LEN || !key_hash_equal(stored, hash) || !uuid_valid(id) || !uuid_valid(account))
    return false;
  memcpy(out->id, id, sizeof out->id);
  memcpy(out->account, account, sizeof out->account);
  out->expires_at = time_of(stmt, 3);
  out->last_used_at = time_of(stmt, 4);
  return true;
}

int key_find(storage_db_t *db, const char *key, int64_t now, key_found_t *out)
{
  uint8_t hash[KEY_HASH_LEN];
  bool found = false;
  int row, err = key_hash(key, hash);
  if (err)
    return err;
  storage_stmt_t *stmt = storage_query(db, sql_find, STORAGE_ARGS(STORAGE_BLOB(hash, KEY_TAG_LEN)));
  while ((row = storage_step(stmt)) == 1)
    found = found || read_found(stmt, hash, out);
  if (row < 0)
    return row;
  return found && (out->expires_at < 0 || out->expires_at > now) ? SMPL_OK : SMPL_ENOENT;
}

int key_insert(storage_db_t *db, key_new_t *key, const char *account, const char *name, int64_t now,
               json_t **resource)
{
  int64_t count = 0;
  *resource = NULL;
  int err = storage_number(db, sql_count_all, STORAGE_ARGS(STORAGE_TEXT(account)), &count);
  if (!err && count >= API_KEYS_MAX)
    return SMPL_ELIMIT;
  if (!err)
    err =
        storage_exec(db, sql_insert,
                     STORAGE_ARGS(STORAGE_TEXT(key->id), STORAGE_TEXT(account), STORAGE_TEXT(name),
                                  STORAGE_BLOB(key->hash, KEY_TAG_LEN), STORAGE_BLOB(key->hash, KEY_HASH_LEN),
                                  time_arg(key->expires_at), STORAGE_INT(now), STORAGE_TEXT(key->created_by)),
                     NULL);
  if (!err)
    err = key_get(db, account, key->id, resource);
  if (!err &&
      json_object_set_new(json_object_get(*resource, "attributes"), "key", json_string(key->text)) != 0) {
    json_decref(*resource);
    *resource = NULL;
    err = SMPL_ENOMEM;
  }
  explicit_bzero(key->text, sizeof key->text);
  return err;
}

int key_get(storage_db_t *db, const char *account, const char *id, json_t **resource)
{
  return row_read(storage_query(db, sql_one, STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(id))),
                  resource_of, resource);
}

int key_list(storage_db_t *db, const char *account, const jsonapi_list_t *list, json_t **data, int64_t *total)
{
  char search[JSONAPI_SEARCH_MAX + 1];
  const storage_arg_t args[] = {STORAGE_TEXT(account), STORAGE_TEXT(list->filters[KEY_FILTER_STATUS]),
                                STORAGE_TEXT(rows_search(list->filters[KEY_FILTER_SEARCH], search)),
                                STORAGE_INT(list->size), STORAGE_INT(jsonapi_offset(list))};
  *total = 0;
  int err = rows_read(storage_query(db, sql_list[list->sort][list->descending], args, 5), resource_of, data);
  if (!err && list->total)
    err = storage_number(db, sql_count, args, 3, total);
  if (err) {
    json_decref(*data);
    *data = NULL;
  }
  return err;
}

static int change_one(storage_db_t *db, const char *sql, const storage_arg_t *args, size_t count)
{
  int64_t changed = 0;
  int err = storage_exec(db, sql, args, count, &changed);
  return err ? err : changed == 0 ? SMPL_ENOENT : SMPL_OK;
}

int key_update(storage_db_t *db, const char *account, const char *id, const char *name, int64_t expires_at,
               int64_t now)
{
  return change_one(db, sql_update,
                    STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(id), STORAGE_TEXT(name),
                                 time_arg(expires_at), STORAGE_INT(now)));
}

int key_revoke(storage_db_t *db, const char *account, const char *id, int64_t now)
{
  return change_one(db, sql_revoke, STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(id), STORAGE_INT(now)));
}

int key_delete(storage_db_t *db, const char *account, const char *id)
{
  return change_one(db, sql_delete, STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(id)));
}

int key_touch(storage_db_t *db, const char *id, int64_t now)
{
  return storage_exec(db, sql_touch,
                      STORAGE_ARGS(STORAGE_TEXT(id), STORAGE_INT(now), STORAGE_INT(now - API_KEY_TOUCH_MS)),
                      NULL);
}
