/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/store/config_rules.h"
#include "app/store/sqlite/config_store.h"
#include "app/store/sqlite/tenant_store.h"
#include "common/base/error.h"
#include "tests/unit/app/svc_change.h"
#include "tests/unit/app/svc_fake.h"

#define AT "/data/attributes"

static storage_db_t *db;

static int set_up(void **state)
{
  (void)state;
  db = change_db_open(&config_schema);
  return config_kind.provision(db, TENANT, 5);
}

static int tear_down(void **state)
{
  (void)state;
  change_db_close(db);
  return 0;
}

/* Expects a status and, of a refusal, its pointer. */
static void expect(int (*run)(storage_db_t *, edit_t *), const char *id, const char *attributes, int status,
                   const char *pointer)
{
  edit_t c;
  bool create = run == config_create;
  int got = change_apply(db, run, TENANT, create ? NULL : id, create ? id : NULL, attributes, &c);
  if (got != status || strcmp(c.problem.pointer, pointer) != 0)
    fail_msg("%s: status %d at '%s': %s", id, got, c.problem.pointer, c.problem.detail);
  json_decref(c.document);
}

static void create(const char *id, const char *attributes)
{
  expect(config_create, id, attributes, 201, "");
}

static void shapes_are_checked_at_their_place(void **state)
{
  static const struct {
    const char *json, *pointer;
  } cases[] = {
      {"{\"name\": \"x\"}", ""},
      {"{\"name\": \"x\", \"items\": null, \"environments\": null, \"parent\": null, \"managed\": null}", ""},
      {"{\"name\": \"x\", \"items\": []}", AT "/items"},
      {"{\"name\": \"x\", \"items\": {\"a\": 1}}", AT "/items/a"},
      {"{\"name\": \"x\", \"items\": {\"\": {}}}", AT "/items/"},
      {"{\"name\": \"x\", \"items\": {\"a\": {\"vlaue\": 1}}}", AT "/items/a/vlaue"},
      {"{\"name\": \"x\", \"items\": {\"a\": {\"value\": 1, \"type\": \"INT\"}}}", AT "/items/a/type"},
      {"{\"name\": \"x\", \"items\": {\"a\": {\"value\": 1, \"description\": 2}}}",
       AT "/items/a/description"},
      {"{\"name\": \"x\", \"environments\": {\"prod\": 1}}", AT "/environments/prod"},
      {"{\"name\": \"x\", \"environments\": {\"p/q\": null}}", AT "/environments/p~1q"},
      {"{\"name\": \"x\", \"managed\": \"yes\"}", AT "/managed"},
      {"{\"name\": \"x\", \"parent\": 5}", AT "/parent"},
      {"{\"name\": \"x\", \"created_at\": 5}", ""},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    problem_t problem = {0};
    json_t *json = json_loads(cases[i].json, 0, NULL);
    config_check_shape(json, &problem);
    assert_string_equal(problem.pointer, cases[i].pointer);
    json_decref(json);
  }
}

static void counts_and_lengths_hold_at_their_limits(void **state)
{
  static const struct {
    const char *map, *value;
    int limit;
  } cases[] = {{"items", "{}", CONFIG_ITEMS_MAX}, {"environments", "{}", CONFIG_ENVIRONMENTS_MAX}};
  problem_t problem = {0};
  char key[300];
  (void)state;
  for (size_t i = 0; i < 2; i++) {
    json_t *map = json_object();
    json_t *attributes = json_pack("{s:s, s:O}", "name", "x", cases[i].map, map);
    for (int n = 0; n < cases[i].limit; n++) {
      snprintf(key, sizeof key, "k%d", n);
      json_object_set_new(map, key, json_object());
    }
    assert_int_equal(config_check_shape(attributes, &problem), SMPL_OK);
    json_object_set_new(map, "one more", json_object());
    assert_int_equal(config_check_shape(attributes, &problem), SMPL_EINVAL);
    json_object_clear(map);
    memset(key, 'k', CONFIG_KEY_MAX);
    key[CONFIG_KEY_MAX] = '\0';
    json_object_set_new(map, key, json_object());
    assert_int_equal(config_check_shape(attributes, &problem), SMPL_OK);
    key[CONFIG_KEY_MAX] = 'k';
    key[CONFIG_KEY_MAX + 1] = '\0';
    json_object_set_new(map, key, json_object());
    assert_int_equal(config_check_shape(attributes, &problem), SMPL_EINVAL);
    json_decref(attributes);
    json_decref(map);
  }
}

