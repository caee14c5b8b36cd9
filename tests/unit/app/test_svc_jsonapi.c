/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "app/services/query.h"
#include "app/services/reply.h"
#include "app/store/jsonapi.h"
#include "common/base/error.h"
#include "tests/unit/app/svc_fake.h"

static const char *const sorts[] = {"key", "name", NULL};
static const char *const filters[] = {"filter[search]", NULL};
static const jsonapi_list_spec_t spec = {sorts, 1, true, filters};

/* One parameter alone: 0, or the status and parameter that are replied. */
static int read_one(const char *parameter, jsonapi_list_t *list, char *named)
{
  const char *const query[] = {parameter, NULL};
  request_t *r = fake_request(NULL, NULL, NULL, query);
  bool ok = query_list(r, &spec, list);
  int status = ok ? 0 : fake_status(r);
  assert_int_equal(fake_replies(r), ok ? 0 : 1);
  snprintf(named, 64, "%s", fake_error(r, "parameter"));
  fake_request_free(r);
  return status;
}

static void page_sizes_are_taken_from_1_to_1000(void **state)
{
  static const struct {
    const char *parameter;
    int64_t size; /* 0: refused */
  } cases[] = {{"page[size]=1", 1},
               {"page[size]=999", 999},
               {"page[size]=1000", 1000},
               {"page[size]=1001", 0},
               {"page[size]=0", 0},
               {"page[size]=-1", 0},
               {"page[size]=", 0},
               {"page[size]=1e2", 0},
               {"page[size]=+5", 0},
               {"page[size]= 5", 0},
               {"page[size]=99999999999999999999", 0}};
  jsonapi_list_t list;
  char named[64];
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    int status = read_one(cases[i].parameter, &list, named);
    assert_int_equal(status, cases[i].size == 0 ? 400 : 0);
    if (status == 0)
      assert_int_equal(list.size, cases[i].size);
    else
      assert_string_equal(named, "page[size]");
  }
}

static void page_numbers_begin_with_1_and_end_somewhere(void **state)
{
  jsonapi_list_t list;
  char named[64];
  (void)state;
  assert_int_equal(read_one("page[number]=0", &list, named), 400);
  assert_int_equal(read_one("page[number]=1", &list, named), 0);
  assert_int_equal(jsonapi_offset(&list), 0);
  assert_int_equal(read_one("page[number]=1000000000", &list, named), 0);
  assert_int_equal(jsonapi_offset(&list), 999999999000LL);
  assert_int_equal(read_one("page[number]=1000000001", &list, named), 400);
}

static void without_parameters_a_list_has_its_defaults(void **state)
{
  jsonapi_list_t list;
  request_t *r = fake_request(NULL, NULL, NULL, NULL);
  (void)state;
  assert_true(query_list(r, &spec, &list));
  assert_int_equal(list.page, 1);
  assert_int_equal(list.size, 1000);
  assert_false(list.total);
  assert_int_equal(list.sort, 1);
  assert_true(list.descending);
  assert_null(list.filters[0]);
  fake_request_free(r);
}

static void sorts_and_filters_that_a_list_does_not_know_are_named(void **state)
{
  jsonapi_list_t list;
  char named[64];
  (void)state;
  assert_int_equal(read_one("sort=key", &list, named), 0);
  assert_int_equal(list.sort, 0);
  assert_false(list.descending);
  assert_int_equal(read_one("sort=-name", &list, named), 0);
  assert_true(list.sort == 1 && list.descending);
  assert_int_equal(read_one("sort=-", &list, named), 400);
  assert_int_equal(read_one("sort=items", &list, named), 400);
  assert_string_equal(named, "sort");
  assert_int_equal(read_one("filter[serach]=x", &list, named), 400);
  assert_string_equal(named, "filter[serach]");
  assert_int_equal(read_one("filter[search]=x", &list, named), 0);
  assert_string_equal(list.filters[0], "x");
  assert_int_equal(read_one("meta[total]=TRUE", &list, named), 0);
  assert_true(list.total);
  assert_int_equal(read_one("meta[total]=yes", &list, named), 400);
}

static void filters_have_at_most_255_bytes(void **state)
{
  char text[JSONAPI_SEARCH_MAX + 32] = "filter[search]=", named[64];
  jsonapi_list_t list;
  (void)state;
  size_t at = strlen(text);
  memset(text + at, 'x', JSONAPI_SEARCH_MAX);
  text[at + JSONAPI_SEARCH_MAX] = '\0';
  assert_int_equal(read_one(text, &list, named), 0);
  text[at + JSONAPI_SEARCH_MAX] = 'x';
  text[at + JSONAPI_SEARCH_MAX + 1] = '\0';
  assert_int_equal(read_one(text, &list, named), 400);
}

