#include "app/config/config_store.h"

#include <stdlib.h>
#include <string.h>

#include "app/config/config_rules.h"
#include "app/services/product.h"
#include "app/services/rows.h"
#include "common/error.h"

static const char *const migrations[] = {
    TENANTS_SQL "CREATE TABLE configs (account TEXT NOT NULL REFERENCES tenants (id), id TEXT NOT NULL, name "
                "TEXT NOT NULL,"
                " description TEXT, parent TEXT, items TEXT NOT NULL, environments TEXT NOT NULL, managed "
                "INTEGER NOT NULL,"
                " created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, PRIMARY KEY (account, id));"
                "CREATE INDEX configs_by_parent ON configs (account, parent);"
                /* The declared types, once more by themselves: what ancestors and children must agree on. */
                "CREATE TABLE config_types (account TEXT NOT NULL, config TEXT NOT NULL, key TEXT NOT NULL, "
                "type TEXT NOT NULL,"
                " PRIMARY KEY (account, config, key)) WITHOUT ROWID;",
    NULL,
};

const storage_schema_t config_schema = {"config", migrations};

static const char *const sorts[] = {"key", "name", "created_at", "updated_at", NULL};
static const char *const filters[] = {"filter[parent]", "filter[search]", "filter[managed]", NULL};

const jsonapi_list_spec_t config_list_spec = {sorts, 0, false, filters};

#define COLUMNS "id, name, description, parent, items, environments, managed, created_at, updated_at"
#define MATCHING                                                                                             \
  " FROM configs WHERE account = ?1 AND (?2 IS NULL OR parent = ?2)"                                         \
  " AND (?3 IS NULL OR instr(lower(id), ?3) > 0 OR instr(lower(name), ?3) > 0) AND (?4 < 0 OR managed = ?4)"
#define LIST(order) "SELECT " COLUMNS MATCHING " ORDER BY " order " LIMIT ?5 OFFSET ?6"

/* By sort, then direction. */
static const char *const list_sql[][2] = {
    {LIST("id"), LIST("id DESC")},
    {LIST("name, id"), LIST("name DESC, id")},
    {LIST("created_at, id"), LIST("created_at DESC, id")},
    {LIST("updated_at, id"), LIST("updated_at DESC, id")},
};
static const char count_sql[] = "SELECT count(*)" MATCHING;
static const char one_sql[] = "SELECT " COLUMNS " FROM configs WHERE account = ?1 AND id = ?2";

/* ?2 and its ancestors, nearest first. */
#define UP_FROM_2                                                                                            \
  "WITH RECURSIVE up (id, depth) AS (SELECT ?2, 1 UNION ALL SELECT c.parent, depth + 1 FROM up"              \
  " JOIN configs c ON c.account = ?1 AND c.id = up.id WHERE c.parent IS NOT NULL AND depth < 64)"
/* The children of ?2, theirs, and so on. */
#define DOWN_FROM_2                                                                                          \
  "down (id, depth) AS (SELECT id, 1 FROM configs WHERE account = ?1 AND parent = ?2 UNION ALL"              \
  " SELECT c.id, depth + 1 FROM down JOIN configs c ON c.account = ?1 AND c.parent = down.id WHERE depth < " \
  "64)"

static const char chain_sql[] = UP_FROM_2 " SELECT id FROM up ORDER BY depth";
static const char height_sql[] = "WITH RECURSIVE " DOWN_FROM_2 " SELECT coalesce(max(depth), 0) FROM down";
static const char inherited_sql[] = UP_FROM_2 " SELECT t.key, t.type FROM up JOIN config_types t"
                                              " ON t.account = ?1 AND t.config = up.id ORDER BY depth";
static const char own_types_sql[] = "SELECT key, type FROM config_types WHERE account = ?1 AND config = ?2";
static const char below_sql[] = UP_FROM_2
    ", " DOWN_FROM_2
    " SELECT a.config, a.key, a.type, b.config, b.type FROM config_types a JOIN config_types b"
    " ON b.account = ?1 AND b.key = a.key AND b.type <> a.type"
    " WHERE a.account = ?1 AND a.config IN (SELECT id FROM up) AND b.config IN (SELECT id FROM down) LIMIT 1";
static const char child_sql[] =
    "SELECT id FROM configs WHERE account = ?1 AND parent = ?2 ORDER BY id LIMIT 1";

/* ---- reading ---- */

static json_t *resource_of(storage_stmt_t *stmt, size_t *bytes)
{
  *bytes += strlen(storage_text(stmt, 4)) + strlen(storage_text(stmt, 5));
  json_t *attributes =
      json_pack("{s:s, s:o, s:o, s:o, s:o, s:b, s:o, s:o}", "name", storage_text(stmt, 1), "description",
                row_text(stmt, 2), "parent", row_text(stmt, 3), "items", row_json(stmt, 4), "environments",
                row_json(stmt, 5), "managed", (int)storage_int(stmt, 6), "created_at", row_time(stmt, 7),
                "updated_at", row_time(stmt, 8));
  return jsonapi_resource("config", storage_text(stmt, 0), attributes);
}