/* The type that the one item `a` gets, or "" if it is refused. */
static void expect_type(const char *item, const char *own, const char *inherited, const char *type)
{
  problem_t problem = {0};
  json_t *attributes = json_pack("{s:{s:o}}", "items", "a", json_loads(item, 0, NULL));
  json_t *mine = own != NULL ? json_pack("{s:s}", "a", own) : json_object();
  json_t *above = inherited != NULL ? json_pack("{s:s}", "a", inherited) : json_object();
  json_t *items = NULL;
  int err = config_type_items(attributes, mine, above, &items, &problem);
  const char *got = err ? "" : json_string_value(json_object_get(json_object_get(items, "a"), "type"));
  if (strcmp(got, type) != 0)
    fail_msg("%s is '%s' instead of '%s': %s", item, got, type, problem.detail);
  json_decref(items);
  json_decref(above);
  json_decref(mine);
  json_decref(attributes);
}

static void types_follow_from_body_then_history_then_ancestors_then_value(void **state)
{
  (void)state;
  expect_type("{\"value\": 1}", NULL, NULL, "NUMBER");
  expect_type("{\"value\": 1.5}", NULL, NULL, "NUMBER");
  expect_type("{\"value\": \"s\"}", NULL, NULL, "STRING");
  expect_type("{\"value\": true}", NULL, NULL, "BOOLEAN");
  expect_type("{\"value\": {}}", NULL, NULL, "JSON");
  expect_type("{\"value\": []}", NULL, NULL, "JSON");
  expect_type("{\"value\": \"s\", \"type\": \"JSON\"}", NULL, NULL, "JSON");
  expect_type("{\"value\": \"s\"}", "JSON", NULL, "JSON");
  expect_type("{\"value\": \"s\"}", NULL, "JSON", "JSON");
  expect_type("{\"value\": null, \"type\": \"NUMBER\"}", NULL, NULL, "NUMBER");
  expect_type("{\"type\": \"NUMBER\"}", NULL, NULL, "NUMBER");
  expect_type("{\"value\": null}", "NUMBER", NULL, "NUMBER");
  expect_type("{\"value\": null}", NULL, NULL, "");
}

static void types_never_change_and_agree_with_ancestors(void **state)
{
  (void)state;
  expect_type("{\"value\": 1, \"type\": \"NUMBER\"}", "STRING", NULL, "");
  expect_type("{\"value\": 1}", "STRING", NULL, "");
  expect_type("{\"value\": 1, \"type\": \"NUMBER\"}", NULL, "STRING", "");
  expect_type("{\"value\": 1}", NULL, "STRING", "");
  expect_type("{\"value\": \"s\", \"type\": \"NUMBER\"}", NULL, NULL, "");
  expect_type("{\"value\": 1, \"type\": \"BOOLEAN\"}", NULL, NULL, "");
  expect_type("{\"value\": 0, \"type\": \"STRING\"}", NULL, NULL, "");
}

static void parents_exist_and_lead_nowhere_back(void **state)
{
  (void)state;
  expect(config_create, "a", "{\"name\": \"a\", \"parent\": \"nobody\"}", 400, AT "/parent");
  expect(config_create, "a", "{\"name\": \"a\", \"parent\": \"a\"}", 400, AT "/parent");
  create("a", "{\"name\": \"a\", \"parent\": \"common\"}");
  create("b", "{\"name\": \"b\", \"parent\": \"a\"}");
  create("c", "{\"name\": \"c\", \"parent\": \"b\"}");
  expect(config_replace, "a", "{\"name\": \"a\", \"parent\": \"a\"}", 400, AT "/parent");
  expect(config_replace, "a", "{\"name\": \"a\", \"parent\": \"b\"}", 400, AT "/parent");
  expect(config_replace, "a", "{\"name\": \"a\", \"parent\": \"c\"}", 400, AT "/parent");
  expect(config_replace, "common", "{\"name\": \"a\", \"parent\": \"c\"}", 400, AT "/parent");
  expect(config_replace, "c", "{\"name\": \"c\", \"parent\": \"common\"}", 200, "");
}

static void a_line_of_inheritance_has_at_most_16_configs(void **state)
{
  char id[16], attributes[64];
  (void)state;
  create("c1", "{\"name\": \"x\"}");
  for (int i = 2; i <= CONFIG_DEPTH_MAX; i++) {
    snprintf(id, sizeof id, "c%d", i);
    snprintf(attributes, sizeof attributes, "{\"name\": \"x\", \"parent\": \"c%d\"}", i - 1);
    create(id, attributes);
  }
  expect(config_create, "c17", "{\"name\": \"x\", \"parent\": \"c16\"}", 400, AT "/parent");
  /* Nor by moving a line below another. */
  expect(config_replace, "c1", "{\"name\": \"x\", \"parent\": \"common\"}", 400, AT "/parent");
}

