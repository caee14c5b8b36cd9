/* SPDX-License-Identifier: Apache-2.0 */
/* What a handler sees of a request: decoding, memory, ids, JSON depth; and what it may put into an answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "app/program/openapi.h"
#include "app/http/request.h"
#include "common/base/error.h"

static void escapes_are_decoded_once(void **state)
{
  (void)state;
  static const struct {
    const char *raw;
    bool plus;
    const char *decoded;
  } cases[] = {
      {"", false, ""},        {"abc", false, "abc"}, {"a%20b", false, "a b"},       {"a+b", false, "a+b"},
      {"a+b", true, "a b"},   {"%2B", true, "+"},    {"%C3%a9", false, "\xc3\xa9"}, {"%41%62", false, "Ab"},
      {"%2541", true, "%41"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char out[32];
    request_decode(out, (const uint8_t *)cases[i].raw, strlen(cases[i].raw), cases[i].plus);
    assert_string_equal(out, cases[i].decoded);
  }
}

static void depth_and_values_are_counted_outside_strings(void **state)
{
  (void)state;
  static const struct {
    const char *text;
    size_t depth, values;
  } cases[] = {
      {"", 0, 0},
      {"5", 0, 1},
      {"[]", 1, 1},
      {"[ \n]", 1, 1},
      {"[1,\"a,b\", null]", 1, 4},
      {"{\"a\": [1]}", 2, 3},
      {" { } ", 1, 1},
      {"[{},{},{}]", 2, 4},
      {"{\"a\":1,\"b\":{\"c\":[]}}", 3, 4},
      {"[[],[[]]]", 3, 4},
      {"\"[[,\"", 0, 1},
      {"[\"\\\"[,\"]", 1, 2},
      {"[\"\\\\\", [", 2, 3},
      {"]]]][", 1, 1},
      {"[\"", 1, 2},
      {"\"\\", 0, 1},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    json_extent_t extent = request_json_extent((const uint8_t *)cases[i].text, strlen(cases[i].text));
    assert_int_equal(extent.depth, cases[i].depth);
    assert_int_equal(extent.values, cases[i].values);
  }
}

/* "[0,0,...]" with that many values, the array among them, parsed as a request's body. */
static int parse_values(size_t values, diag_t *diag)
{
  size_t len = 2 * values - 1;
  uint8_t *text = malloc(len);
  json_t *json;
  assert_non_null(text);
  for (size_t i = 0; i < len; i++)
    text[i] = i % 2 == 1 ? '0' : ',';
  text[0] = '[';
  text[len - 1] = ']';
  int err = request_json(text, len, &json, diag);
  assert_int_equal(json == NULL, err != SMPL_OK);
  json_decref(json);
  free(text);
  return err;
}

static void the_values_of_a_body_are_bounded(void **state)
{
  (void)state;
  diag_t diag = {.text = ""};
  assert_int_equal(parse_values(LIMIT_JSON_VALUES, &diag), SMPL_OK);
  assert_int_equal(parse_values(LIMIT_JSON_VALUES + 1, &diag), SMPL_ELIMIT);
  assert_string_equal(diag.text, "more than 50000 values");
}

static void ids_of_clients_are_taken_over_only_if_harmless(void **state)
{
  (void)state;
  char id[LIMIT_REQUEST_ID + 1];
  memset(id, 'a', sizeof id);
  assert_true(request_id_is_fine("7b5c-x_y.Z", 10));
  assert_true(request_id_is_fine(id, LIMIT_REQUEST_ID));
  assert_false(request_id_is_fine(id, LIMIT_REQUEST_ID + 1));
  assert_false(request_id_is_fine("", 0));
  for (unsigned c = 1; c < 256; c++) {
    char one = (char)c;
    bool fine = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
                c == '_' || c == '-';
    assert_int_equal(request_id_is_fine(&one, 1), fine);
  }
}

static void a_requests_memory_is_zeroed_and_bounded(void **state)
{
  (void)state;
  request_t *request = malloc(sizeof *request);
  assert_non_null(request);
  memset(request, 0xff, sizeof *request);
  request_init(request);
  size_t taken = 0;
  for (size_t size = 1;; size = size * 3 % 5000 + 1) {
    uint8_t *memory = request_alloc(request, size);
    if (memory == NULL)
      break;
    for (size_t i = 0; i < size; i++)
      assert_int_equal(memory[i], 0);
    memset(memory, 0xff, size);
    taken += size;
    assert_true(taken <= LIMIT_REQUEST_MEMORY + sizeof request->first);
  }
  assert_true(taken > LIMIT_REQUEST_MEMORY / 2);
  assert_null(request_alloc(request, LIMIT_REQUEST_MEMORY + 1));
  assert_null(request_alloc(request, SIZE_MAX));
  request_clear(request);
  free(request);
}