int config_get(storage_db_t *db, const char *account, const char *id, json_t **resource)
{
  return row_read(storage_query(db, one_sql, STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(id))),
                  resource_of, resource);
}

int config_list(storage_db_t *db, const char *account, const jsonapi_list_t *list, int managed, json_t **data,
                int64_t *total)
{
  char search[JSONAPI_SEARCH_MAX + 1];
  const storage_arg_t args[] = {STORAGE_TEXT(account),
                                STORAGE_TEXT(list->filters[CONFIG_FILTER_PARENT]),
                                STORAGE_TEXT(rows_search(list->filters[CONFIG_FILTER_SEARCH], search)),
                                STORAGE_INT(managed),
                                STORAGE_INT(list->size),
                                STORAGE_INT(jsonapi_offset(list))};
  *total = 0;
  int err = rows_read(storage_query(db, list_sql[list->sort][list->descending], args, 6), resource_of, data);
  if (!err && list->total)
    err = storage_number(db, count_sql, args, 4, total);
  if (err) {
    json_decref(*data);
    *data = NULL;
  }
  return err;
}

/* ---- writing ---- */

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

/* The parent exists, is not below this config, and the line does not get too long. */
static int check_parent(storage_db_t *db, const change_t *c, const char *id, const char *parent,
                        problem_t *problem)
{
  const place_t *place = PLACE_MEMBER(&place_attributes, "parent");
  const char *account = c->caller.account;
  int64_t height = 0, above = 0;
  json_t *found = NULL;
  int err = config_get(db, account, parent, &found);
  json_decref(found);
  if (strcmp(parent, id) == 0)
    return problem_invalid(problem, place, "a config cannot be its own parent");
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

static int write_types(storage_db_t *db, const char *account, const char *id, const json_t *items)
{
  const char *key;
  json_t *item;
  int err = storage_exec(db, "DELETE FROM config_types WHERE account = ?1 AND config = ?2",
                         STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(id)), NULL);
  json_object_foreach((json_t *)items, key, item)
  {
    if (err)
      break;
    const char *type = json_string_value(json_object_get(item, "type"));
    err = storage_exec(db, "INSERT INTO config_types (account, config, key, type) VALUES (?1, ?2, ?3, ?4)",
                       STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(id), STORAGE_TEXT(key),
                                    STORAGE_TEXT(type)),
                       NULL);
  }
  return err;
}

/* Types of this config and its ancestors, as written now, against those of the configs below it. */
static int check_below(storage_db_t *db, const char *account, const char *id, problem_t *problem)
{
  storage_stmt_t *stmt = storage_query(db, below_sql, STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(id)));
  int row = storage_step(stmt);
  if (row != 1)
    return row;
  const char *above = storage_text(stmt, 0), *key = storage_text(stmt, 1);
  const place_t *place = strcmp(above, id) == 0 ? PLACE_MEMBER(PLACE_MEMBER(&place_attributes, "items"), key)
                                                : PLACE_MEMBER(&place_attributes, "parent");
  problem_invalid(problem, place, "item '%s' is %s in '%s' and %s in '%s', which inherits from it", key,
                  storage_text(stmt, 2), above, storage_text(stmt, 4), storage_text(stmt, 3));
  storage_finish(stmt);
  return SMPL_EINVAL;
}

static int write_row(storage_db_t *db, const change_t *c, const char *id, const json_t *items, int managed)
{
  const json_t *a = c->attributes, *environments = json_object_get(a, "environments");
  char *items_text = json_dumps(items, JSON_COMPACT);
  char *environments_text =
      json_is_object(environments) ? json_dumps(environments, JSON_COMPACT) : strdup("{}");
  int err = SMPL_ENOMEM;
  if (items_text != NULL && environments_text != NULL)
    err = storage_exec(
        db,
        "INSERT INTO configs (account, " COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9)"
        " ON CONFLICT (account, id) DO UPDATE SET name = ?3, description = ?4, parent = ?5, items = ?6,"
        " environments = ?7, managed = ?8, updated_at = ?9",
        STORAGE_ARGS(STORAGE_TEXT(c->caller.account), STORAGE_TEXT(id),
                     STORAGE_TEXT(json_string_value(json_object_get(a, "name"))),
                     STORAGE_TEXT(json_string_value(json_object_get(a, "description"))),
                     STORAGE_TEXT(json_string_value(json_object_get(a, "parent"))), STORAGE_TEXT(items_text),
                     STORAGE_TEXT(environments_text), STORAGE_INT(managed), STORAGE_INT(c->now)),
        NULL);
  free(items_text);
  free(environments_text);
  return err;
}

