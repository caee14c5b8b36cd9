/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "app/store/flag_rules.h"
#include "app/store/sqlite/flag_store.h"
#include "app/store/sqlite/tenant_store.h"
#include "common/base/error.h"
#include "tests/unit/app/svc_change.h"
#include "tests/unit/app/svc_fake.h"

#define AT "/data/attributes"

static storage_db_t *db;

static int set_up(void **state)
{
  (void)state;
  db = change_db_open(&flag_schema);
  return 0;
}

static int tear_down(void **state)
{
  (void)state;
  change_db_close(db);
  return 0;
}

static void rules_hold_at_their_place(void **state)
{
  static const struct {
    const char *json, *pointer;
  } cases[] = {
      {"{'name': 'x', 'type': 'BOOLEAN', 'default': false}", ""},
      {"{'name': 'x', 'type': 'boolean', 'default': false}", ""},
      {"{'name': 'x', 'type': 'BOOL', 'default': false}", AT "/type"},
      {"{'name': '  ', 'type': 'BOOLEAN', 'default': false}", AT "/name"},
      {"{'name': '', 'type': 'BOOLEAN', 'default': false}", AT "/name"},
      {"{'type': 'BOOLEAN', 'default': false}", AT "/name"},
      {"{'name': 'x', 'default': false}", AT "/type"},
      {"{'name': 'x', 'type': 'BOOLEAN'}", AT "/default"},
      {"{'name': 'x', 'type': 'BOOLEAN', 'default': null}", AT "/default"},
      {"{'name': 'x', 'type': 'STRING', 'default': 1}", AT "/default"},
      {"{'name': 'x', 'type': 'NUMERIC', 'default': 1.5}", ""},
      {"{'name': 'x', 'type': 'JSON', 'default': {'a': [1]}}", ""},
      {"{'name': 'x', 'type': 'JSON', 'default': null}", AT "/default"},
      {"{'name': 'x', 'type': 'BOOLEAN', 'default': true, 'colour': 1}", AT "/colour"},
      /* constrained */
      {"{'name': 'x', 'type': 'BOOLEAN', 'default': true, 'values': [{'name': 'on', 'value': true}]}",
       AT "/values"},
      {"{'name': 'x', 'type': 'BOOLEAN', 'default': true, 'values':"
       " [{'name': 'on', 'value': true}, {'name': 'off', 'value': false}]}",
       ""},
      {"{'name': 'x', 'type': 'BOOLEAN', 'default': true, 'values':"
       " [{'name': 'on', 'value': true}, {'name': 'off', 'value': true}]}",
       AT "/values/1/value"},
      {"{'name': 'x', 'type': 'STRING', 'default': 'a', 'values': []}", AT "/values"},
      {"{'name': 'x', 'type': 'STRING', 'default': 'a', 'values': null}", ""},
      {"{'name': 'x', 'type': 'STRING', 'default': 'a', 'values': [{'name': 'b', 'value': 'b'}]}",
       AT "/default"},
      {"{'name': 'x', 'type': 'STRING', 'default': 'a', 'values': [{'name': 'a', 'value': 1}]}",
       AT "/values/0/value"},
      {"{'name': 'x', 'type': 'STRING', 'default': 'a', 'values': [{'value': 'a'}]}", AT "/values/0/name"},
      {"{'name': 'x', 'type': 'NUMERIC', 'default': 1.0, 'values': [{'name': 'a', 'value': 1}]}", ""},
      /* environments */
      {"{'name': 'x', 'type': 'STRING', 'default': 'a', 'environments': {'p': {'default': null}}}", ""},
      {"{'name': 'x', 'type': 'STRING', 'default': 'a', 'environments': {'p': {'default': 1}}}",
       AT "/environments/p/default"},
      {"{'name': 'x', 'type': 'STRING', 'default': 'a', 'environments': {'p': {'enabled': 1}}}",
       AT "/environments/p/enabled"},
      {"{'name': 'x', 'type': 'STRING', 'default': 'a', 'environments': {'': {}}}", AT "/environments/"},
      {"{'name': 'x', 'type': 'STRING', 'default': 'a', 'environments': {'p': {'rules': [{'value': 'b'}]}}}",
       AT "/environments/p/rules/0/logic"},
      {"{'name': 'x', 'type': 'STRING', 'default': 'a', 'environments': {'p': {'rules': [{'logic': {}, "
       "'value': 2}]}}}",
       AT "/environments/p/rules/0/value"},
      {"{'name': 'x', 'type': 'STRING', 'default': 'a', 'environments': {'p': {'rules': [{'logic': {}, "
       "'value': 'c'}]}}}",
       ""},
      {"{'name': 'x', 'type': 'STRING', 'default': 'a', 'values': [{'name': 'a', 'value': 'a'}],"
       " 'environments': {'p': {'rules': [{'logic': {}, 'value': 'c'}]}}}",
       AT "/environments/p/rules/0/value"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    problem_t problem = {0};
    char text[512];
    snprintf(text, sizeof text, "%s", cases[i].json);
    for (char *s = text; *s != '\0'; s++)
      *s = *s == '\'' ? '"' : *s;
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    flag_check(json, &problem);
    if (strcmp(problem.pointer, cases[i].pointer) != 0)
      fail_msg("%s: '%s' %s", text, problem.pointer, problem.detail);
    json_decref(json);
  }
}

static void counts_hold_at_their_limits(void **state)
{
  problem_t problem = {0};
  (void)state;
  json_t *rules = json_array(), *values = json_array();
  json_t *a = json_pack("{s:s, s:s, s:i, s:O, s:{s:{s:O}}}", "name", "x", "type", "NUMERIC", "default", 0,
                        "values", values, "environments", "p", "rules", rules);
  for (int i = 0; i < FLAG_VALUES_MAX; i++)
    json_array_append_new(values, json_pack("{s:s, s:i}", "name", "v", "value", i));
  for (int i = 0; i < FLAG_RULES_MAX; i++)
    json_array_append_new(rules, json_pack("{s:{}, s:i}", "logic", "value", i));
  assert_int_equal(flag_check(a, &problem), SMPL_OK);
  json_array_append_new(values, json_pack("{s:s, s:i}", "name", "v", "value", FLAG_VALUES_MAX));
  assert_int_equal(flag_check(a, &problem), SMPL_EINVAL);
  assert_string_equal(problem.pointer, AT "/values");
  json_array_remove(values, FLAG_VALUES_MAX);
  json_array_append_new(rules, json_pack("{s:{}, s:i}", "logic", "value", 1));
  assert_int_equal(flag_check(a, &problem), SMPL_EINVAL);
  assert_string_equal(problem.pointer, AT "/environments/p/rules");
  json_decref(a);
  json_decref(rules);
  json_decref(values);
}

static void expect_reference(const char *logic, const char *type, const char *key, bool expected)
{
  json_t *environments =
      json_pack("{s:{s:[{s:o, s:b}]}}", "prod", "rules", "logic", json_loads(logic, 0, NULL), "value", 1);
  assert_non_null(environments);
  if (flag_references(environments, type, key) != expected)
    fail_msg("%s", logic);
  json_decref(environments);
}

static void references_are_found_in_rules(void **state)
{
  static const char equal[] = "{\"==\": [{\"var\": \"customer.key\"}, \"c-1\"]}";
  static const char nested[] =
      "{\"and\": [{\"var\": \"user.beta\"}, {\"in\": [{\"var\": \"customer.key\"}, [\"c-1\", \"c-2\"]]}]}";
  (void)state;
  expect_reference(equal, "customer", NULL, true);
  expect_reference(equal, "custom", NULL, false);
  expect_reference(equal, "c-1", NULL, false);
  expect_reference(equal, "customer", "c-1", true);
  expect_reference(equal, "customer", "c-2", false);
  expect_reference(nested, "user", NULL, true);
  expect_reference(nested, "customer", "c-2", true);
  expect_reference(nested, "user", "c-2", false);
  expect_reference("{\"var\": [\"customer.plan\", \"free\"]}", "customer", NULL, true);
  expect_reference("{\"==\": [{\"var\": \"customer.plan\"}, \"c-1\"]}", "customer", "c-1", false);
  expect_reference("{}", "customer", NULL, false);
}

#define PLAIN "{\"name\": \"x\", \"type\": \"boolean\", \"default\": false}"

static int apply(int (*run)(storage_db_t *, edit_t *), const char *account, const char *id,
                 const char *new_id, const char *attributes)
{
  edit_t c;
  int status = change_apply(db, run, account, id, new_id, attributes, &c);
  json_decref(c.document);
  return status;
}

static void flags_are_created_replaced_renamed_and_deleted(void **state)
{
  json_t *flag = NULL;
  (void)state;
  assert_int_equal(apply(flag_create, TENANT, NULL, "a", PLAIN), 201);
  assert_int_equal(apply(flag_create, TENANT, NULL, "a", PLAIN), 409);
  assert_int_equal(apply(flag_create, TENANT, NULL, "b", PLAIN), 201);
  assert_int_equal(apply(flag_replace, TENANT, "a", "b", PLAIN), 409);
  assert_int_equal(apply(flag_replace, TENANT, "a", "c",
                         "{\"name\": \"y\", \"type\": \"STRING\", \"default\": \"s\"}"),
                   200);
  assert_int_equal(document_get(db, &flag_kind, TENANT, "a", &flag), SMPL_ENOENT);
  assert_int_equal(document_get(db, &flag_kind, TENANT, "c", &flag), SMPL_OK);
  const json_t *attributes = json_object_get(flag, "attributes");
  assert_string_equal(json_string_value(json_object_get(attributes, "type")), "STRING");
  assert_true(json_is_true(json_object_get(attributes, "managed")));
  assert_true(json_is_null(json_object_get(attributes, "values")));
  json_decref(flag);
  assert_int_equal(apply(flag_replace, TENANT, "a", NULL, PLAIN), 404);
  assert_int_equal(apply(flag_remove, TENANT, "c", NULL, NULL), 204);
  assert_int_equal(apply(flag_remove, TENANT, "c", NULL, NULL), 404);
}

static void accounts_do_not_see_each_other(void **state)
{
  json_t *flag = NULL;
  (void)state;
  assert_int_equal(apply(flag_create, TENANT, NULL, "a", PLAIN), 201);
  assert_int_equal(document_get(db, &flag_kind, OTHER, "a", &flag), SMPL_ENOENT);
  assert_int_equal(apply(flag_remove, OTHER, "a", NULL, NULL), 404);
  assert_int_equal(apply(flag_replace, OTHER, "a", NULL, PLAIN), 404);
  assert_int_equal(apply(flag_create, OTHER, NULL, "a", PLAIN), 201);
  assert_int_equal(apply(flag_create, "00000000-0000-4000-8000-000000000000", NULL, "a", PLAIN), 503);
}

static void environments_come_back_whole(void **state)
{
  json_t *flag = NULL;
  (void)state;
  assert_int_equal(apply(flag_create, TENANT, NULL, "a",
                         "{\"name\": \"x\", \"type\": \"BOOLEAN\", \"default\": false, \"environments\":"
                         " {\"prod\": {\"enabled\": false}, \"test\": {}}}"),
                   201);
  assert_int_equal(document_get(db, &flag_kind, TENANT, "a", &flag), SMPL_OK);
  json_t *want = json_loads("{\"prod\": {\"enabled\": false, \"default\": null, \"rules\": []},"
                            " \"test\": {\"enabled\": true, \"default\": null, \"rules\": []}}",
                            0, NULL);
  assert_true(json_equal(json_object_get(json_object_get(flag, "attributes"), "environments"), want));
  json_decref(want);
  json_decref(flag);
}

static void lists_narrowed_to_a_context_are_paged_too(void **state)
{
  jsonapi_list_t list;
  json_t *data = NULL;
  int64_t total = 0;
  char id[16];
  (void)state;
  for (int i = 0; i < 7; i++) {
    snprintf(id, sizeof id, "f%d", i);
    assert_int_equal(
        apply(flag_create, TENANT, NULL, id,
              i % 2 == 0 ? "{\"name\": \"x\", \"type\": \"BOOLEAN\", \"default\": false, \"environments\":"
                           " {\"p\": {\"rules\": [{\"logic\": {\"var\": \"user.x\"}, \"value\": true}]}}}"
                         : PLAIN),
        201);
  }
  jsonapi_list_defaults(&flag_list_spec, &list);
  list.size = 3;
  list.page = 2;
  list.total = true;
  fetch_filter_t filter = {.managed = -1, .context_type = "user"};
  assert_int_equal(document_list(db, &flag_kind, TENANT, &list, &filter, &data, &total), SMPL_OK);
  assert_int_equal(total, 4);
  assert_int_equal(json_array_size(data), 1);
  assert_string_equal(json_string_value(json_object_get(json_array_get(data, 0), "id")), "f6");
  json_decref(data);
}

/* Flags whose one rule names the type, each with environments of a MiB. */
static void insert_big(const char *prefix, const char *type, int count)
{
  enum { MIB = 1 << 20 };
  char sql[1024];
  for (int i = 0; i < count; i++) {
    snprintf(sql, sizeof sql,
             "INSERT INTO flags SELECT '" TENANT
             "', '%s%02d', 'x', NULL, 'BOOLEAN', 'true', NULL, json_pad || printf("
             "'%%.*c', %d - length(json_pad) - 2, 'x') || '\"}', 1, 0, 0 FROM (SELECT"
             " '{\"p\":{\"rules\":[{\"logic\":{\"var\":\"%s.a\"}}]},\"pad\":\"' AS json_pad)",
             prefix, i, MIB, type);
    assert_int_equal(storage_db_command(db, sql), SMPL_OK);
  }
}

static int list_of_context(const char *type, bool with_total, int64_t *total)
{
  jsonapi_list_t list;
  json_t *data = NULL;
  const fetch_filter_t filter = {.managed = -1, .context_type = type};
  jsonapi_list_defaults(&flag_list_spec, &list);
  list.size = 1;
  list.total = with_total;
  int err = document_list(db, &flag_kind, TENANT, &list, &filter, &data, total);
  json_decref(data);
  return err;
}

static void lists_of_a_context_look_through_so_much_and_no_more(void **state)
{
  int64_t total = 0;
  (void)state;
  insert_big("a", "customer", FLAG_PARSE_BYTES_MAX >> 20);
  assert_int_equal(list_of_context("customer", true, &total), SMPL_OK);
  assert_int_equal(total, 4);
  insert_big("b", "device", (FLAG_SCAN_BYTES_MAX - FLAG_PARSE_BYTES_MAX) >> 20);
  assert_int_equal(list_of_context("customer", true, &total), SMPL_OK);
  assert_int_equal(list_of_context("device", true, &total), SMPL_ELIMIT); /* 12 to be taken apart */
  assert_int_equal(list_of_context("device", false, &total),
                   SMPL_OK); /* the first page ends with the first */
  insert_big("c", "device", 1);
  assert_int_equal(list_of_context("customer", true, &total), SMPL_ELIMIT); /* 17 to be looked through */
}

static void an_account_has_at_most_10000_flags(void **state)
{
  (void)state;
  assert_int_equal(
      storage_db_command(db, "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999)"
                             " INSERT INTO flags SELECT '" TENANT
                             "', 'n' || i, 'x', NULL, 'BOOLEAN', 'true', NULL, '{}', 1,"
                             " 0, 0 FROM n"),
      SMPL_OK);
  assert_int_equal(apply(flag_create, TENANT, NULL, "last", PLAIN), 201);
  assert_int_equal(apply(flag_create, TENANT, NULL, "more", PLAIN), 409);
  assert_int_equal(apply(flag_create, OTHER, NULL, "more", PLAIN), 201);
}

/* Expects a status and, of a refusal, its pointer. */
static void expect(int (*run)(storage_db_t *, edit_t *), const char *id, const char *attributes, int status,
                   const char *pointer)
{
  edit_t c;
  bool create = run == flag_create;
  int got = change_apply(db, run, TENANT, create ? NULL : id, create ? id : NULL, attributes, &c);
  if (got != status || strcmp(c.problem.pointer, pointer) != 0)
    fail_msg("%s: status %d at '%s': %s", id, got, c.problem.pointer, c.problem.detail);
  json_decref(c.document);
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
           "DELETE FROM flags WHERE id = '%s'; INSERT INTO flags (account, id, name, type, fallback, "
           "environments, managed, created_at, updated_at)"
           " VALUES ('" TENANT "', '%s', 'x', 'STRING', printf('%%*s', %d, ''), '{}', 1, 0, 0)",
           id, id, (int)bytes);
  assert_int_equal(storage_db_command(db, sql), SMPL_OK);
}

