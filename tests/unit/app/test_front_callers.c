/* SPDX-License-Identifier: Apache-2.0 */
/* app/http/internal_keys.h, app/http/request.h: who may call inside: which keys are accepted, and for what.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "app/http/internal_keys.h"
#include "app/http/request.h"
#include "common/base/error.h"

static char old_key[KEY_TEXT_MAX], new_key[KEY_TEXT_MAX], other_key[KEY_TEXT_MAX], unknown_key[KEY_TEXT_MAX];
static internal_keys_t *keys;

static void accept_one(internal_key_t *out, const char *name, char *key, unsigned operations)
{
  assert_int_equal(key_generate_internal(key), SMPL_OK);
  snprintf(out->name, sizeof out->name, "%s", name);
  assert_int_equal(key_hash(key, out->hash), SMPL_OK);
  out->operations = operations;
}

static int set_up(void **state)
{
  internal_key_t accepted[3] = {0};
  (void)state;
  accept_one(&accepted[0], "onboarding", old_key, 1u << OPERATION_PROVISION);
  accept_one(&accepted[1], "onboarding", new_key, 1u << OPERATION_PROVISION);
  accept_one(&accepted[2], "config", other_key, 1u << OPERATION_INTROSPECT);
  assert_int_equal(key_generate_internal(unknown_key), SMPL_OK);
  keys = internal_keys_new(accepted, 3);
  return keys == NULL;
}

static int tear_down(void **state)
{
  (void)state;
  internal_keys_free(keys);
  return 0;
}

static void a_key_is_good_for_its_operations_alone_and_says_whose_it_is(void **state)
{
  char name[INTERNAL_NAME_MAX];
  (void)state;
  const char *const both[] = {old_key, new_key};
  for (size_t i = 0; i < 2; i++) { /* while keys are exchanged, the old and the new one */
    memset(name, 0, sizeof name);
    assert_int_equal(internal_keys_judge(keys, both[i], OPERATION_PROVISION, name), INTERNAL_ADMITTED);
    assert_string_equal(name, "onboarding");
    assert_int_equal(internal_keys_judge(keys, both[i], OPERATION_INTROSPECT, name), INTERNAL_FORBIDDEN);
  }
  assert_int_equal(internal_keys_judge(keys, other_key, OPERATION_INTROSPECT, name), INTERNAL_ADMITTED);
  assert_string_equal(name, "config");
  assert_int_equal(internal_keys_judge(keys, other_key, OPERATION_PROVISION, name), INTERNAL_FORBIDDEN);
}

static void anything_else_is_nobody_s(void **state)
{
  char name[INTERNAL_NAME_MAX] = "";
  char api_key[KEY_TEXT_MAX];
  char changed[KEY_TEXT_MAX];
  (void)state;
  assert_int_equal(key_generate(api_key), SMPL_OK);
  memcpy(changed, old_key, sizeof changed);
  changed[20] = changed[20] == 'x' ? 'y' : 'x';
  const char *const bad[] = {unknown_key, api_key, changed, "", "sk_int_", "x"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_int_equal(internal_keys_judge(keys, bad[i], OPERATION_PROVISION, name), INTERNAL_UNKNOWN);
  assert_int_equal(internal_keys_judge(NULL, old_key, OPERATION_PROVISION, name), INTERNAL_UNKNOWN);
  internal_keys_t *none = internal_keys_new(NULL, 0);
  assert_int_equal(internal_keys_judge(none, old_key, OPERATION_PROVISION, name), INTERNAL_UNKNOWN);
  internal_keys_free(none);
  assert_string_equal(name, "");
}

static admit_verdict_t judge(const route_t *route, const char *authorization, char caller[INTERNAL_NAME_MAX])
{
  request_t *request = calloc(1, sizeof *request);
  assert_non_null(request);
  char head[256];
  snprintf(head, sizeof head, "GET /a HTTP/1.1\r\nHost: h\r\n%s\r\n", authorization);
  request_init(request);
  assert_int_equal(gate_head((const uint8_t *)head, strlen(head), &request->head), GATE_ADMIT);
  request->admit.match.route = route;
  assert_int_equal(request_take_head(request, (const uint8_t *)head, strlen(head)), SMPL_OK);
  admit_verdict_t verdict = request_judge_caller(request, keys);
  snprintf(caller, INTERNAL_NAME_MAX, "%s", request_caller(request) != NULL ? request_caller(request) : "");
  request_clear(request);
  free(request);
  return verdict;
}

static void only_a_caller_who_may_goes_on_to_a_route_that_has_an_operation(void **state)
{
  static const route_t guarded = {.method = METHOD_GET, .path = "/a", .operation = OPERATION_PROVISION};
  static const route_t open = {.method = METHOD_GET, .path = "/a"};
  static const route_t customers = {.method = METHOD_GET, .path = "/a", .operation = OPERATION_CUSTOMER};
  char bearer[100];
  char caller[INTERNAL_NAME_MAX];
  (void)state;
  assert_int_equal(judge(&guarded, "", caller), ADMIT_CALLER_MISSING);
  snprintf(bearer, sizeof bearer, "Authorization: Basic %s\r\n", old_key);
  assert_int_equal(judge(&guarded, bearer, caller), ADMIT_CALLER_MISSING);
  snprintf(bearer, sizeof bearer, "Authorization: Bearer %s\r\n", unknown_key);
  assert_int_equal(judge(&guarded, bearer, caller), ADMIT_CALLER_UNKNOWN);
  assert_string_equal(caller, "");
  snprintf(bearer, sizeof bearer, "Authorization: Bearer %s\r\n", other_key);
  assert_int_equal(judge(&guarded, bearer, caller), ADMIT_CALLER_FORBIDDEN);
  assert_string_equal(caller, "config"); /* refused, and named in the log */
  snprintf(bearer, sizeof bearer, "Authorization: Bearer %s\r\n", old_key);
  assert_int_equal(judge(&guarded, bearer, caller), ADMIT_OK);
  assert_string_equal(caller, "onboarding");
  assert_int_equal(judge(&open, bearer, caller), ADMIT_OK);
  assert_string_equal(caller, "");
  assert_int_equal(judge(&open, "", caller), ADMIT_OK);
  assert_int_equal(judge(&customers, "", caller), ADMIT_OK); /* the API key is judged apart */
}

static void operations_have_one_name_each(void **state)
{
  (void)state;
  for (int i = OPERATION_FIRST; i < OPERATION_COUNT; i++) {
    assert_int_equal(operation_named(operation_name((operation_t)i)), i);
    assert_non_null(operation_purpose((operation_t)i));
  }
  assert_int_equal(operation_named("everything"), OPERATION_OPEN);
  assert_int_equal(operation_named(""), OPERATION_OPEN);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_key_is_good_for_its_operations_alone_and_says_whose_it_is, set_up,
                                      tear_down),
      cmocka_unit_test_setup_teardown(anything_else_is_nobody_s, set_up, tear_down),
      cmocka_unit_test_setup_teardown(only_a_caller_who_may_goes_on_to_a_route_that_has_an_operation, set_up,
                                      tear_down),
      cmocka_unit_test(operations_have_one_name_each),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