/* Checks against what is stored and writes. */
static int save(storage_db_t *db, change_t *c, const char *id, int managed)
{
  const char *account = c->caller.account;
  const char *parent = json_string_value(json_object_get(c->attributes, "parent"));
  json_t *own = NULL, *inherited = NULL, *items = NULL, *resource = NULL;
  int err = parent != NULL ? check_parent(db, c, id, parent, &c->problem) : SMPL_OK;
  if (!err)
    err = read_types(storage_query(db, own_types_sql, STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(id))),
                     &own);
  if (!err)
    err = read_types(storage_query(db, inherited_sql,
                                   STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(parent))),
                     &inherited);
  if (!err)
    err = config_type_items(c->attributes, own, inherited, &items, &c->problem);
  if (!err)
    err = config_check_overrides(c->attributes, items, inherited, &c->problem);
  if (!err)
    err = write_row(db, c, id, items, managed);
  if (!err)
    err = write_types(db, account, id, items);
  if (!err)
    err = check_below(db, account, id, &c->problem);
  if (!err)
    err = config_get(db, account, id, &resource);
  if (!err)
    c->document = jsonapi_document(resource);
  json_decref(own);
  json_decref(inherited);
  json_decref(items);
  return err;
}

static int check_room(storage_db_t *db, change_t *c)
{
  int64_t count = 0;
  int err = storage_number(db, "SELECT count(*) FROM configs WHERE account = ?1",
                           STORAGE_ARGS(STORAGE_TEXT(c->caller.account)), &count);
  if (!err && count >= CONFIGS_MAX)
    return problem_at(&c->problem, 409, NULL, "this account has %d configs, the most it can have",
                      CONFIGS_MAX);
  return err;
}

int config_create(storage_db_t *db, change_t *c)
{
  const place_t *at_id = PLACE_MEMBER(&place_data, "id");
  json_t *found = NULL;
  int err = tenants_require(db, c->caller.account, &c->problem);
  if (err)
    return err;
  err = config_get(db, c->caller.account, c->new_id, &found);
  json_decref(found);
  if (!err)
    return problem_at(&c->problem, 409, at_id, "there is a config '%s' already", c->new_id);
  if (err == SMPL_ENOENT)
    err = check_room(db, c);
  c->status = 201;
  return err ? err : save(db, c, c->new_id, 1);
}

static int not_found(change_t *c)
{
  return problem_at(&c->problem, 404, NULL, "there is no config '%s' in this account", c->id);
}

int config_replace(storage_db_t *db, change_t *c)
{
  json_t *found = NULL;
  int err = tenants_require(db, c->caller.account, &c->problem);
  if (err)
    return err;
  err = config_get(db, c->caller.account, c->id, &found);
  if (err)
    return err == SMPL_ENOENT ? not_found(c) : err;
  const json_t *asked = json_object_get(c->attributes, "managed");
  const json_t *present = json_object_get(json_object_get(found, "attributes"), "managed");
  int managed = json_is_true(json_is_boolean(asked) ? asked : present);
  json_decref(found);
  c->status = 200;
  return save(db, c, c->id, managed);
}

int config_remove(storage_db_t *db, change_t *c)
{
  const char *account = c->caller.account;
  int64_t changed = 0;
  if (strcmp(c->id, "common") == 0)
    return problem_at(&c->problem, 409, NULL, "the config 'common' cannot be deleted");
  int err = tenants_require(db, account, &c->problem);
  if (err)
    return err;
  storage_stmt_t *stmt =
      storage_query(db, child_sql, STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(c->id)));
  int row = storage_step(stmt);
  if (row == 1) {
    err = problem_at(&c->problem, 409, NULL, "it is the parent of '%s': give that another parent first",
                     storage_text(stmt, 0));
    storage_finish(stmt);
  }
  if (row != 0)
    return row < 0 ? row : err;
  c->status = 204;
  err = write_types(db, account, c->id, NULL);
  if (!err)
    err = storage_exec(db, "DELETE FROM configs WHERE account = ?1 AND id = ?2",
                       STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(c->id)), &changed);
  return err ? err : changed == 0 ? not_found(c) : SMPL_OK;
}

int config_provision(storage_db_t *db, const char *account, int64_t now)
{
  return storage_exec(db,
                      "INSERT OR IGNORE INTO configs (account, " COLUMNS ")"
                      " VALUES (?1, 'common', 'Common', NULL, NULL, '{}', '{}', 1, ?2, ?2)",
                      STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_INT(now)), NULL);
}