static request_t *request_of(const char *head, const route_t *route)
{
  request_t *request = malloc(sizeof *request);
  assert_non_null(request);
  request_init(request);
  rule_t rule;
  assert_int_equal(rule_parse("/*", &rule), SMPL_OK);
  route_source_t source = {route, 1, NULL, NULL};
  router_t *router = NULL;
  assert_int_equal(router_new(&rule, 1, &source, 1, &router, NULL), SMPL_OK);
  admit_conf_t conf = {.rules = &rule, .rule_count = 1, .own_address = "127.0.0.1", .router = router};
  admit_decide(&conf, (const uint8_t *)head, strlen(head), &request->head, &request->admit);
  assert_int_equal(request->admit.verdict, ADMIT_OK);
  assert_int_equal(request_take_head(request, (const uint8_t *)head, strlen(head)), SMPL_OK);
  router_free(router);
  return request;
}

static int join(void *ctx, const char *name, const char *value)
{
  char *text = ctx;
  size_t used = strlen(text);
  snprintf(text + used, 256 - used, "%s=%s;", name, value);
  return strcmp(name, "stop") == 0 ? 7 : 0;
}

static void a_handler_sees_parameters_queries_and_headers_decoded(void **state)
{
  (void)state;
  static const route_t route = {.method = METHOD_GET, .path = "/a/{first}/b/{second}"};
  request_t *request = request_of("GET /a/x%20y/b/%2A?q=1&q=2&&empty&e%5B%5D=a%3Db HTTP/1.1\r\nHost: h\r\n"
                                  "AUTHORIZATION: bEARER  token \r\nX-Empty:\r\n\r\n",
                                  &route);
  char all[256] = "";
  assert_string_equal(request_parameter(request, "first"), "x y");
  assert_string_equal(request_parameter(request, "second"), "*");
  assert_null(request_parameter(request, "firs"));
  assert_null(request_parameter(request, "third"));
  assert_string_equal(request_query(request, "q"), "1");
  assert_string_equal(request_query(request, "e[]"), "a=b");
  assert_string_equal(request_query(request, "empty"), "");
  assert_null(request_query(request, "none"));
  assert_int_equal(request_query_each(request, join, all), 0);
  assert_string_equal(all, "q=1;q=2;empty=;e[]=a=b;");
  assert_string_equal(request_header(request, "host"), "h");
  assert_string_equal(request_header(request, "x-empty"), "");
  assert_null(request_header(request, "x-none"));
  assert_string_equal(request_bearer(request), "token");
  request_clear(request);
  free(request);
}

static void only_a_single_bearer_token_is_one(void **state)
{
  (void)state;
  static const route_t route = {.method = METHOD_GET, .path = "/a"};
  static const char *const values[] = {"Basic dXNlcg==", "Bearer",      "Bearer ", "Bearer a b",
                                       "Bearer a\tb",    "Bearertoken", ""};
  for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
    char head[128];
    snprintf(head, sizeof head, "GET /a HTTP/1.1\r\nHost: h\r\nAuthorization: %s\r\n\r\n", values[i]);
    request_t *request = request_of(head, &route);
    assert_null(request_bearer(request));
    request_clear(request);
    free(request);
  }
}

