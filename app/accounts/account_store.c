/* SPDX-License-Identifier: Apache-2.0 */
#include "app/accounts/account_store.h"

#include <stdio.h>
#include <string.h>

#include "app/services/rows.h"
#include "common/base/error.h"
#include "common/base/text.h"

enum { KEY_TRIES = 200 };

static const char *const migrations[] = {
    "CREATE TABLE accounts (id TEXT PRIMARY KEY, key TEXT NOT NULL UNIQUE, name TEXT NOT NULL,"
    " created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL) WITHOUT ROWID;"
    /* tag: the first bytes of the hash, to find a key by; the whole hash is then compared in constant time.
     */
    "CREATE TABLE api_keys (id TEXT PRIMARY KEY, account TEXT NOT NULL REFERENCES accounts (id), name TEXT "
    "NOT NULL,"
    " tag BLOB NOT NULL, hash BLOB NOT NULL UNIQUE, status TEXT NOT NULL, expires_at INTEGER, last_used_at "
    "INTEGER,"
    " created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX api_keys_by_tag ON api_keys (tag);"
    "CREATE INDEX api_keys_by_account ON api_keys (account);"
    /* Who has been told of which account: done_at is NULL until the sister has acknowledged it. */
    "CREATE TABLE outbox (account TEXT NOT NULL REFERENCES accounts (id), sister TEXT NOT NULL,"
    " attempts INTEGER NOT NULL DEFAULT 0, last_error TEXT, done_at INTEGER, PRIMARY KEY (account, sister));"
    "CREATE INDEX outbox_pending ON outbox (sister, attempts) WHERE done_at IS NULL;",
    /* The internal caller that made it; NULL: the account itself, or before callers had names. */
    "ALTER TABLE api_keys ADD COLUMN created_by TEXT;",
    /* A deleted account is its own tombstone, for ACCOUNT_TOMBSTONE_DAYS. */
    "ALTER TABLE accounts ADD COLUMN deleted_at INTEGER;"
    "CREATE INDEX accounts_deleted ON accounts (deleted_at) WHERE deleted_at IS NOT NULL;"
    /* Restored without anybody knowing whether it was revoked since: of no use until somebody says so. */
    "ALTER TABLE api_keys ADD COLUMN held INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX api_keys_held ON api_keys (id) WHERE held = 1;"
    /* Which of the sister's generations (sister_store.h) was told; older than the present one is not told. */
    "ALTER TABLE outbox ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX outbox_told ON outbox (sister, generation, attempts) WHERE done_at IS NOT NULL;"
    "CREATE TABLE sisters (url TEXT PRIMARY KEY, epoch TEXT, heard INTEGER NOT NULL DEFAULT 0,"
    " generation INTEGER NOT NULL DEFAULT 0, strays INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;"
    "CREATE TABLE strays (sister TEXT NOT NULL, account TEXT NOT NULL, seen_at INTEGER NOT NULL,"
    " PRIMARY KEY (sister, account)) WITHOUT ROWID;"
    /* What may not come back by a restore; written: it is in the file of revocations too. */
    "CREATE TABLE revocations (n INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, subject TEXT NOT "
    "NULL,"
    " at INTEGER NOT NULL, written INTEGER NOT NULL DEFAULT 0);"
    "CREATE INDEX revocations_unwritten ON revocations (n) WHERE written = 0;"
    "INSERT INTO revocations (kind, subject, at) SELECT 'key', id, updated_at FROM api_keys"
    " WHERE status <> 'ACTIVE';",
    "CREATE UNIQUE INDEX revocations_of ON revocations (kind, subject);",
    NULL,
};

const storage_schema_t account_schema = {"accounts", migrations};

static const char *const sorts[] = {"name", "key", "created_at", NULL};
static const char *const filters[] = {"filter[search]", NULL};

const jsonapi_list_spec_t account_list_spec = {sorts, 0, false, filters};

#define COLUMNS "id, name, key, created_at, updated_at"
#define MATCHING                                                                                             \
  " FROM accounts WHERE deleted_at IS NULL AND (?1 IS NULL OR instr(lower(key), ?1) > 0 OR "                 \
  "instr(lower(name), ?1) > 0)"
#define LIST(order) "SELECT " COLUMNS MATCHING " ORDER BY " order " LIMIT ?2 OFFSET ?3"