static void children_and_parents_keep_agreeing_on_types(void **state)
{
  (void)state;
  create("top", "{\"name\": \"top\", \"items\": {\"n\": {\"value\": 1}}}");
  create("child", "{\"name\": \"child\", \"parent\": \"top\", \"items\": {\"s\": {\"value\": \"x\"}}}");
  expect(config_replace, "child",
         "{\"name\": \"c\", \"parent\": \"top\", \"items\": {\"n\": {\"value\": \"x\"}}}", 400,
         AT "/items/n/value");
  /* The parent may not declare what a child has as another type. */
  expect(config_replace, "top",
         "{\"name\": \"t\", \"items\": {\"n\": {\"value\": 1}, \"s\": {\"value\": 2}}}", 400, AT "/items/s");
  /* Nor may a line be hung below a config that disagrees with its far end. */
  create("strange", "{\"name\": \"strange\", \"items\": {\"s\": {\"value\": true}}}");
  expect(config_replace, "top",
         "{\"name\": \"t\", \"parent\": \"strange\", \"items\": {\"n\": {\"value\": 1}}}", 400, AT "/parent");
  expect(config_replace, "top",
         "{\"name\": \"t\", \"items\": {\"n\": {\"value\": 1}, \"s\": {\"value\": \"y\"}}}", 200, "");
  /* An item that is gone may come back as something else. */
  expect(config_replace, "strange", "{\"name\": \"strange\"}", 200, "");
  expect(config_replace, "strange", "{\"name\": \"strange\", \"items\": {\"s\": {\"value\": 7}}}", 200, "");
}

static void overrides_name_declared_items_and_have_their_type(void **state)
{
  (void)state;
  create("top", "{\"name\": \"top\", \"items\": {\"n\": {\"value\": 1}}}");
  create("child", "{\"name\": \"child\", \"parent\": \"top\", \"environments\": {\"prod\": {\"n\": 2}}}");
  expect(config_replace, "child",
         "{\"name\": \"c\", \"parent\": \"top\", \"environments\": {\"prod\": {\"n\": \"2\"}}}", 400,
         AT "/environments/prod/n");
  expect(config_replace, "child",
         "{\"name\": \"c\", \"parent\": \"top\", \"environments\": {\"prod\": {\"m\": 2}}}", 400,
         AT "/environments/prod/m");
  expect(config_replace, "child", "{\"name\": \"c\", \"environments\": {\"prod\": {\"n\": 2}}}", 400,
         AT "/environments/prod/n");
}

static void what_children_override_stays_declared(void **state)
{
  static const char *const child =
      "{\"name\": \"c\", \"parent\": \"mid\", \"environments\": {\"prod\": {\"n\": 2, \"m\": 3}}}";
  (void)state;
  create("top", "{\"name\": \"t\", \"items\": {\"n\": {\"value\": 1}, \"x\": {\"value\": 1}}}");
  create("mid", "{\"name\": \"m\", \"parent\": \"top\", \"items\": {\"m\": {\"value\": 1}}}");
  create("child", child);
  /* Not by taking the item away, */
  expect(config_replace, "top", "{\"name\": \"t\"}", 409, AT "/items");
  expect(config_replace, "mid", "{\"name\": \"m\", \"parent\": \"top\"}", 409, AT "/items");
  /* nor by another parent that does not have it, or has it as another type. */
  expect(config_replace, "mid", "{\"name\": \"m\", \"items\": {\"m\": {\"value\": 1}}}", 409, AT "/parent");
  create("strange", "{\"name\": \"s\", \"items\": {\"n\": {\"value\": \"text\"}}}");
  expect(config_replace, "mid",
         "{\"name\": \"m\", \"parent\": \"strange\", \"items\": {\"m\": {\"value\": 1}}}", 409, AT "/parent");
  expect(config_replace, "child", child, 200, "");
  /* Items that nobody overrides go as before; so does one that the overriding config or one between declares.
   */
  expect(config_replace, "top", "{\"name\": \"t\", \"items\": {\"n\": {\"value\": 1}}}", 200, "");
  expect(config_replace, "mid",
         "{\"name\": \"m\", \"parent\": \"top\", \"items\": {\"n\": {\"value\": 1}, \"m\": {\"value\": 1}}}",
         200, "");
  expect(config_replace, "top", "{\"name\": \"t\"}", 200, "");
  /* The refusal names the config that stands in the way; without its override the item goes. */
  edit_t c;
  assert_int_equal(change_apply(db, config_replace, TENANT, "mid", NULL, "{\"name\": \"m\"}", &c), 409);
  assert_non_null(strstr(c.problem.detail, "'child'"));
  expect(config_replace, "child", "{\"name\": \"c\", \"parent\": \"mid\"}", 200, "");
  expect(config_replace, "mid", "{\"name\": \"m\"}", 200, "");
}