static void an_account_has_at_most_64_mib_stored(void **state)
{
  (void)state;
  int64_t others = stored_bytes();
  expect(flag_create, "a", "{\"name\": \"12345\", \"type\": \"BOOLEAN\", \"default\": false}", 201, "");
  int64_t small = stored_bytes() - others;
  assert_in_range(small, 10, 200);
  put_ballast("ballast", 1000);
  int64_t overhead = stored_bytes() - small - others - 1000;
  put_ballast("ballast", TENANT_BYTES_MAX - others - small - overhead - small);
  assert_int_equal(stored_bytes(), TENANT_BYTES_MAX - small);
  expect(flag_create, "b", "{\"name\": \"12345\", \"type\": \"BOOLEAN\", \"default\": false}", 201,
         ""); /* the last that fits */
  assert_int_equal(stored_bytes(), TENANT_BYTES_MAX);
  expect(flag_create, "c", "{\"name\": \"1\", \"type\": \"BOOLEAN\", \"default\": false}", 409, "");
  expect(flag_replace, "a", "{\"name\": \"123456\", \"type\": \"BOOLEAN\", \"default\": false}", 409, "");
  expect(flag_replace, "a", "{\"name\": \"54321\", \"type\": \"BOOLEAN\", \"default\": false}", 200,
         ""); /* nothing is added */
  expect(flag_replace, "a", "{\"name\": \"1234\", \"type\": \"BOOLEAN\", \"default\": false}", 200, "");
  expect(flag_remove, "b", NULL, 204, "");
  assert_int_equal(stored_bytes(), TENANT_BYTES_MAX - small - 1);
  put_ballast("ballast", TENANT_BYTES_MAX); /* as it may have been before there was a limit */
  expect(flag_replace, "a", "{\"name\": \"1\", \"type\": \"BOOLEAN\", \"default\": false}", 200, "");
  expect(flag_create, "d", "{\"name\": \"1\", \"type\": \"BOOLEAN\", \"default\": false}", 409, "");
}

