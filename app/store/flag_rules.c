/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/flag_rules.h"

#include <string.h>

#include "app/store/jsonapi.h"
#include "common/base/error.h"
#include "common/base/text.h"

static const jsonapi_field_t flag_fields[] = {
    {"name", FIELD_STRING, true, false, FLAG_NAME_MAX},
    {"description", FIELD_STRING, false, true, FLAG_DESCRIPTION_MAX},
    {"type", FIELD_STRING, true, false, 0},
    {"default", FIELD_ANY, true, false, 0},
    {"values", FIELD_ARRAY, false, true, FLAG_VALUES_MAX},
    {"environments", FIELD_OBJECT, false, true, FLAG_ENVIRONMENTS_MAX},
    {"managed", FIELD_BOOL, false, true, 0},
    {"sources", FIELD_READ_ONLY, false, false, 0},
    {"created_at", FIELD_READ_ONLY, false, false, 0},
    {"updated_at", FIELD_READ_ONLY, false, false, 0},
    {0},
};

static const jsonapi_field_t value_fields[] = {
    {"name", FIELD_STRING, true, false, FLAG_NAME_MAX},
    {"value", FIELD_ANY, true, false, 0},
    {0},
};

static const jsonapi_field_t environment_fields[] = {
    {"enabled", FIELD_BOOL, false, false, 0},
    {"default", FIELD_ANY, false, true, 0},
    {"rules", FIELD_ARRAY, false, false, FLAG_RULES_MAX},
    {0},
};

static const jsonapi_field_t rule_fields[] = {
    {"description", FIELD_STRING, false, true, FLAG_DESCRIPTION_MAX},
    {"logic", FIELD_OBJECT, true, false, 0},
    {"value", FIELD_ANY, true, false, 0},
    {0},
};

/* What a value of the flag must be. */
typedef struct constraint {
  const char *type;
  const json_t *values; /* NULL or null: any of the type */
} constraint_t;