static void command(const char *sql)
{
  assert_int_equal(storage_db_command(db, sql), SMPL_OK);
}

/* A file of the first version, with what its rules let through: the overrides of `child`, of which `lost` is
 * declared by nobody any more. */
static void an_older_file_learns_which_items_are_overridden(void **state)
{
  const storage_schema_t first = {config_schema.owner,
                                  (const char *const[]){config_schema.migrations[0], NULL},
                                  config_schema.ensure};
  diag_t diag = {""};
  int64_t count = 0;
  (void)state;
  change_db_close(db);
  db = change_db_open(&first);
  command("INSERT INTO configs VALUES ('" TENANT "', 'top', 't', NULL, NULL,"
          " '{\"n\":{\"value\":1,\"type\":\"NUMBER\"}}', '{}', 1, 0, 0);"
          "INSERT INTO config_types VALUES ('" TENANT "', 'top', 'n', 'NUMBER');"
          "INSERT INTO configs VALUES ('" TENANT "', 'mid', 'm', NULL, 'top', '{}', '{}', 1, 0, 0);"
          "INSERT INTO configs VALUES ('" TENANT "', 'child', 'c', NULL, 'mid', '{}',"
          " '{\"prod\":{\"n\":2,\"lost\":3},\"test\":{\"n\":4},\"empty\":{}}', 1, 0, 0)");
  assert_int_equal(storage_db_prepare(db, fake_path("t.db"), &config_schema, &diag), SMPL_OK);
  assert_int_equal(storage_number(db,
                                  "SELECT count(*) FROM config_overrides WHERE account = '" TENANT
                                  "' AND config = 'child' AND key = 'n' AND type = 'NUMBER'",
                                  STORAGE_NO_ARGS, &count),
                   SMPL_OK);
  assert_int_equal(count, 1);
  assert_int_equal(storage_number(db, "SELECT count(*) FROM config_overrides WHERE 1", STORAGE_NO_ARGS,
                                  &count),
                   SMPL_OK);
  assert_int_equal(count, 1);
  expect(config_replace, "top", "{\"name\": \"t\"}", 409, AT "/items");
  expect(config_replace, "mid", "{\"name\": \"m\", \"parent\": \"top\"}", 200, "");
}

/* A line of 15 configs and as many leaves below its end as an account may have, all with the same items, each
 * leaf with overrides: the shape in which every ancestor's item has something to agree with in every
 * descendant. */
static void fill_widest_tree(int leaves, int items)
{
  char sql[4096];
  snprintf(
      sql, sizeof sql,
      "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 14)"
      " INSERT INTO configs SELECT '" TENANT "', 'c' || i, 'x', NULL, iif(i > 0, 'c' || (i - 1), NULL), '{}',"
      " '{}', 1, 0, 0 FROM n;"
      "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
      " INSERT INTO configs SELECT '" TENANT "', 'w' || i, 'x', NULL, 'c14', '{}', '{}', 1, 0, 0 FROM n;"
      "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d) INSERT INTO config_types"
      " SELECT '" TENANT "', c.id, 'k' || i, 'NUMBER' FROM n JOIN configs c ON c.id GLOB 'c[0-9]*';"
      "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d) INSERT INTO config_types"
      " SELECT '" TENANT "', c.id, 'k' || i, 'NUMBER' FROM n JOIN configs c ON c.id GLOB 'w*';"
      "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d) INSERT INTO "
      "config_overrides"
      " SELECT '" TENANT "', c.id, 'o' || i, 'NUMBER' FROM n JOIN configs c ON c.id GLOB 'w*';"
      "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d) INSERT INTO config_types"
      " SELECT '" TENANT "', 'c14', 'o' || i, 'NUMBER' FROM n",
      leaves - 1, items - 1, items - 1, items - 1, items - 1);
  command(sql);
}

