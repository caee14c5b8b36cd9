/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/sqlite/flag_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/store/flag_rules.h"
#include "app/store/sqlite/flag_store.sql.h"
#include "app/store/sqlite/identity_store.h"
#include "app/store/sqlite/tenant_store.h"
#include "app/store/sqlite/documents.h"
#include "app/store/sqlite/rows.h"
#include "common/base/error.h"

const storage_schema_t flag_schema = {"flags", sql_migrations, identity_ensure};

static json_t *resource_of(storage_stmt_t *stmt, size_t *bytes)
{
  for (int column = 0; column <= 6; column++)
    *bytes += row_bytes(stmt, column);
  json_t *attributes =
      json_pack("{s:s, s:o, s:s, s:o, s:o, s:o, s:b, s:[], s:o, s:o}", "name", storage_text(stmt, 1),
                "description", row_text(stmt, 2), "type", storage_text(stmt, 3), "default", row_json(stmt, 4),
                "values", row_json(stmt, 5), "environments", row_json(stmt, 6), "managed",
                (int)storage_int(stmt, 7), "sources", "created_at", row_time(stmt, 8), "updated_at",
                row_time(stmt, 9));
  return jsonapi_resource("flag", storage_text(stmt, 0), attributes);
}

static int get(storage_db_t *db, const char *account, const char *id, json_t **resource)
{
  return document_get(db, &flag_kind, account, id, resource);
}

/* What is left to look through in one list. */
typedef struct scan {
  size_t bytes, parsed;
} scan_t;

/* Whether a text may hold a string that begins with the context's type, as every reference does. Types that
 * are written otherwise in JSON than they are may be anywhere. */
static bool may_refer(const char *environments, const char *type)
{
  char start[JSONAPI_SEARCH_MAX + 2];
  for (const char *c = type; *c != '\0'; c++)
    if ((unsigned char)*c < 0x20 || *c == '"' || *c == '\\' || *c == '/' || (unsigned char)*c >= 0x7f)
      return true;
  snprintf(start, sizeof start, "\"%s", type);
  return strstr(environments, start) != NULL;
}

/* 1 or 0: the flag's rules refer to the context, or do not; negative on error. */
static int refers(storage_db_t *db, const char *account, const char *id, const fetch_filter_t *filter,
                  scan_t *scan)
{
  storage_stmt_t *stmt =
      storage_query(db, sql_environments, STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(id)));
  int row = storage_step(stmt);
  if (row != 1)
    return row;
  size_t len = row_bytes(stmt, 0);
  bool candidate = may_refer(storage_text(stmt, 0), filter->context_type);
  scan->bytes += len;
  scan->parsed += candidate ? len : 0;
  int result = 0;
  if (scan->bytes > FLAG_SCAN_BYTES_MAX || scan->parsed > FLAG_PARSE_BYTES_MAX) {
    result = SMPL_ELIMIT;
  } else if (candidate) {
    json_t *environments = row_json(stmt, 0);
    result = environments == NULL ? SMPL_ENOMEM
                                  : flag_references(environments, filter->context_type, filter->context_key);
    json_decref(environments);
  }
  storage_finish(stmt);
  return result;
}

/* The ids among all whose rules refer to the context; a page of them. */
static int narrow(storage_db_t *db, const char *account, const json_t *all, const jsonapi_list_t *list,
                  const fetch_filter_t *filter, json_t *ids, int64_t *total)
{
  size_t i;
  json_t *id;
  scan_t scan = {0};
  int64_t from = jsonapi_offset(list), end = from + list->size;
  json_array_foreach(all, i, id)
  {
    int found = *total == end && !list->total ? 0 : refers(db, account, json_string_value(id), filter, &scan);
    if (found < 0)
      return found;
    if (found == 1 && *total >= from && *total < end && json_array_append(ids, id) != 0)
      return SMPL_ENOMEM;
    *total += found;
  }
  return SMPL_OK;
}

/* *ids is replaced by those among them on the page. */
static int narrow_ids(storage_db_t *db, const char *account, const jsonapi_list_t *list,
                      const fetch_filter_t *filter, json_t **ids, int64_t *total)
{
  json_t *all = *ids;
  *ids = json_array();
  int err = *ids != NULL ? narrow(db, account, all, list, filter, *ids, total) : SMPL_ENOMEM;
  json_decref(all);
  return err;
}

static char *dump(const json_t *value)
{
  return json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
}

