/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/sqlite/config_store.h"

#include <stdlib.h>
#include <string.h>

#include "app/store/sqlite/config_line.h"
#include "app/store/sqlite/config_store.sql.h"
#include "app/store/sqlite/identity_store.h"
#include "app/store/config_rules.h"
#include "app/store/sqlite/tenant_store.h"
#include "app/store/sqlite/documents.h"
#include "app/store/sqlite/rows.h"
#include "common/base/error.h"

const storage_schema_t config_schema = {"config", sql_migrations, identity_ensure};

/* ---- reading ---- */

static json_t *resource_of(storage_stmt_t *stmt, size_t *bytes)
{
  for (int column = 0; column <= 5; column++)
    *bytes += row_bytes(stmt, column);
  json_t *attributes =
      json_pack("{s:s, s:o, s:o, s:o, s:o, s:b, s:o, s:o}", "name", storage_text(stmt, 1), "description",
                row_text(stmt, 2), "parent", row_text(stmt, 3), "items", row_json(stmt, 4), "environments",
                row_json(stmt, 5), "managed", (int)storage_int(stmt, 6), "created_at", row_time(stmt, 7),
                "updated_at", row_time(stmt, 8));
  return jsonapi_resource("config", storage_text(stmt, 0), attributes);
}

static int get(storage_db_t *db, const char *account, const char *id, json_t **resource)
{
  return document_get(db, &config_kind, account, id, resource);
}

/* ---- writing ---- */

static int write_row(storage_db_t *db, const edit_t *c, const char *id, const json_t *items, int managed)
{
  const json_t *a = c->attributes, *environments = json_object_get(a, "environments");
  char *items_text = json_dumps(items, JSON_COMPACT);
  char *environments_text =
      json_is_object(environments) ? json_dumps(environments, JSON_COMPACT) : strdup("{}");
  int err = SMPL_ENOMEM;
  if (items_text != NULL && environments_text != NULL)
    err = storage_exec(db, sql_put,
                       STORAGE_ARGS(STORAGE_TEXT(c->account), STORAGE_TEXT(id),
                                    STORAGE_TEXT(json_string_value(json_object_get(a, "name"))),
                                    STORAGE_TEXT(json_string_value(json_object_get(a, "description"))),
                                    STORAGE_TEXT(json_string_value(json_object_get(a, "parent"))),
                                    STORAGE_TEXT(items_text), STORAGE_TEXT(environments_text),
                                    STORAGE_INT(managed), STORAGE_INT(c->now)),
                       NULL);
  free(items_text);
  free(environments_text);
  return err;
}

/* Checks against what is stored and writes. stored_parent: NULL for none. */
static int save(storage_db_t *db, edit_t *c, const char *id, const char *stored_parent, int managed)
{
  config_line_t line;
  json_t *items = NULL, *resource = NULL;
  int64_t bytes = 0;
  int err = config_line_read(db, c, id, stored_parent, &line);
  if (!err)
    err = tenants_bytes(db, c->account, &bytes);
  if (!err)
    err = config_type_items(c->attributes, line.own, line.inherited, &items, &c->problem);
  if (!err)
    err = config_check_overrides(c->attributes, items, line.inherited, &c->problem);
  if (!err)
    err = write_row(db, c, id, items, managed);
  if (!err)
    err = tenants_check_bytes(db, c->account, bytes, &c->problem);
  if (!err)
    err = config_line_write(db, c, id, &line, items);
  if (!err)
    err = get(db, c->account, id, &resource);
  if (!err)
    c->document = jsonapi_document(resource);
  config_line_clear(&line);
  json_decref(items);
  return err;
}

/* What a replacement needs of the row it replaces. SMPL_ENOENT. */
static int read_head(storage_db_t *db, const char *account, const char *id, char **parent, bool *managed)
{
  storage_stmt_t *stmt = storage_query(db, sql_head, STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(id)));
  int row = storage_step(stmt);
  *parent = NULL;
  *managed = false;
  if (row != 1)
    return row == 0 ? SMPL_ENOENT : row;
  const char *text = storage_text(stmt, 0);
  *managed = storage_int(stmt, 1) != 0;
  int err = text != NULL && (*parent = strdup(text)) == NULL ? SMPL_ENOMEM : SMPL_OK;
  storage_finish(stmt);
  return err;
}