/* A config's attributes with items k0, k1, ..., and the parent. */
static char *with_items(const char *parent, int count)
{
  json_t *items = json_object();
  char key[16];
  for (int i = 0; i < count; i++) {
    snprintf(key, sizeof key, "k%d", i);
    json_object_set_new(items, key, json_pack("{s:i}", "value", 1));
  }
  json_t *attributes = json_pack("{s:s, s:s, s:o}", "name", "x", "parent", parent, "items", items);
  char *text = json_dumps(attributes, JSON_COMPACT);
  json_decref(attributes);
  return text;
}

/* What SQLite does, in steps of its virtual machine: the same on every machine. */
static uint64_t steps;
int __real_sqlite3_step(sqlite3_stmt *stmt);
int __wrap_sqlite3_step(sqlite3_stmt *stmt);
int __wrap_sqlite3_step(sqlite3_stmt *stmt)
{
  sqlite3_stmt_status(stmt, SQLITE_STMTSTATUS_VM_STEP, 1);
  int code = __real_sqlite3_step(stmt);
  steps += (uint64_t)sqlite3_stmt_status(stmt, SQLITE_STMTSTATUS_VM_STEP, 0);
  return code;
}

static uint64_t counted(const char *id, const char *parent, int count, int status, const char *pointer)
{
  char *attributes = with_items(parent, count);
  uint64_t before = steps;
  expect(config_replace, id, attributes, status, pointer);
  free(attributes);
  return steps - before;
}

static void changes_above_a_full_account_do_not_hold_the_writer_up(void **state)
{
  enum {
    LEAVES = 165,
    ITEMS = 550,
    STEPS_MAX = 10000000, /* of one change; the dearest here takes 6 million */
  };
  int64_t entries = 0;
  (void)state;
  fill_widest_tree(LEAVES, ITEMS);
  assert_int_equal(storage_number(db,
                                  "SELECT (SELECT count(*) FROM config_types WHERE 1) + (SELECT count(*) FROM"
                                  " config_overrides WHERE 1)",
                                  STORAGE_NO_ARGS, &entries),
                   SMPL_OK);
  assert_in_range(entries, CONFIG_ENTRIES_MAX * 9 / 10, CONFIG_ENTRIES_MAX - 1000);
  uint64_t same = counted("c13", "c12", ITEMS, 200, ""), fresh = counted("c13", "c12", ITEMS + 1, 200, "");
  uint64_t gone = counted("c13", "c12", 1, 200, ""), moved = counted("c13", "c11", ITEMS, 200, "");
  /* Overrides that only the configs between declare are the dearest. */
  uint64_t all = counted("c14", "c12", ITEMS, 409, AT "/parent");
  assert_true(same < STEPS_MAX && fresh < STEPS_MAX && gone < STEPS_MAX && moved < STEPS_MAX &&
              all < STEPS_MAX);
}

static void an_account_has_at_most_200000_items_and_overridden_items(void **state)
{
  char sql[512];
  (void)state;
  create("big", "{\"name\": \"x\", \"items\": {\"a\": {\"value\": 1}, \"b\": {\"value\": 1}}}");
  snprintf(sql, sizeof sql,
           "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
           " INSERT INTO config_types SELECT '" TENANT "', 'n' || (i / 1000), 'k' || i, 'NUMBER' FROM n",
           CONFIG_ENTRIES_MAX - 4);
  command(sql);
  create("last", "{\"name\": \"x\", \"items\": {\"a\": {\"value\": 1}},"
                 " \"environments\": {\"p\": {\"a\": 1}, \"q\": {\"a\": 2}}}");
  expect(config_create, "more", "{\"name\": \"x\", \"items\": {\"a\": {\"value\": 1}}}", 409, "");
  expect(
      config_replace, "big",
      "{\"name\": \"x\", \"items\": {\"a\": {\"value\": 1}, \"b\": {\"value\": 1}, \"c\": {\"value\": 1}}}",
      409, "");
  /* What is there may change, and go. */
  expect(config_replace, "big",
         "{\"name\": \"x\", \"items\": {\"a\": {\"value\": 2}, \"c\": {\"value\": 1}}}", 200, "");
  expect(config_replace, "big", "{\"name\": \"x\"}", 200, "");
  create("more", "{\"name\": \"x\", \"items\": {\"a\": {\"value\": 1}}}");
}

static void common_and_parents_cannot_be_deleted(void **state)
{
  (void)state;
  create("a", "{\"name\": \"a\"}");
  create("b", "{\"name\": \"b\", \"parent\": \"a\"}");
  expect(config_remove, "common", NULL, 409, "");
  expect(config_remove, "a", NULL, 409, "");
  expect(config_remove, "b", NULL, 204, "");
  expect(config_remove, "b", NULL, 404, "");
  expect(config_remove, "a", NULL, 204, "");
  create("a", "{\"name\": \"a\", \"items\": {\"n\": {\"value\": \"types went with it\"}}}");
}

