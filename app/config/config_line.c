/* SPDX-License-Identifier: Apache-2.0 */
#include "app/config/config_line.h"

#include <stdlib.h>
#include <string.h>

#include "app/config/config_rules.h"
#include "common/base/error.h"

/* ?2 and its ancestors, nearest first. */
#define UP_FROM_2                                                                                            \
  "WITH RECURSIVE up (id, depth) AS (SELECT ?2, 1 UNION ALL SELECT c.parent, depth + 1 FROM up"              \
  " JOIN configs c ON c.account = ?1 AND c.id = up.id WHERE c.parent IS NOT NULL AND depth < 64)"
/* The children of ?2, theirs, and so on. */
#define DOWN_FROM_2                                                                                          \
  "down (id, depth) AS (SELECT id, 1 FROM configs WHERE account = ?1 AND parent = ?2 UNION ALL"              \
  " SELECT c.id, depth + 1 FROM down JOIN configs c ON c.account = ?1 AND c.parent = down.id WHERE depth < " \
  "64)"
/* What ?2 and its ancestors declare, each key once: they agree on its type. */
#define DECLARED                                                                                             \
  "declared (key, type) AS MATERIALIZED (SELECT DISTINCT t.key, t.type FROM up CROSS JOIN config_types t"    \
  " WHERE t.account = ?1 AND t.config = up.id)"
/* ?3 is a JSON array of the keys in question, NULL for all. */
#define IN_QUESTION(key) "(?3 IS NULL OR " key " IN (SELECT value FROM json_each(?3)))"

static const char exists_sql[] = "SELECT 1 FROM configs WHERE account = ?1 AND id = ?2";
static const char chain_sql[] = UP_FROM_2 " SELECT id FROM up ORDER BY depth";
static const char height_sql[] = "WITH RECURSIVE " DOWN_FROM_2 " SELECT coalesce(max(depth), 0) FROM down";
static const char inherited_sql[] = UP_FROM_2 " SELECT t.key, t.type FROM up CROSS JOIN config_types t"
                                              " WHERE t.account = ?1 AND t.config = up.id ORDER BY depth";
static const char own_types_sql[] = "SELECT key, type FROM config_types WHERE account = ?1 AND config = ?2";
static const char child_sql[] = "SELECT EXISTS (SELECT 1 FROM configs WHERE account = ?1 AND parent = ?2)";

/* Driven from the items below, each looked up among those declared above: their number is what it costs,
 * whatever the shape of the tree. */
static const char types_below_sql[] = UP_FROM_2
    ", " DOWN_FROM_2 ", " DECLARED
    " SELECT b.key, declared.type, b.config, b.type FROM down CROSS JOIN config_types b CROSS JOIN declared"
    " WHERE b.account = ?1 AND b.config = down.id AND " IN_QUESTION(
        "b.key") " AND declared.key = b.key AND declared.type <> b.type LIMIT 1";
static const char declarer_sql[] = UP_FROM_2 " SELECT t.config FROM up CROSS JOIN config_types t WHERE "
                                             "t.account = ?1 AND t.config = up.id AND t.key = ?3"
                                             " ORDER BY depth LIMIT 1";

/* Overrides below that nothing declares any more, or as another type: neither ?2 and its ancestors nor,
 * looked for only then, the overriding config or one between the two. */
static const char overrides_below_sql[] =
    UP_FROM_2 ", " DOWN_FROM_2 ", " DECLARED ", line (config, id, depth) AS (SELECT id, id, 1 FROM down "
              "UNION ALL SELECT line.config, c.parent, line.depth + 1"
              " FROM line JOIN configs c ON c.account = ?1 AND c.id = line.id WHERE c.parent <> ?2 AND "
              "line.depth < 64),"
              " lines AS MATERIALIZED (SELECT config, id FROM line)"
              " SELECT o.config, o.key, o.type FROM down CROSS JOIN config_overrides o"
              " WHERE o.account = ?1 AND o.config = down.id AND " IN_QUESTION(
                  "o.key") " AND NOT EXISTS (SELECT 1 FROM declared a WHERE a.key = o.key AND a.type = "
                           "o.type) AND NOT EXISTS ("
                           "SELECT 1 FROM lines CROSS JOIN config_types d WHERE lines.config = o.config AND "
                           "d.account = ?1"
                           " AND d.config = lines.id AND d.key = o.key AND d.type = o.type) LIMIT 1";

static const char entries_of_one_sql[] =
    "SELECT (SELECT count(*) FROM config_types WHERE account = ?1 AND config = ?2)"
    " + (SELECT count(*) FROM config_overrides WHERE account = ?1 AND config = ?2)";
static const char entries_sql[] = "SELECT (SELECT count(*) FROM config_types WHERE account = ?1)"
                                  " + (SELECT count(*) FROM config_overrides WHERE account = ?1)";

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

static int check_parent(storage_db_t *db, const change_t *c, const char *id, const char *parent,
                        problem_t *problem)
{
  const place_t *place = PLACE_MEMBER(&place_attributes, "parent");
  const char *account = c->caller.account;
  int64_t height = 0, above = 0, found;
  if (strcmp(parent, id) == 0)
    return problem_invalid(problem, place, "a config cannot be its own parent");
  int err = storage_number(db, exists_sql, STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(parent)), &found);
  if (err == SMPL_ENOENT)
    return problem_invalid(problem, place, "there is no config '%s'", parent);
  if (!err)
    err = storage_number(db, height_sql, STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(id)), &height);
  if (err)
    return err;
  storage_stmt_t *stmt =
      storage_query(db, chain_sql, STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(parent)));
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

