/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/sqlite/config_line.h"

#include <stdlib.h>
#include <string.h>

#include "app/store/config_rules.h"
#include "app/store/sqlite/config_line.sql.h"
#include "common/base/error.h"

/* ---- reading ---- */

/* Rows of (key, type) as a types map; the first of several stays. */
static int read_types(storage_stmt_t *stmt, json_t **out)
{
  int row, err = SMPL_OK;
  *out = json_object();
  while ((row = storage_step(stmt)) == 1) {
    const char *key = storage_text(stmt, 0);
    if (json_object_get(*out, key) == NULL &&
        json_object_set_new(*out, key, json_string(storage_text(stmt, 1))) != 0)
      err = SMPL_ENOMEM;
  }
  return row < 0 ? row : *out == NULL ? SMPL_ENOMEM : err;
}

static int check_parent(storage_db_t *db, const edit_t *c, const char *id, const char *parent,
                        problem_t *problem)
{
  const place_t *place = PLACE_MEMBER(&place_attributes, "parent");
  const char *account = c->account;
  int64_t height = 0, above = 0, found;
  if (strcmp(parent, id) == 0)
    return problem_invalid(problem, place, "a config cannot be its own parent");
  int err = storage_number(db, sql_exists, STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(parent)), &found);
  if (err == SMPL_ENOENT)
    return problem_invalid(problem, place, "there is no config '%s'", parent);
  if (!err)
    err = storage_number(db, sql_height, STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(id)), &height);
  if (err)
    return err;
  storage_stmt_t *stmt =
      storage_query(db, sql_chain, STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(parent)));
  int row;
  while ((row = storage_step(stmt)) == 1) {
    above++;
    if (strcmp(storage_text(stmt, 0), id) == 0) {
      storage_finish(stmt);
      return problem_invalid(problem, place, "'%s' inherits from this config: that would be a circle",
                             parent);
    }
  }
  if (row == 0 && above + 1 + height > CONFIG_DEPTH_MAX)
    return problem_invalid(problem, place, "more than %d configs would inherit in one line",
                           CONFIG_DEPTH_MAX);
  return row;
}

int config_line_read(storage_db_t *db, edit_t *c, const char *id, const char *stored_parent,
                     config_line_t *line)
{
  const char *account = c->account;
  const char *parent = json_string_value(json_object_get(c->attributes, "parent"));
  *line = (config_line_t){
      .moved = strcmp(parent != NULL ? parent : "", stored_parent != NULL ? stored_parent : "") != 0};
  int err = parent != NULL ? check_parent(db, c, id, parent, &c->problem) : SMPL_OK;
  if (!err)
    err = read_types(storage_query(db, sql_own_types, STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(id))),
                     &line->own);
  if (!err)
    err = read_types(storage_query(db, sql_inherited,
                                   STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(parent))),
                     &line->inherited);
  return err;
}

void config_line_clear(config_line_t *line)
{
  json_decref(line->own);
  json_decref(line->inherited);
  *line = (config_line_t){.own = NULL};
}

/* ---- writing ---- */

/* The keys of a that b does not have. */
static json_t *keys_without(const json_t *a, const json_t *b)
{
  const char *key;
  json_t *value, *out = json_array();
  json_object_foreach((json_t *)a, key, value)
  {
    if (json_object_get(b, key) == NULL && json_array_append_new(out, json_string(key)) != 0) {
      json_decref(out);
      return NULL;
    }
  }
  return out;
}

static int insert(storage_db_t *db, const char *sql, const char *account, const char *id, const char *key,
                  const char *type)
{
  return storage_exec(db, sql,
                      STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(id), STORAGE_TEXT(key),
                                   STORAGE_TEXT(type)),
                      NULL);
}

/* Only what differs: a declared type never changes. */
static int write_types(storage_db_t *db, const char *account, const char *id, const json_t *gone,
                       const json_t *fresh, const json_t *items)
{
  size_t i;
  json_t *entry;
  int err = SMPL_OK;
  json_array_foreach(gone, i, entry)
  {
    if (!err)
      err = storage_exec(db, sql_drop_type,
                         STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(id),
                                      STORAGE_TEXT(json_string_value(entry))),
                         NULL);
  }
  json_array_foreach(fresh, i, entry)
  {
    const char *key = json_string_value(entry);
    const char *type = json_string_value(json_object_get(json_object_get(items, key), "type"));
    if (!err)
      err = insert(db, sql_add_type, account, id, key, type);
  }
  return err;
}

/* The overridden items of all environments, with the types that hold for them. */
static json_t *overridden(const json_t *attributes, const json_t *items, const json_t *inherited)
{
  const char *name, *key;
  json_t *overrides, *value, *out = json_object();
  json_object_foreach(json_object_get(attributes, "environments"), name, overrides)
  {
    json_object_foreach(overrides, key, value)
    {
      json_t *type = json_object_get(json_object_get(items, key), "type");
      if (json_object_set(out, key, type != NULL ? type : json_object_get(inherited, key)) != 0) {
        json_decref(out);
        return NULL;
      }
    }
  }
  return out;
}

static int write_overrides(storage_db_t *db, const char *account, const char *id, const json_t *types)
{
  const char *key;
  json_t *type;
  int err = storage_exec(db, sql_drop_overrides, STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(id)), NULL);
  json_object_foreach((json_t *)types, key, type)
  {
    if (err)
      break;
    err = insert(db, sql_add_override, account, id, key, json_string_value(type));
  }
  return err;
}