static void a_refused_change_leaves_everything_as_it_was(void **state)
{
  json_t *before = NULL, *after = NULL;
  (void)state;
  create("a", "{\"name\": \"a\", \"items\": {\"n\": {\"value\": 1}}}");
  create("b", "{\"name\": \"b\", \"parent\": \"a\", \"items\": {\"s\": {\"value\": \"x\"}}}");
  assert_int_equal(document_get(db, &config_kind, TENANT, "a", &before), SMPL_OK);
  expect(config_replace, "a", "{\"name\": \"other\", \"items\": {\"s\": {\"value\": 1}}}", 400,
         AT "/items/s");
  assert_int_equal(document_get(db, &config_kind, TENANT, "a", &after), SMPL_OK);
  assert_true(json_equal(before, after));
  /* Types too: n is still a NUMBER. */
  expect(config_replace, "a", "{\"name\": \"a\", \"items\": {\"n\": {\"value\": \"x\"}}}", 400,
         AT "/items/n/value");
  json_decref(before);
  json_decref(after);
}

static void accounts_do_not_see_each_other(void **state)
{
  edit_t c;
  json_t *found = NULL;
  (void)state;
  create("a", "{\"name\": \"a\", \"items\": {\"n\": {\"value\": 1}}}");
  assert_int_equal(document_get(db, &config_kind, OTHER, "a", &found), SMPL_ENOENT);
  assert_int_equal(change_apply(db, config_remove, OTHER, "a", NULL, NULL, &c), 404);
  assert_int_equal(change_apply(db, config_replace, OTHER, "a", NULL, "{\"name\": \"x\"}", &c), 404);
  assert_int_equal(change_apply(db, config_create, OTHER, NULL, "b", "{\"name\": \"x\", \"parent\": \"a\"}",
                                &c),
                   400);
  assert_int_equal(change_apply(db, config_create, OTHER, NULL, "a", "{\"name\": \"x\"}", &c), 201);
  json_decref(c.document);
  assert_int_equal(change_apply(db, config_create, "00000000-0000-4000-8000-000000000000", NULL, "a",
                                "{\"name\": \"x\"}", &c),
                   503);
}

static void lists_are_sorted_filtered_and_counted(void **state)
{
  static const char *const ids[] = {"delta", "alpha", "Beta", "gamma"};
  json_t *data = NULL;
  int64_t total = 0;
  (void)state;
  for (int i = 0; i < 4; i++)
    create(ids[i], i == 3 ? "{\"name\": \"Search ME\", \"parent\": \"common\"}" : "{\"name\": \"x\"}");
  jsonapi_list_t list;
  jsonapi_list_defaults(&config_list_spec, &list);
  list.total = true;
  list.size = 2;
  list.page = 3;
  assert_int_equal(document_list(db, &config_kind, TENANT, &list, &(const fetch_filter_t){.managed = -1},
                                 &data, &total),
                   SMPL_OK);
  assert_int_equal(total, 5);
  assert_int_equal(json_array_size(data), 1);
  assert_string_equal(json_string_value(json_object_get(json_array_get(data, 0), "id")), "gamma");
  json_decref(data);
  list.page = 1;
  list.filters[CONFIG_FILTER_SEARCH] = "rch mE";
  assert_int_equal(document_list(db, &config_kind, TENANT, &list, &(const fetch_filter_t){.managed = 1},
                                 &data, &total),
                   SMPL_OK);
  assert_true(total == 1 && json_array_size(data) == 1);
  json_decref(data);
  assert_int_equal(document_list(db, &config_kind, TENANT, &list, &(const fetch_filter_t){.managed = 0},
                                 &data, &total),
                   SMPL_OK);
  assert_int_equal(total, 0);
  json_decref(data);
  list.filters[CONFIG_FILTER_SEARCH] = "%"; /* no wildcard */
  assert_int_equal(document_list(db, &config_kind, TENANT, &list, &(const fetch_filter_t){.managed = -1},
                                 &data, &total),
                   SMPL_OK);
  assert_int_equal(total, 0);
  json_decref(data);
  list.filters[CONFIG_FILTER_SEARCH] = NULL;
  const fetch_filter_t below = {.managed = -1, .group = "common"};
  assert_int_equal(document_list(db, &config_kind, TENANT, &list, &below, &data, &total), SMPL_OK);
  assert_int_equal(total, 1);
  json_decref(data);
}

