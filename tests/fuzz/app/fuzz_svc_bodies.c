/* SPDX-License-Identifier: Apache-2.0 */
/* Any JSON body through the rules of configs, flags and lists: what they let through holds what they promise.
 */
#include <stdlib.h>
#include <string.h>

#include "app/store/config_rules.h"
#include "app/store/flag_rules.h"
#include "app/store/ident.h"
#include "app/store/jsonapi.h"
#include "app/http/keys.h"
#include "app/services/sister.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int holds)
{
  if (!holds)
    abort();
}

/* A refusal names a status and a place that is a JSON pointer. */
static void check_problem(int err, const problem_t *problem)
{
  check((err == 0) == (problem->status == 0));
  check(err == 0 || problem->pointer[0] == '\0' || problem->pointer[0] == '/');
  check(strlen(problem->detail) < PROBLEM_DETAIL_MAX);
}

static void as_config(const json_t *attributes)
{
  problem_t problem = {0};
  json_t *items = NULL, *again = NULL, *types = json_object(), *none = json_object();
  const char *key;
  json_t *item;
  int err = config_check_shape(attributes, &problem);
  check_problem(err, &problem);
  if (!err) {
    err = config_type_items(attributes, none, none, &items, &problem);
    check_problem(err, &problem);
  }
  if (!err) {
    json_object_foreach(items, key, item)
    {
      check(json_is_string(json_object_get(item, "type")));
      json_object_set(types, key, json_object_get(item, "type"));
    }
    /* What was taken once is taken again, with the types that it now has, here or from an ancestor. */
    check(config_type_items(attributes, types, types, &again, &problem) == 0 && json_equal(items, again));
    check_problem(config_check_overrides(attributes, items, none, &problem), &problem);
  }
  json_decref(items);
  json_decref(again);
  json_decref(types);
  json_decref(none);
}

static void as_flag(const json_t *attributes)
{
  problem_t problem = {0};
  int err = flag_check(attributes, &problem);
  check_problem(err, &problem);
  if (err)
    return;
  check(flag_type(json_string_value(json_object_get(attributes, "type"))) != NULL);
  json_t *environments = flag_environments(attributes);
  check(environments != NULL);
  flag_references(environments, "customer", NULL);
  flag_references(environments, "customer", "c-1");
  json_decref(environments);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static const char *const types[] = {"config", "flag", "account", "api_key"};
  const char *id;
  const json_t *attributes;
  char *text = malloc(size + 1);
  check(text != NULL);
  memcpy(text, data, size);
  text[size] = '\0';
  uint64_t ms;
  sister_url_t url;
  (void)time_parse(text, &ms);
  (void)key_well_formed(text);
  (void)uuid_valid(text);
  if (sister_url_parse(text, &url, NULL) == 0)
    check(url.host[0] != '\0' && strlen(url.host) < SISTER_HOST_MAX);
  if (resource_id_valid(text))
    check(strlen(text) <= RESOURCE_ID_MAX && strchr(text, '/') == NULL);
  free(text);
  json_t *body = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
  for (size_t i = 0; body != NULL && i < 4; i++) {
    problem_t problem = {0};
    int err = jsonapi_body(body, types[i], JSONAPI_ID_OPTIONAL, &id, &attributes, &problem);
    check_problem(err, &problem);
    if (!err && i == 0)
      as_config(attributes);
    if (!err && i == 1)
      as_flag(attributes);
  }
  json_decref(body);
  return 0;
}