static int check_room(storage_db_t *db, edit_t *c)
{
  int64_t count = 0;
  int err = storage_number(db, sql_count_all, STORAGE_ARGS(STORAGE_TEXT(c->account)), &count);
  if (!err && count >= CONFIGS_MAX)
    return problem_at(&c->problem, 409, NULL, "this account has %d configs, the most it can have",
                      CONFIGS_MAX);
  return err;
}

int config_create(storage_db_t *db, edit_t *c)
{
  const place_t *at_id = PLACE_MEMBER(&place_data, "id");
  char *parent;
  bool managed;
  int err = tenants_require(db, c->account, &c->problem);
  if (err)
    return err;
  err = read_head(db, c->account, c->new_id, &parent, &managed);
  free(parent);
  if (!err)
    return problem_at(&c->problem, 409, at_id, "there is a config '%s' already", c->new_id);
  if (err == SMPL_ENOENT)
    err = check_room(db, c);
  c->status = 201;
  return err ? err : save(db, c, c->new_id, NULL, 1);
}

static int not_found(edit_t *c)
{
  return problem_at(&c->problem, 404, NULL, "there is no config '%s' in this account", c->id);
}

int config_replace(storage_db_t *db, edit_t *c)
{
  char *parent;
  bool managed;
  int err = tenants_require(db, c->account, &c->problem);
  if (err)
    return err;
  err = read_head(db, c->account, c->id, &parent, &managed);
  if (err)
    return err == SMPL_ENOENT ? not_found(c) : err;
  const json_t *asked = json_object_get(c->attributes, "managed");
  if (json_is_boolean(asked))
    managed = json_is_true(asked);
  c->status = 200;
  err = save(db, c, c->id, parent, managed);
  free(parent);
  return err;
}

int config_remove(storage_db_t *db, edit_t *c)
{
  const char *account = c->account;
  int64_t changed = 0;
  if (strcmp(c->id, "common") == 0)
    return problem_at(&c->problem, 409, NULL, "the config 'common' cannot be deleted");
  int err = tenants_require(db, account, &c->problem);
  if (err)
    return err;
  storage_stmt_t *stmt =
      storage_query(db, sql_child, STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(c->id)));
  int row = storage_step(stmt);
  if (row == 1) {
    err = problem_at(&c->problem, 409, NULL, "it is the parent of '%s': give that another parent first",
                     storage_text(stmt, 0));
    storage_finish(stmt);
  }
  if (row != 0)
    return row < 0 ? row : err;
  c->status = 204;
  err = config_line_remove(db, account, c->id);
  if (!err)
    err = storage_exec(db, sql_delete, STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(c->id)), &changed);
  return err ? err : changed == 0 ? not_found(c) : SMPL_OK;
}

static int forget(storage_db_t *db, const char *account)
{
  static const char *const texts[] = {sql_forget, sql_forget_types, sql_forget_overrides};
  int err = SMPL_OK;
  for (size_t i = 0; i < sizeof texts / sizeof *texts && !err; i++)
    err = storage_exec(db, texts[i], STORAGE_ARGS(STORAGE_TEXT(account)), NULL);
  return err;
}

static int provision(storage_db_t *db, const char *account, int64_t now)
{
  return storage_exec(db, sql_provision, STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_INT(now)), NULL);
}

const document_kind_t config_kind = {.type = "config",
                                     .list_sql = sql_list,
                                     .count_sql = sql_count,
                                     .one_sql = sql_one,
                                     .resource = resource_of,
                                     .search = CONFIG_FILTER_SEARCH,
                                     .create = config_create,
                                     .replace = config_replace,
                                     .remove = config_remove,
                                     .provision = provision,
                                     .forget = forget};

const sqlite_service_t config_sqlite = {.schema = &config_schema, .ops = document_ops, .fixed = &config_kind};