const char *flag_type(const char *text)
{
  static const char *const names[] = {"BOOLEAN", "STRING", "NUMERIC", "JSON"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (text_equal_nocase(names[i], text))
      return names[i];
  return NULL;
}

static bool fits(const json_t *value, const char *type)
{
  if (strcmp(type, "BOOLEAN") == 0)
    return json_is_boolean(value);
  if (strcmp(type, "STRING") == 0)
    return json_is_string(value);
  if (strcmp(type, "NUMERIC") == 0)
    return json_is_number(value);
  return !json_is_null(value);
}

/* As clients compare: 1 and 1.0 are the same number. */
static bool same(const json_t *a, const json_t *b)
{
  if (json_is_integer(a) && json_is_integer(b))
    return json_integer_value(a) == json_integer_value(b);
  if (json_is_number(a) && json_is_number(b)) {
    double x = json_number_value(a), y = json_number_value(b);
    return x <= y && x >= y;
  }
  return json_equal(a, b) == 1;
}

static int check_value(const json_t *value, const constraint_t *of, const place_t *place, problem_t *problem)
{
  size_t i;
  json_t *entry;
  if (!fits(value, of->type))
    return problem_invalid(problem, place, "expected a value of type %s", of->type);
  if (!json_is_array(of->values))
    return SMPL_OK;
  json_array_foreach(of->values, i, entry)
  {
    if (same(json_object_get(entry, "value"), value))
      return SMPL_OK;
  }
  return problem_invalid(problem, place, "not one of the flag's values");
}

static int check_values_entry(const json_t *values, size_t index, const char *type, const place_t *place,
                              problem_t *problem)
{
  const json_t *entry = json_array_get(values, index);
  if (!json_is_object(entry))
    return problem_invalid(problem, place, "expected an object {\"name\": ..., \"value\": ...}");
  int err = jsonapi_check(entry, value_fields, place, problem);
  if (err)
    return err;
  const json_t *value = json_object_get(entry, "value");
  const place_t *at_value = PLACE_MEMBER(place, "value");
  if (!fits(value, type))
    return problem_invalid(problem, at_value, "expected a value of type %s", type);
  for (size_t i = 0; i < index; i++)
    if (same(json_object_get(json_array_get(values, i), "value"), value))
      return problem_invalid(problem, at_value, "the same value as that of entry %zu", i);
  return SMPL_OK;
}

static int check_values(const constraint_t *of, problem_t *problem)
{
  const place_t *place = PLACE_MEMBER(&place_attributes, "values");
  size_t count = json_array_size(of->values);
  if (!json_is_array(of->values))
    return SMPL_OK;
  if (strcmp(of->type, "BOOLEAN") == 0 && count != 2)
    return problem_invalid(problem, place, "a BOOLEAN flag has exactly two values, or null");
  if (count == 0)
    return problem_invalid(problem, place, "no value at all: use null for a flag without a set of values");
  for (size_t i = 0; i < count; i++) {
    int err = check_values_entry(of->values, i, of->type, PLACE_INDEX(place, i), problem);
    if (err)
      return err;
  }
  return SMPL_OK;
}

static int check_rule(const json_t *rule, const constraint_t *of, const place_t *place, problem_t *problem)
{
  if (!json_is_object(rule))
    return problem_invalid(problem, place, "expected an object {\"logic\": ..., \"value\": ...}");
  int err = jsonapi_check(rule, rule_fields, place, problem);
  if (!err)
    err = check_value(json_object_get(rule, "value"), of, PLACE_MEMBER(place, "value"), problem);
  return err;
}

static int check_environment(const json_t *environment, const constraint_t *of, const place_t *place,
                             problem_t *problem)
{
  const place_t *at_rules = PLACE_MEMBER(place, "rules");
  size_t i;
  json_t *rule;
  if (!json_is_object(environment))
    return problem_invalid(problem, place, "expected an object {\"enabled\": ..., \"rules\": [...]}");
  int err = jsonapi_check(environment, environment_fields, place, problem);
  const json_t *fallback = json_object_get(environment, "default");
  if (!err && fallback != NULL && !json_is_null(fallback))
    err = check_value(fallback, of, PLACE_MEMBER(place, "default"), problem);
  if (err)
    return err;
  json_array_foreach(json_object_get(environment, "rules"), i, rule)
  {
    err = check_rule(rule, of, PLACE_INDEX(at_rules, i), problem);
    if (err)
      return err;
  }
  return SMPL_OK;
}

static int check_environments(const json_t *attributes, const constraint_t *of, problem_t *problem)
{
  const place_t *map_place = PLACE_MEMBER(&place_attributes, "environments");
  const char *key;
  json_t *environment;
  json_object_foreach(json_object_get(attributes, "environments"), key, environment)
  {
    const place_t *place = PLACE_MEMBER(map_place, key);
    if (key[0] == '\0' || jsonapi_length(key) > FLAG_KEY_MAX)
      return problem_invalid(problem, place, "a key has 1 to %d characters", FLAG_KEY_MAX);
    int err = check_environment(environment, of, place, problem);
    if (err)
      return err;
  }
  return SMPL_OK;
}

int flag_check(const json_t *attributes, problem_t *problem)
{
  int err = jsonapi_check(attributes, flag_fields, &place_attributes, problem);
  if (err)
    return err;
  const char *name = json_string_value(json_object_get(attributes, "name"));
  if (name[strspn(name, " \t\r\n")] == '\0')
    return problem_invalid(problem, PLACE_MEMBER(&place_attributes, "name"), "cannot be empty");
  constraint_t of = {flag_type(json_string_value(json_object_get(attributes, "type"))),
                     json_object_get(attributes, "values")};
  if (of.type == NULL)
    return problem_invalid(problem, PLACE_MEMBER(&place_attributes, "type"),
                           "expected BOOLEAN, STRING, NUMERIC or JSON");
  err = check_values(&of, problem);
  if (!err)
    err = check_value(json_object_get(attributes, "default"), &of, PLACE_MEMBER(&place_attributes, "default"),
                      problem);
  if (!err)
    err = check_environments(attributes, &of, problem);
  return err;
}

json_t *flag_environments(const json_t *attributes)
{
  const char *key;
  json_t *given, *all = json_object();
  json_object_foreach(json_object_get(attributes, "environments"), key, given)
  {
    json_t *whole = json_pack("{s:b, s:n, s:[]}", "enabled", 1, "default", "rules");
    if (whole == NULL || json_object_update(whole, given) != 0 || json_object_set(all, key, whole) != 0) {
      json_decref(whole);
      json_decref(all);
      return NULL;
    }
    json_decref(whole);
  }
  return all;
}

/* ---- references ---- */

/* The path of {"var": "a.b"} or {"var": ["a.b", default]}; NULL for any other node. */
static const char *var_path(const json_t *node)
{
  const json_t *var = json_object_get(node, "var");
  return json_string_value(json_is_array(var) ? json_array_get(var, 0) : var);
}

static bool path_of_type(const char *path, const char *type)
{
  size_t len = strlen(type);
  return strncmp(path, type, len) == 0 && (path[len] == '\0' || path[len] == '.');
}

static bool holds_key(const json_t *operand, const char *key)
{
  size_t i;
  json_t *entry;
  if (json_is_string(operand))
    return strcmp(json_string_value(operand), key) == 0;
  json_array_foreach(operand, i, entry)
  {
    if (json_is_string(entry) && strcmp(json_string_value(entry), key) == 0)
      return true;
  }
  return false;
}

/* An operator's operands name TYPE.key and the key. */
static bool compares(const json_t *operands, const char *type, const char *key)
{
  bool var = false, literal = false;
  size_t i;
  json_t *operand;
  size_t len = strlen(type);
  json_array_foreach(operands, i, operand)
  {
    const char *path = var_path(operand);
    if (path != NULL && strncmp(path, type, len) == 0 && strcmp(path + len, ".key") == 0)
      var = true;
    if (holds_key(operand, key))
      literal = true;
  }
  return var && literal;
}

static bool mentions(const json_t *node, const char *type, const char *key)
{
  const char *path = var_path(node), *name;
  json_t *child;
  size_t i;
  if (key == NULL && path != NULL && path_of_type(path, type))
    return true;
  json_object_foreach((json_t *)node, name, child)
  {
    if ((key != NULL && compares(child, type, key)) || mentions(child, type, key))
      return true;
  }
  json_array_foreach(node, i, child)
  {
    if (mentions(child, type, key))
      return true;
  }
  return false;
}

bool flag_references(const json_t *environments, const char *context_type, const char *key)
{
  const char *name;
  json_t *environment, *rule;
  size_t i;
  json_object_foreach((json_t *)environments, name, environment)
  {
    json_array_foreach(json_object_get(environment, "rules"), i, rule)
    {
      if (mentions(json_object_get(rule, "logic"), context_type, key))
        return true;
    }
  }
  return false;
}

static const char *const sorts[] = {"key", "name", "created_at", "updated_at", "type", NULL};
static const char *const filters[] = {"filter[type]",
                                      "filter[managed]",
                                      "filter[references_context]",
                                      "filter[references_context_type]",
                                      "filter[search]",
                                      NULL};

const jsonapi_list_spec_t flag_list_spec = {sorts, 0, false, filters};