/* A config may keep what it has in an account that is full, and shrink. */
static int check_room(storage_db_t *db, edit_t *c, int64_t before, int64_t after)
{
  int64_t total = 0;
  if (after <= before)
    return SMPL_OK;
  int err = storage_number(db, sql_entries, STORAGE_ARGS(STORAGE_TEXT(c->account)), &total);
  if (!err && total > CONFIG_ENTRIES_MAX)
    return problem_at(&c->problem, 409, NULL,
                      "this account would have more than %d items and overridden items, the most it can have",
                      CONFIG_ENTRIES_MAX);
  return err;
}

/* ---- the configs below ---- */

static int conflicting_type(storage_db_t *db, edit_t *c, const char *id, storage_stmt_t *stmt)
{
  const char *account = c->account, *key = storage_text(stmt, 0), *above = id;
  storage_stmt_t *declarer =
      storage_query(db, sql_declarer,
                    STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(id), STORAGE_TEXT(key)));
  bool found = storage_step(declarer) == 1;
  if (found)
    above = storage_text(declarer, 0);
  const place_t *place = strcmp(above, id) == 0 ? PLACE_MEMBER(PLACE_MEMBER(&place_attributes, "items"), key)
                                                : PLACE_MEMBER(&place_attributes, "parent");
  problem_invalid(&c->problem, place, "item '%s' is %s in '%s' and %s in '%s', which inherits from it", key,
                  storage_text(stmt, 1), above, storage_text(stmt, 3), storage_text(stmt, 2));
  if (found)
    storage_finish(declarer);
  return SMPL_EINVAL;
}

/* The first row of a query over what is below, for the keys in question: 1 with *stmt under way, 0 or
 * negative. */
static int first_below(storage_db_t *db, const char *sql, const edit_t *c, const char *id, const json_t *keys,
                       storage_stmt_t **stmt)
{
  char *text = keys != NULL ? json_dumps(keys, JSON_COMPACT) : NULL;
  if (keys != NULL && text == NULL)
    return SMPL_ENOMEM;
  *stmt =
      storage_query(db, sql, STORAGE_ARGS(STORAGE_TEXT(c->account), STORAGE_TEXT(id), STORAGE_TEXT(text)));
  free(text);
  return storage_step(*stmt);
}

static int check_types_below(storage_db_t *db, edit_t *c, const char *id, const json_t *keys)
{
  storage_stmt_t *stmt = NULL;
  int row = first_below(db, sql_types_below, c, id, keys, &stmt);
  if (row != 1)
    return row;
  int err = conflicting_type(db, c, id, stmt);
  storage_finish(stmt);
  return err;
}

static int check_overrides_below(storage_db_t *db, edit_t *c, const char *id, const json_t *keys)
{
  storage_stmt_t *stmt = NULL;
  int row = first_below(db, sql_overrides_below, c, id, keys, &stmt);
  if (row != 1)
    return row;
  const char *child = storage_text(stmt, 0), *key = storage_text(stmt, 1);
  const place_t *place = PLACE_MEMBER(&place_attributes, keys != NULL ? "items" : "parent");
  problem_at(
      &c->problem, 409, place,
      "'%s', which inherits from this config, overrides item '%s' (%s) in an environment, and nothing would"
      " declare it so any more: take the override away first",
      child, key, storage_text(stmt, 2));
  storage_finish(stmt);
  return SMPL_EINVAL;
}

/* What is below agrees with what is above already, so only what changes is looked at: new items against the
 * types declared below, items that go against the overrides below; all of both when the ancestors are others.
 */
static int check_below(storage_db_t *db, edit_t *c, const char *id, bool moved, const json_t *gone,
                       const json_t *fresh)
{
  int64_t children = 0;
  int err =
      storage_number(db, sql_child, STORAGE_ARGS(STORAGE_TEXT(c->account), STORAGE_TEXT(id)), &children);
  if (err || children == 0)
    return err;
  if (moved || json_array_size(fresh) > 0)
    err = check_types_below(db, c, id, moved ? NULL : fresh);
  if (!err && (moved || json_array_size(gone) > 0))
    err = check_overrides_below(db, c, id, moved ? NULL : gone);
  return err;
}

int config_line_write(storage_db_t *db, edit_t *c, const char *id, const config_line_t *line,
                      const json_t *items)
{
  const char *account = c->account;
  int64_t before = 0;
  json_t *gone = keys_without(line->own, items), *fresh = keys_without(items, line->own);
  json_t *types = overridden(c->attributes, items, line->inherited);
  int err = gone == NULL || fresh == NULL || types == NULL ? SMPL_ENOMEM : SMPL_OK;
  if (!err)
    err = storage_number(db, sql_entries_of_one, STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(id)),
                         &before);
  if (!err)
    err = write_types(db, account, id, gone, fresh, items);
  if (!err)
    err = write_overrides(db, account, id, types);
  if (!err)
    err = check_room(db, c, before, (int64_t)(json_object_size(items) + json_object_size(types)));
  if (!err)
    err = check_below(db, c, id, line->moved, gone, fresh);
  json_decref(gone);
  json_decref(fresh);
  json_decref(types);
  return err;
}

int config_line_remove(storage_db_t *db, const char *account, const char *id)
{
  int err = write_overrides(db, account, id, NULL);
  return err ? err
             : storage_exec(db, sql_drop_types, STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(id)), NULL);
}