int config_line_read(storage_db_t *db, change_t *c, const char *id, const char *stored_parent,
                     config_line_t *line)
{
  const char *account = c->caller.account;
  const char *parent = json_string_value(json_object_get(c->attributes, "parent"));
  *line = (config_line_t){
      .moved = strcmp(parent != NULL ? parent : "", stored_parent != NULL ? stored_parent : "") != 0};
  int err = parent != NULL ? check_parent(db, c, id, parent, &c->problem) : SMPL_OK;
  if (!err)
    err = read_types(storage_query(db, own_types_sql, STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(id))),
                     &line->own);
  if (!err)
    err = read_types(storage_query(db, inherited_sql,
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
      err = storage_exec(db, "DELETE FROM config_types WHERE account = ?1 AND config = ?2 AND key = ?3",
                         STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(id),
                                      STORAGE_TEXT(json_string_value(entry))),
                         NULL);
  }
  json_array_foreach(fresh, i, entry)
  {
    const char *key = json_string_value(entry);
    const char *type = json_string_value(json_object_get(json_object_get(items, key), "type"));
    if (!err)
      err = insert(db, "INSERT INTO config_types (account, config, key, type) VALUES (?1, ?2, ?3, ?4)",
                   account, id, key, type);
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
  int err = storage_exec(db, "DELETE FROM config_overrides WHERE account = ?1 AND config = ?2",
                         STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(id)), NULL);
  json_object_foreach((json_t *)types, key, type)
  {
    if (err)
      break;
    err = insert(db, "INSERT INTO config_overrides (account, config, key, type) VALUES (?1, ?2, ?3, ?4)",
                 account, id, key, json_string_value(type));
  }
  return err;
}

/* A config may keep what it has in an account that is full, and shrink. */
static int check_room(storage_db_t *db, change_t *c, int64_t before, int64_t after)
{
  int64_t total = 0;
  if (after <= before)
    return SMPL_OK;
  int err = storage_number(db, entries_sql, STORAGE_ARGS(STORAGE_TEXT(c->caller.account)), &total);
  if (!err && total > CONFIG_ENTRIES_MAX)
    return problem_at(&c->problem, 409, NULL,
                      "this account would have more than %d items and overridden items, the most it can have",
                      CONFIG_ENTRIES_MAX);
  return err;
}

/* ---- the configs below ---- */

static int conflicting_type(storage_db_t *db, change_t *c, const char *id, storage_stmt_t *stmt)
{
  const char *account = c->caller.account, *key = storage_text(stmt, 0), *above = id;
  storage_stmt_t *declarer =
      storage_query(db, declarer_sql,
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
static int first_below(storage_db_t *db, const char *sql, const change_t *c, const char *id,
                       const json_t *keys, storage_stmt_t **stmt)
{
  char *text = keys != NULL ? json_dumps(keys, JSON_COMPACT) : NULL;
  if (keys != NULL && text == NULL)
    return SMPL_ENOMEM;
  *stmt = storage_query(db, sql,
                        STORAGE_ARGS(STORAGE_TEXT(c->caller.account), STORAGE_TEXT(id), STORAGE_TEXT(text)));
  free(text);
  return storage_step(*stmt);
}

static int check_types_below(storage_db_t *db, change_t *c, const char *id, const json_t *keys)
{
  storage_stmt_t *stmt = NULL;
  int row = first_below(db, types_below_sql, c, id, keys, &stmt);
  if (row != 1)
    return row;
  int err = conflicting_type(db, c, id, stmt);
  storage_finish(stmt);
  return err;
}

static int check_overrides_below(storage_db_t *db, change_t *c, const char *id, const json_t *keys)
{
  storage_stmt_t *stmt = NULL;
  int row = first_below(db, overrides_below_sql, c, id, keys, &stmt);
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
static int check_below(storage_db_t *db, change_t *c, const char *id, bool moved, const json_t *gone,
                       const json_t *fresh)
{
  int64_t children = 0;
  int err = storage_number(db, child_sql, STORAGE_ARGS(STORAGE_TEXT(c->caller.account), STORAGE_TEXT(id)),
                           &children);
  if (err || children == 0)
    return err;
  if (moved || json_array_size(fresh) > 0)
    err = check_types_below(db, c, id, moved ? NULL : fresh);
  if (!err && (moved || json_array_size(gone) > 0))
    err = check_overrides_below(db, c, id, moved ? NULL : gone);
  return err;
}

int config_line_write(storage_db_t *db, change_t *c, const char *id, const config_line_t *line,
                      const json_t *items)
{
  const char *account = c->caller.account;
  int64_t before = 0;
  json_t *gone = keys_without(line->own, items), *fresh = keys_without(items, line->own);
  json_t *types = overridden(c->attributes, items, line->inherited);
  int err = gone == NULL || fresh == NULL || types == NULL ? SMPL_ENOMEM : SMPL_OK;
  if (!err)
    err = storage_number(db, entries_of_one_sql, STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(id)),
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
             : storage_exec(db, "DELETE FROM config_types WHERE account = ?1 AND config = ?2",
                            STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(id)), NULL);
}