/* By the form alone: whether the checksum fits is the services' to say. */
static void only_what_can_be_a_key_goes_on_to_a_route_that_needs_one(void **state)
{
  (void)state;
  static const route_t guarded = {.method = METHOD_GET, .path = "/a", .operation = OPERATION_CUSTOMER};
  static const route_t open = {.method = METHOD_GET, .path = "/a"};
#define RANDOM_36 "0Az9bY8cX7dW6eV5fU4gT3hS2iR1jQ0kPlZm"
  static const struct {
    const char *header;
    admit_verdict_t verdict;
  } cases[] = {
      {"X: y", ADMIT_KEY_MISSING},
      {"Authorization: Basic sk_api_" RANDOM_36, ADMIT_KEY_MISSING},
      {"Authorization: Bearer sk_api_" RANDOM_36, ADMIT_OK},
      {"Authorization: Bearer sk_api_" RANDOM_36 "0", ADMIT_KEY_MALFORMED},
      {"Authorization: Bearer k_api_" RANDOM_36, ADMIT_KEY_MALFORMED},
      {"Authorization: Bearer SK_API_" RANDOM_36, ADMIT_KEY_MALFORMED},
      {"Authorization: Bearer sk_api_-Az9bY8cX7dW6eV5fU4gT3hS2iR1jQ0kPlZm", ADMIT_KEY_MALFORMED},
      {"Authorization: Bearer sk_api_0Az9bY8cX7dW6eV5fU4gT3hS2iR1jQ0kPlZ=", ADMIT_KEY_MALFORMED},
      {"Authorization: Bearer x", ADMIT_KEY_MALFORMED},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char head[256];
    snprintf(head, sizeof head, "GET /a HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n", cases[i].header);
    request_t *request = request_of(head, &guarded);
    assert_int_equal(request_judge_key(request), cases[i].verdict);
    request_clear(request);
    free(request);
    request = request_of(head, &open);
    assert_int_equal(request_judge_key(request), ADMIT_OK);
    request_clear(request);
    free(request);
  }
}

static void header_names_and_values_of_answers_cannot_end_a_line(void **state)
{
  (void)state;
  static const route_t route = {.method = METHOD_GET, .path = "/a"};
  request_t *request = request_of("GET /a HTTP/1.1\r\nHost: h\r\n\r\n", &route);
  request_set_header(request, "X", "a\r\nSet-Cookie: b");
  request_set_header(request, "X\r\nY", "a");
  assert_int_equal(request->reply_headers_len, 0);
  request_set_header(request, "X", "a");
  assert_memory_equal(request->reply_headers, "X: a\r\n", request->reply_headers_len);
  char big[LIMIT_REPLY_HEADERS];
  memset(big, 'a', sizeof big);
  size_t room = LIMIT_REPLY_HEADERS - request->reply_headers_len - strlen("X: \r\n");
  big[room + 1] = '\0';
  request_set_header(request, "X", big);
  assert_int_equal(request->reply_headers_len, 6);
  big[room] = '\0';
  request_set_header(request, "X", big);
  assert_int_equal(request->reply_headers_len, LIMIT_REPLY_HEADERS);
  request_clear(request);
  free(request);
}

static void a_table_that_cannot_be_documented_is_refused(void **state)
{
  (void)state;
  static const route_t fine = {.path = "/a", .operation_id = "a"};
  static const route_t other = {.path = "/a", .operation_id = "b"};
  const struct {
    const char *text;
    const route_t *route;
    const char *said;
  } cases[] = {
      {"{\n{", NULL, "s.json:2:"},
      {"{\"schemas\": {\"A\": {\"$ref\": \"#/components/schemas/B\"}}}", NULL, "#/components/schemas/B"},
      {"{\"operations\": {\"a\": {\"responses\": [{\"status\": 200, \"schema\": \"B\"}]}}}", &fine,
       "no schema B"},
      {"{\"operations\": {\"a\": {\"responses\": [\"some\"]}}}", &fine, "no group some"},
      {"{\"operations\": {\"a\": {}}}", &other, "no operation b"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const api_file_t files[] = {{"s.json", cases[i].text, cases[i].text + strlen(cases[i].text)},
                                {NULL, NULL, NULL}};
    service_t service = {.name = "s", .title = "S", .api = files};
    route_source_t source = {cases[i].route, cases[i].route != NULL, NULL, NULL};
    json_t *document = NULL;
    diag_t diag = {.text = ""};
    assert_int_equal(openapi_document(&service, &source, 1, &document, &diag), SMPL_EINVAL);
    assert_null(document);
    assert_non_null(strstr(diag.text, cases[i].said));
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(escapes_are_decoded_once),
      cmocka_unit_test(depth_and_values_are_counted_outside_strings),
      cmocka_unit_test(the_values_of_a_body_are_bounded),
      cmocka_unit_test(ids_of_clients_are_taken_over_only_if_harmless),
      cmocka_unit_test(a_requests_memory_is_zeroed_and_bounded),
      cmocka_unit_test(a_handler_sees_parameters_queries_and_headers_decoded),
      cmocka_unit_test(only_a_single_bearer_token_is_one),
      cmocka_unit_test(only_what_can_be_a_key_goes_on_to_a_route_that_needs_one),
      cmocka_unit_test(header_names_and_values_of_answers_cannot_end_a_line),
      cmocka_unit_test(a_table_that_cannot_be_documented_is_refused),
  };
  return cmocka_run_group_tests_name("front request", tests, NULL, NULL);
}