static void lists_tell_their_totals_only_when_asked(void **state)
{
  jsonapi_list_t list = {.page = 2, .size = 10};
  (void)state;
  json_t *doc = jsonapi_list_document(json_array(), &list, 21);
  json_t *pagination = json_object_get(json_object_get(doc, "meta"), "pagination");
  assert_int_equal(json_integer_value(json_object_get(pagination, "page")), 2);
  assert_int_equal(json_integer_value(json_object_get(pagination, "size")), 10);
  assert_null(json_object_get(pagination, "total"));
  json_decref(doc);
  list.total = true;
  static const int pages[][2] = {{0, 0}, {1, 1}, {10, 1}, {11, 2}, {21, 3}};
  for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
    doc = jsonapi_list_document(json_array(), &list, pages[i][0]);
    pagination = json_object_get(json_object_get(doc, "meta"), "pagination");
    assert_int_equal(json_integer_value(json_object_get(pagination, "total")), pages[i][0]);
    assert_int_equal(json_integer_value(json_object_get(pagination, "total_pages")), pages[i][1]);
    json_decref(doc);
  }
}

static void a_shorter_page_begins_at_the_same_row(void **state)
{
  static const struct {
    int64_t page, size, fits, new_page, new_size;
  } cases[] = {{1, 1000, 1000, 1, 1000}, {1, 1000, 999, 1, 500}, {1, 1000, 249, 1, 200},
               {3, 1000, 600, 5, 500},   {7, 12, 5, 19, 4},      {2, 997, 996, 998, 1},
               {4, 1, 1, 4, 1},          {2, 10, 20, 2, 10},     {10, 1000, 7, 1801, 5}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    jsonapi_list_t list = {.page = cases[i].page, .size = cases[i].size};
    int64_t offset = jsonapi_offset(&list);
    jsonapi_list_shorten(&list, cases[i].fits);
    assert_int_equal(list.page, cases[i].new_page);
    assert_int_equal(list.size, cases[i].new_size);
    assert_int_equal(jsonapi_offset(&list), offset);
  }
}

static void wrong_bodies_are_refused_at_the_exact_place(void **state)
{
  static const struct {
    const char *body, *pointer;
    int status;
  } cases[] = {
      {"[]", "/data", 400},
      {"{}", "/data", 400},
      {"{\"data\": []}", "/data", 400},
      {"{\"data\": {\"id\": \"a\", \"attributes\": {}}}", "/data/type", 400},
      {"{\"data\": {\"id\": \"a\", \"type\": \"flag\", \"attributes\": {}}}", "/data/type", 409},
      {"{\"data\": {\"type\": \"config\", \"attributes\": {}}}", "/data/id", 400},
      {"{\"data\": {\"id\": 5, \"type\": \"config\", \"attributes\": {}}}", "/data/id", 400},
      {"{\"data\": {\"id\": null, \"type\": \"config\", \"attributes\": {}}}", "/data/id", 400},
      {"{\"data\": {\"id\": \"a\", \"type\": \"config\"}}", "/data/attributes", 400},
      {"{\"data\": {\"id\": \"a\", \"type\": \"config\", \"attributes\": null}}", "/data/attributes", 400},
      {"{\"data\": {\"id\": \"a\", \"type\": \"config\", \"attributes\": {}}}", "", 0},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    problem_t problem = {0};
    const char *id;
    const json_t *attributes;
    json_t *body = json_loads(cases[i].body, 0, NULL);
    jsonapi_body(body, "config", JSONAPI_ID_REQUIRED, &id, &attributes, &problem);
    assert_int_equal(problem.status, cases[i].status);
    assert_string_equal(problem.pointer, cases[i].pointer);
    json_decref(body);
  }
}

static void ids_that_the_service_chooses_are_refused(void **state)
{
  problem_t problem = {0};
  const char *id;
  const json_t *attributes;
  json_t *body =
      json_loads("{\"data\": {\"id\": \"a\", \"type\": \"account\", \"attributes\": {}}}", 0, NULL);
  (void)state;
  jsonapi_body(body, "account", JSONAPI_ID_REFUSED, &id, &attributes, &problem);
  assert_string_equal(problem.pointer, "/data/id");
  json_decref(body);
}