static const char *const list_sql[][2] = {
    {LIST("name, id"), LIST("name DESC, id")},
    {LIST("key"), LIST("key DESC")},
    {LIST("created_at, id"), LIST("created_at DESC, id")},
};

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
  return row_read(storage_query(db, "SELECT " COLUMNS " FROM accounts WHERE id = ?1 AND deleted_at IS NULL",
                                STORAGE_ARGS(STORAGE_TEXT(id))),
                  resource_of, resource);
}

int account_list(storage_db_t *db, const jsonapi_list_t *list, json_t **data, int64_t *total)
{
  char search[JSONAPI_SEARCH_MAX + 1];
  const storage_arg_t args[] = {STORAGE_TEXT(rows_search(list->filters[ACCOUNT_FILTER_SEARCH], search)),
                                STORAGE_INT(list->size), STORAGE_INT(jsonapi_offset(list))};
  *total = 0;
  int err = rows_read(storage_query(db, list_sql[list->sort][list->descending], args, 3), resource_of, data);
  if (!err && list->total)
    err = storage_number(db, "SELECT count(*)" MATCHING, args, 1, total);
  if (err) {
    json_decref(*data);
    *data = NULL;
  }
  return err;
}

void account_key_of(const char *name, char *out)
{
  size_t used = 0;
  /* Room is left for a number behind it. */
  for (; *name != '\0' && used < ACCOUNT_KEY_MAX - 16; name++) {
    char c = text_lower(*name);
    bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (plain)
      out[used++] = c;
    else if (used > 0 && out[used - 1] != '_')
      out[used++] = '_';
  }
  while (used > 0 && out[used - 1] == '_')
    used--;
  out[used] = '\0';
  if (used == 0)
    text_copy(out, ACCOUNT_KEY_MAX, "account");
}

int account_insert(storage_db_t *db, const char *id, const char *name, int64_t now)
{
  char base[ACCOUNT_KEY_MAX], key[ACCOUNT_KEY_MAX + 16];
  account_key_of(name, base);
  snprintf(key, sizeof key, "%s", base);
  for (int n = 2;; n++) {
    int64_t changed = 0;
    int err = storage_exec(
        db,
        "INSERT INTO accounts (id, key, name, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?4)"
        " ON CONFLICT (key) DO NOTHING",
        STORAGE_ARGS(STORAGE_TEXT(id), STORAGE_TEXT(key), STORAGE_TEXT(name), STORAGE_INT(now)), &changed);
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
  /* Its key is free for another one of that name. */
  int err = storage_exec(db,
                         "UPDATE accounts SET deleted_at = ?2, updated_at = ?2, key = id"
                         " WHERE id = ?1 AND deleted_at IS NULL",
                         STORAGE_ARGS(STORAGE_TEXT(id), STORAGE_INT(now)), &changed);
  if (!err && changed == 0)
    return SMPL_ENOENT;
  if (!err)
    err = storage_exec(db, "DELETE FROM api_keys WHERE account = ?1", STORAGE_ARGS(STORAGE_TEXT(id)), NULL);
  return err ? err
             : storage_exec(db, "UPDATE outbox SET done_at = NULL, attempts = 0 WHERE account = ?1",
                            STORAGE_ARGS(STORAGE_TEXT(id)), NULL);
}

int account_bury(storage_db_t *db, int64_t now)
{
  const int64_t before = now - (int64_t)ACCOUNT_TOMBSTONE_DAYS * 24 * 3600 * 1000;
  int err = storage_exec(db,
                         "DELETE FROM outbox WHERE account IN"
                         " (SELECT id FROM accounts WHERE deleted_at < ?1 ORDER BY deleted_at, id LIMIT ?2)",
                         STORAGE_ARGS(STORAGE_INT(before), STORAGE_INT(ACCOUNT_BURIED_MAX)), NULL);
  return err ? err
             : storage_exec(
                   db,
                   "DELETE FROM accounts WHERE id IN"
                   " (SELECT id FROM accounts WHERE deleted_at < ?1 ORDER BY deleted_at, id LIMIT ?2)",
                   STORAGE_ARGS(STORAGE_INT(before), STORAGE_INT(ACCOUNT_BURIED_MAX)), NULL);
}
