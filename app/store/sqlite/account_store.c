/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/sqlite/account_store.h"

#include <stdio.h>
#include <string.h>

#include "app/store/sqlite/account_store.sql.h"
#include "app/store/sqlite/identity_store.h"
#include "app/store/sqlite/rows.h"
#include "common/base/error.h"
#include "common/base/text.h"

enum { KEY_TRIES = 200 };

const storage_schema_t account_schema = {"accounts", sql_migrations, identity_ensure};

static json_t *resource_of(storage_stmt_t *stmt, size_t *bytes)
{
  (void)bytes; /* names and times: a page of them is small */
  json_t *attributes =
      json_pack("{s:s, s:s, s:o, s:o}", "name", storage_text(stmt, 1), "key", storage_text(stmt, 2),
                "created_at", row_time(stmt, 3), "deleted_at", json_null());
  return jsonapi_resource("account", storage_text(stmt, 0), attributes);
}

int account_get(storage_db_t *db, const char *id, json_t **resource)
{
  return row_read(storage_query(db, sql_one, STORAGE_ARGS(STORAGE_TEXT(id))), resource_of, resource);
}

int account_list(storage_db_t *db, const jsonapi_list_t *list, json_t **data, int64_t *total)
{
  char search[JSONAPI_SEARCH_MAX + 1];
  const storage_arg_t args[] = {STORAGE_TEXT(rows_search(list->filters[ACCOUNT_FILTER_SEARCH], search)),
                                STORAGE_INT(list->size), STORAGE_INT(jsonapi_offset(list))};
  *total = 0;
  int err = rows_read(storage_query(db, sql_list[list->sort][list->descending], args, 3), resource_of, data);
  if (!err && list->total)
    err = storage_number(db, sql_count, args, 1, total);
  if (err) {
    json_decref(*data);
    *data = NULL;
  }
  return err;
}

int account_insert(storage_db_t *db, const char *id, const char *name, int64_t now)
{
  char base[ACCOUNT_KEY_MAX], key[ACCOUNT_KEY_BYTES];
  account_key_of(name, base);
  snprintf(key, sizeof key, "%s", base);
  for (int n = 2;; n++) {
    int64_t changed = 0;
    int err =
        storage_exec(db, sql_insert,
                     STORAGE_ARGS(STORAGE_TEXT(id), STORAGE_TEXT(key), STORAGE_TEXT(name), STORAGE_INT(now)),
                     &changed);
    if (err || changed == 1)
      return err;
    /* Many accounts of one name: the id's random part ends the search. */
    if (n < KEY_TRIES)
      snprintf(key, sizeof key, "%s_%d", base, n);
    else
      snprintf(key, sizeof key, "%s_%.8s", base, id);
    if (n > KEY_TRIES)
      return SMPL_EEXIST;
  }
}

int account_delete(storage_db_t *db, const char *id, int64_t now)
{
  int64_t changed = 0;
  int err = storage_exec(db, sql_mark_deleted, STORAGE_ARGS(STORAGE_TEXT(id), STORAGE_INT(now)), &changed);
  if (!err && changed == 0)
    return SMPL_ENOENT;
  if (!err)
    err = storage_exec(db, sql_delete_keys, STORAGE_ARGS(STORAGE_TEXT(id)), NULL);
  return err ? err : storage_exec(db, sql_tell_deleted, STORAGE_ARGS(STORAGE_TEXT(id)), NULL);
}

int account_bury(storage_db_t *db, int64_t now)
{
  const int64_t before = now - (int64_t)ACCOUNT_TOMBSTONE_DAYS * 24 * 3600 * 1000;
  int err = storage_exec(db, sql_bury_outbox,
                         STORAGE_ARGS(STORAGE_INT(before), STORAGE_INT(ACCOUNT_BURIED_MAX)), NULL);
  return err ? err
             : storage_exec(db, sql_bury, STORAGE_ARGS(STORAGE_INT(before), STORAGE_INT(ACCOUNT_BURIED_MAX)),
                            NULL);
}