static void pointers_escape_their_members(void **state)
{
  problem_t problem;
  (void)state;
  const place_t *items = PLACE_MEMBER(&place_attributes, "items");
  problem_invalid(&problem, PLACE_MEMBER(PLACE_INDEX(PLACE_MEMBER(items, "a/b~c"), 3), ""), "x\ny");
  assert_string_equal(problem.pointer, "/data/attributes/items/a~1b~0c/3/");
  assert_string_equal(problem.detail, "x\\x0ay");
}

static void pointers_that_are_too_long_are_cut_at_a_member(void **state)
{
  problem_t problem;
  char name[600];
  (void)state;
  memset(name, 'x', sizeof name - 1);
  name[sizeof name - 1] = '\0';
  const place_t *outer = PLACE_MEMBER(&place_data, name);
  problem_invalid(&problem, PLACE_MEMBER(outer, name), "x");
  assert_int_equal(strlen(problem.pointer), strlen("/data/") + strlen(name));
}

static void fields_follow_their_rules(void **state)
{
  static const jsonapi_field_t fields[] = {{"name", FIELD_STRING, true, false, 3},
                                           {"note", FIELD_STRING, false, true, 0},
                                           {"list", FIELD_ARRAY, false, false, 2},
                                           {"flag", FIELD_BOOL, false, false, 0},
                                           {"at", FIELD_READ_ONLY, false, false, 0},
                                           {0}};
  static const struct {
    const char *json, *pointer;
  } cases[] = {{"{\"name\": \"abc\"}", ""},
               {"{\"name\": \"abcd\"}", "/data/attributes/name"},
               {"{\"name\": \"\\u00e4\\u00e4\\u00e4\"}", ""}, /* characters, not bytes */
               {"{\"name\": null}", "/data/attributes/name"},
               {"{}", "/data/attributes/name"},
               {"{\"name\": \"a\", \"nmae\": 1}", "/data/attributes/nmae"},
               {"{\"name\": \"a\", \"note\": null, \"at\": 7}", ""},
               {"{\"name\": \"a\", \"note\": 1}", "/data/attributes/note"},
               {"{\"name\": \"a\", \"list\": [1, 2]}", ""},
               {"{\"name\": \"a\", \"list\": [1, 2, 3]}", "/data/attributes/list"},
               {"{\"name\": \"a\", \"flag\": 1}", "/data/attributes/flag"}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    problem_t problem = {0};
    json_t *object = json_loads(cases[i].json, 0, NULL);
    int err = jsonapi_check(object, fields, &place_attributes, &problem);
    assert_int_equal(err == SMPL_OK, cases[i].pointer[0] == '\0');
    assert_string_equal(problem.pointer, cases[i].pointer);
    json_decref(object);
  }
}

static void storage_that_cannot_now_is_503_and_storage_that_fails_is_500(void **state)
{
  static const struct {
    int err, status;
    const char *header;
  } cases[] = {{SMPL_ELIMIT, 503, "Retry-After: 1"},
               {SMPL_EBUSY, 503, "Retry-After: 1"},
               {SMPL_ECLOSED, 503, "Retry-After: 1"},
               {SMPL_EFULL, 503, "Retry-After: 30"},
               {SMPL_ETIMEOUT, 503, "Retry-After: 1"},
               {SMPL_ESERVER, 500, ""},
               {SMPL_ENOMEM, 500, ""}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    request_t *r = fake_request(NULL, NULL, NULL, NULL);
    reply_storage_error(r, cases[i].err);
    assert_int_equal(fake_replies(r), 1);
    assert_int_equal(fake_status(r), cases[i].status);
    assert_string_equal(fake_header(r), cases[i].header);
    if (cases[i].err == SMPL_EFULL)
      assert_string_equal(fake_error(r, "title"), "Storage full");
    fake_request_free(r);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(page_sizes_are_taken_from_1_to_1000),
      cmocka_unit_test(page_numbers_begin_with_1_and_end_somewhere),
      cmocka_unit_test(without_parameters_a_list_has_its_defaults),
      cmocka_unit_test(sorts_and_filters_that_a_list_does_not_know_are_named),
      cmocka_unit_test(filters_have_at_most_255_bytes),
      cmocka_unit_test(lists_tell_their_totals_only_when_asked),
      cmocka_unit_test(a_shorter_page_begins_at_the_same_row),
      cmocka_unit_test(wrong_bodies_are_refused_at_the_exact_place),
      cmocka_unit_test(ids_that_the_service_chooses_are_refused),
      cmocka_unit_test(pointers_escape_their_members),
      cmocka_unit_test(pointers_that_are_too_long_are_cut_at_a_member),
      cmocka_unit_test(fields_follow_their_rules),
      cmocka_unit_test(storage_that_cannot_now_is_503_and_storage_that_fails_is_500),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