/* Writes the row; from is the key it has had (NULL: a new one), id the one it will have. */
static int write_row(storage_db_t *db, const edit_t *c, const char *from, const char *id, int managed)
{
  const json_t *a = c->attributes, *values = json_object_get(a, "values");
  json_t *whole = flag_environments(a);
  char *fallback = dump(json_object_get(a, "default"));
  char *choices = json_is_array(values) ? dump(values) : NULL;
  char *environments = whole != NULL ? dump(whole) : NULL;
  int err = SMPL_ENOMEM;
  if (fallback != NULL && environments != NULL && (choices != NULL || !json_is_array(values)))
    err = storage_exec(db, from == NULL ? sql_insert : sql_update,
                       STORAGE_ARGS(STORAGE_TEXT(c->account), STORAGE_TEXT(from), STORAGE_TEXT(id),
                                    STORAGE_TEXT(json_string_value(json_object_get(a, "name"))),
                                    STORAGE_TEXT(json_string_value(json_object_get(a, "description"))),
                                    STORAGE_TEXT(flag_type(json_string_value(json_object_get(a, "type")))),
                                    STORAGE_TEXT(fallback), STORAGE_TEXT(choices), STORAGE_TEXT(environments),
                                    STORAGE_INT(managed), STORAGE_INT(c->now)),
                       NULL);
  json_decref(whole);
  free(fallback);
  free(choices);
  free(environments);
  return err;
}

static int save(storage_db_t *db, edit_t *c, const char *from, const char *id, int managed)
{
  json_t *resource = NULL;
  int64_t bytes = 0;
  int err = tenants_bytes(db, c->account, &bytes);
  if (!err)
    err = write_row(db, c, from, id, managed);
  if (err == SMPL_EEXIST)
    return problem_at(&c->problem, 409, PLACE_MEMBER(&place_data, "id"), "there is a flag '%s' already", id);
  if (!err)
    err = tenants_check_bytes(db, c->account, bytes, &c->problem);
  if (!err)
    err = get(db, c->account, id, &resource);
  if (!err)
    c->document = jsonapi_document(resource);
  return err;
}

int flag_create(storage_db_t *db, edit_t *c)
{
  int64_t count = 0;
  int err = tenants_require(db, c->account, &c->problem);
  if (!err)
    err = storage_number(db, sql_count_all, STORAGE_ARGS(STORAGE_TEXT(c->account)), &count);
  if (!err && count >= FLAGS_MAX)
    err = problem_at(&c->problem, 409, NULL, "this account has %d flags, the most it can have", FLAGS_MAX);
  c->status = 201;
  return err ? err : save(db, c, NULL, c->new_id, 1);
}

static int not_found(edit_t *c)
{
  return problem_at(&c->problem, 404, NULL, "there is no flag '%s' in this account", c->id);
}

int flag_replace(storage_db_t *db, edit_t *c)
{
  json_t *found = NULL;
  int err = tenants_require(db, c->account, &c->problem);
  if (!err)
    err = get(db, c->account, c->id, &found);
  if (err)
    return err == SMPL_ENOENT && c->problem.status == 0 ? not_found(c) : err;
  const json_t *asked = json_object_get(c->attributes, "managed");
  const json_t *present = json_object_get(json_object_get(found, "attributes"), "managed");
  int managed = json_is_true(json_is_boolean(asked) ? asked : present);
  json_decref(found);
  c->status = 200;
  return save(db, c, c->id, c->new_id != NULL ? c->new_id : c->id, managed);
}

int flag_remove(storage_db_t *db, edit_t *c)
{
  int64_t changed = 0;
  int err = tenants_require(db, c->account, &c->problem);
  if (!err)
    err = storage_exec(db, sql_delete, STORAGE_ARGS(STORAGE_TEXT(c->account), STORAGE_TEXT(c->id)), &changed);
  c->status = 204;
  return err ? err : changed == 0 ? not_found(c) : SMPL_OK;
}

static int forget(storage_db_t *db, const char *account)
{
  return storage_exec(db, sql_forget, STORAGE_ARGS(STORAGE_TEXT(account)), NULL);
}

const document_kind_t flag_kind = {.type = "flag",
                                   .list_sql = sql_list,
                                   .count_sql = sql_count,
                                   .one_sql = sql_one,
                                   .resource = resource_of,
                                   .search = FLAG_FILTER_SEARCH,
                                   .create = flag_create,
                                   .replace = flag_replace,
                                   .remove = flag_remove,
                                   .forget = forget,
                                   .narrow = narrow_ids};

const sqlite_service_t flag_sqlite = {.schema = &flag_schema, .ops = document_ops, .fixed = &flag_kind};