/* A config of about len bytes. */
static void create_big(const char *id, size_t len)
{
  char *text = malloc(len + 64);
  assert_non_null(text);
  size_t at = (size_t)snprintf(text, 64, "{\"name\": \"x\", \"items\": {\"a\": {\"value\": \"");
  memset(text + at, 'x', len - at);
  memcpy(text + len, "\"}}}", 5);
  create(id, text);
  free(text);
}

static void a_page_ends_early_at_1_mib_and_the_pages_after_it_leave_nothing_out(void **state)
{
  jsonapi_list_t list;
  int64_t total = 0, size = 0;
  char id[16];
  size_t seen = 0;
  (void)state;
  for (int i = 0; i < 17; i++) {
    snprintf(id, sizeof id, "c%02d", i);
    create_big(id, i == 9 ? JSONAPI_LIST_BYTES_MAX + 1 : JSONAPI_LIST_BYTES_MAX / 6);
  }
  jsonapi_list_defaults(&config_list_spec, &list);
  list.total = true;
  for (bool last = false; !last;) {
    json_t *data = NULL;
    assert_int_equal(document_list(db, &config_kind, TENANT, &list, &(const fetch_filter_t){.managed = -1},
                                   &data, &total),
                     SMPL_OK);
    assert_int_equal(total, 18); /* common, too, behind the others */
    assert_int_equal(jsonapi_offset(&list), seen);
    for (size_t i = 0; i < json_array_size(data); i++, seen++) {
      snprintf(id, sizeof id, "c%02d", (int)seen);
      assert_string_equal(json_string_value(json_object_get(json_array_get(data, i), "id")),
                          seen == 17 ? "common" : id);
    }
    if (size == 0)
      assert_int_equal(list.size, 5);
    last = json_array_size(data) < (size_t)list.size || seen == 18;
    size = list.size;
    list.page++;
    json_decref(data);
  }
  assert_int_equal(seen, 18);
  assert_int_equal(size, 1);
}

static void a_config_above_a_page_is_a_page_of_its_own(void **state)
{
  jsonapi_list_t list;
  json_t *data = NULL;
  int64_t total = 0;
  (void)state;
  create_big("a", JSONAPI_LIST_BYTES_MAX + 1);
  jsonapi_list_defaults(&config_list_spec, &list);
  assert_int_equal(document_list(db, &config_kind, TENANT, &list, &(const fetch_filter_t){.managed = -1},
                                 &data, &total),
                   SMPL_OK);
  assert_int_equal(json_array_size(data), 1);
  assert_true(list.page == 1 && list.size == 1);
  json_decref(data);
}

static void a_thousand_small_configs_are_one_page(void **state)
{
  jsonapi_list_t list;
  json_t *data = NULL;
  int64_t total = 0;
  (void)state;
  command("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200)"
          " INSERT INTO configs SELECT '" TENANT "', 'n' || i, 'x', NULL, NULL,"
          " '{\"a\":{\"value\":1,\"type\":\"NUMBER\",\"description\":null}}', '{}', 1, 0, 0 FROM n");
  jsonapi_list_defaults(&config_list_spec, &list);
  assert_int_equal(document_list(db, &config_kind, TENANT, &list, &(const fetch_filter_t){.managed = -1},
                                 &data, &total),
                   SMPL_OK);
  assert_int_equal(json_array_size(data), 1000);
  assert_true(list.page == 1 && list.size == 1000);
  json_decref(data);
}

static void an_account_has_at_most_10000_configs(void **state)
{
  (void)state;
  assert_int_equal(
      storage_db_command(db, "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9998)"
                             " INSERT INTO configs SELECT '" TENANT
                             "', 'n' || i, 'x', NULL, NULL, '{}', '{}', 1, 0, 0"
                             " FROM n"),
      SMPL_OK);
  create("last", "{\"name\": \"x\"}");
  expect(config_create, "more", "{\"name\": \"x\"}", 409, "");
}

static int64_t stored_bytes(void)
{
  int64_t bytes = 0;
  assert_int_equal(tenants_bytes(db, TENANT, &bytes), SMPL_OK);
  return bytes;
}

/* A row of that many bytes more than its id, without the service's checks. */
static void put_ballast(const char *id, int64_t bytes)
{
  char sql[512];
  snprintf(sql, sizeof sql,
           "DELETE FROM configs WHERE id = '%s'; INSERT INTO configs (account, id, name, items, "
           "environments, managed, created_at, updated_at)"
           " VALUES ('" TENANT "', '%s', 'x', printf('%%*s', %d, ''), '{}', 1, 0, 0)",
           id, id, (int)bytes);
  assert_int_equal(storage_db_command(db, sql), SMPL_OK);
}