static void the_bytes_of_an_older_file_are_counted_when_it_is_opened(void **state)
{
  const char *older[8] = {NULL};
  (void)state;
  int count = 0;
  while (flag_schema.migrations[count] != NULL)
    count++;
  for (int i = 0; i < count - 1; i++) /* the last one counts */
    older[i] = flag_schema.migrations[i];
  change_db_close(db);
  db = change_db_open(&(storage_schema_t){flag_schema.owner, older, flag_schema.ensure});
  put_ballast("old", 12345);
  storage_db_close(db);
  assert_int_equal(storage_db_open(fake_path("t.db"), STORAGE_WRITES, &db, NULL), SMPL_OK);
  assert_int_equal(storage_db_prepare(db, fake_path("t.db"), &flag_schema, NULL), SMPL_OK);
  assert_in_range(stored_bytes(), 12345 + 3, 12345 + 20);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rules_hold_at_their_place),
      cmocka_unit_test(counts_hold_at_their_limits),
      cmocka_unit_test(references_are_found_in_rules),
      cmocka_unit_test_setup_teardown(flags_are_created_replaced_renamed_and_deleted, set_up, tear_down),
      cmocka_unit_test_setup_teardown(accounts_do_not_see_each_other, set_up, tear_down),
      cmocka_unit_test_setup_teardown(environments_come_back_whole, set_up, tear_down),
      cmocka_unit_test_setup_teardown(an_account_has_at_most_10000_flags, set_up, tear_down),
      cmocka_unit_test_setup_teardown(an_account_has_at_most_64_mib_stored, set_up, tear_down),
      cmocka_unit_test_setup_teardown(the_bytes_of_an_older_file_are_counted_when_it_is_opened, set_up,
                                      tear_down),
      cmocka_unit_test_setup_teardown(lists_narrowed_to_a_context_are_paged_too, set_up, tear_down),
      cmocka_unit_test_setup_teardown(lists_of_a_context_look_through_so_much_and_no_more, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