static void an_account_has_at_most_64_mib_stored(void **state)
{
  (void)state;
  int64_t others = stored_bytes();
  create("a", "{\"name\": \"12345\"}");
  int64_t small = stored_bytes() - others;
  assert_in_range(small, 10, 200);
  put_ballast("ballast", 1000);
  int64_t overhead = stored_bytes() - small - others - 1000;
  put_ballast("ballast", TENANT_BYTES_MAX - others - small - overhead - small);
  assert_int_equal(stored_bytes(), TENANT_BYTES_MAX - small);
  create("b", "{\"name\": \"12345\"}"); /* the last that fits */
  assert_int_equal(stored_bytes(), TENANT_BYTES_MAX);
  expect(config_create, "c", "{\"name\": \"1\"}", 409, "");
  expect(config_replace, "a", "{\"name\": \"123456\"}", 409, "");
  expect(config_replace, "a", "{\"name\": \"54321\"}", 200, ""); /* nothing is added */
  expect(config_replace, "a", "{\"name\": \"1234\"}", 200, "");
  expect(config_remove, "b", NULL, 204, "");
  assert_int_equal(stored_bytes(), TENANT_BYTES_MAX - small - 1);
  put_ballast("ballast", TENANT_BYTES_MAX); /* as it may have been before there was a limit */
  expect(config_replace, "a", "{\"name\": \"1\"}", 200, "");
  expect(config_create, "d", "{\"name\": \"1\"}", 409, "");
}

static void the_bytes_of_an_older_file_are_counted_when_it_is_opened(void **state)
{
  const char *older[8] = {NULL};
  (void)state;
  int count = 0;
  while (config_schema.migrations[count] != NULL)
    count++;
  for (int i = 0; i < count - 1; i++) /* the last one counts */
    older[i] = config_schema.migrations[i];
  change_db_close(db);
  db = change_db_open(&(storage_schema_t){config_schema.owner, older, config_schema.ensure});
  put_ballast("old", 12345);
  storage_db_close(db);
  assert_int_equal(storage_db_open(fake_path("t.db"), STORAGE_WRITES, &db, NULL), SMPL_OK);
  assert_int_equal(storage_db_prepare(db, fake_path("t.db"), &config_schema, NULL), SMPL_OK);
  assert_in_range(stored_bytes(), 12345 + 3, 12345 + 20);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(shapes_are_checked_at_their_place),
      cmocka_unit_test(counts_and_lengths_hold_at_their_limits),
      cmocka_unit_test(types_follow_from_body_then_history_then_ancestors_then_value),
      cmocka_unit_test(types_never_change_and_agree_with_ancestors),
      cmocka_unit_test_setup_teardown(parents_exist_and_lead_nowhere_back, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_line_of_inheritance_has_at_most_16_configs, set_up, tear_down),
      cmocka_unit_test_setup_teardown(children_and_parents_keep_agreeing_on_types, set_up, tear_down),
      cmocka_unit_test_setup_teardown(overrides_name_declared_items_and_have_their_type, set_up, tear_down),
      cmocka_unit_test_setup_teardown(what_children_override_stays_declared, set_up, tear_down),
      cmocka_unit_test_setup_teardown(an_older_file_learns_which_items_are_overridden, set_up, tear_down),
      cmocka_unit_test_setup_teardown(changes_above_a_full_account_do_not_hold_the_writer_up, set_up,
                                      tear_down),
      cmocka_unit_test_setup_teardown(an_account_has_at_most_200000_items_and_overridden_items, set_up,
                                      tear_down),
      cmocka_unit_test_setup_teardown(common_and_parents_cannot_be_deleted, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_refused_change_leaves_everything_as_it_was, set_up, tear_down),
      cmocka_unit_test_setup_teardown(accounts_do_not_see_each_other, set_up, tear_down),
      cmocka_unit_test_setup_teardown(lists_are_sorted_filtered_and_counted, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_page_ends_early_at_1_mib_and_the_pages_after_it_leave_nothing_out,
                                      set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_config_above_a_page_is_a_page_of_its_own, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_thousand_small_configs_are_one_page, set_up, tear_down),
      cmocka_unit_test_setup_teardown(an_account_has_at_most_10000_configs, set_up, tear_down),
      cmocka_unit_test_setup_teardown(an_account_has_at_most_64_mib_stored, set_up, tear_down),
      cmocka_unit_test_setup_teardown(the_bytes_of_an_older_file_are_counted_when_it_is_opened, set_up,
                                      tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
