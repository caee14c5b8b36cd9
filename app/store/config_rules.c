/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/config_rules.h"

#include <stdbool.h>
#include <string.h>

#include "app/store/jsonapi.h"
#include "common/base/error.h"

static const jsonapi_field_t config_fields[] = {
    {"name", FIELD_STRING, true, false, CONFIG_NAME_MAX},
    {"description", FIELD_STRING, false, true, CONFIG_DESCRIPTION_MAX},
    {"parent", FIELD_STRING, false, true, 0},
    {"items", FIELD_OBJECT, false, true, CONFIG_ITEMS_MAX},
    {"environments", FIELD_OBJECT, false, true, CONFIG_ENVIRONMENTS_MAX},
    {"managed", FIELD_BOOL, false, true, 0},
    {"created_at", FIELD_READ_ONLY, false, false, 0},
    {"updated_at", FIELD_READ_ONLY, false, false, 0},
    {0},
};

static const jsonapi_field_t item_fields[] = {
    {"value", FIELD_ANY, false, true, 0},
    {"type", FIELD_STRING, false, true, 0},
    {"description", FIELD_STRING, false, true, CONFIG_DESCRIPTION_MAX},
    {0},
};

static const char *const type_names[] = {"STRING", "NUMBER", "BOOLEAN", "JSON"};

enum { TYPE_COUNT = sizeof type_names / sizeof *type_names };

/* null is a cleared slot of any type. */
static bool fits(const json_t *value, const char *type)
{
  if (value == NULL || json_is_null(value) || strcmp(type, "JSON") == 0)
    return true;
  if (strcmp(type, "STRING") == 0)
    return json_is_string(value);
  if (strcmp(type, "NUMBER") == 0)
    return json_is_number(value);
  return json_is_boolean(value);
}

/* NULL for null: it looks like nothing. */
static const char *type_of_value(const json_t *value)
{
  if (value == NULL || json_is_null(value))
    return NULL;
  if (json_is_string(value))
    return "STRING";
  if (json_is_number(value))
    return "NUMBER";
  return json_is_boolean(value) ? "BOOLEAN" : "JSON";
}

static int check_key(const char *key, const place_t *place, problem_t *problem)
{
  if (key[0] == '\0')
    return problem_invalid(problem, place, "a key cannot be empty");
  if (jsonapi_length(key) > CONFIG_KEY_MAX)
    return problem_invalid(problem, place, "a key longer than %d characters", CONFIG_KEY_MAX);
  return SMPL_OK;
}

static int check_item(const json_t *item, const place_t *place, problem_t *problem)
{
  if (!json_is_object(item))
    return problem_invalid(problem, place, "expected an object {\"value\": ..., \"type\": ...}");
  int err = jsonapi_check(item, item_fields, place, problem);
  const char *type = json_string_value(json_object_get(item, "type"));
  if (err || type == NULL)
    return err;
  for (size_t i = 0; i < TYPE_COUNT; i++)
    if (strcmp(type_names[i], type) == 0)
      return SMPL_OK;
  return problem_invalid(problem, PLACE_MEMBER(place, "type"), "expected STRING, NUMBER, BOOLEAN or JSON");
}

static int check_environment(const json_t *overrides, const place_t *place, problem_t *problem)
{
  if (!json_is_object(overrides))
    return problem_invalid(problem, place, "expected an object of item keys to values");
  if (json_object_size(overrides) > CONFIG_ITEMS_MAX)
    return problem_invalid(problem, place, "more than %d overrides", CONFIG_ITEMS_MAX);
  return SMPL_OK;
}

typedef int (*entry_check)(const json_t *value, const place_t *place, problem_t *problem);

/* Keys and values of one of the maps. */
static int check_map(const json_t *attributes, const char *name, entry_check check, problem_t *problem)
{
  const place_t *map_place = PLACE_MEMBER(&place_attributes, name);
  const char *key;
  json_t *value;
  int err = SMPL_OK;
  json_object_foreach(json_object_get(attributes, name), key, value)
  {
    const place_t *place = PLACE_MEMBER(map_place, key);
    err = check_key(key, place, problem);
    if (!err)
      err = check(value, place, problem);
    if (err)
      return err;
  }
  return err;
}

int config_check_shape(const json_t *attributes, problem_t *problem)
{
  int err = jsonapi_check(attributes, config_fields, &place_attributes, problem);
  if (!err)
    err = check_map(attributes, "items", check_item, problem);
  if (!err)
    err = check_map(attributes, "environments", check_environment, problem);
  return err;
}

/* The type that holds for the item, checked against what has been declared elsewhere. NULL: refused. */
static const char *settle_type(const char *key, const json_t *item, const json_t *own,
                               const json_t *inherited, const place_t *place, problem_t *problem)
{
  const json_t *value = json_object_get(item, "value");
  const char *stated = json_string_value(json_object_get(item, "type"));
  const char *before = json_string_value(json_object_get(own, key));
  const char *above = json_string_value(json_object_get(inherited, key));
  const place_t *at_type = PLACE_MEMBER(place, "type");
  const char *type = stated != NULL   ? stated
                     : before != NULL ? before
                     : above != NULL  ? above
                                      : type_of_value(value);
  if (type == NULL)
    problem_invalid(problem, at_type, "required when the value is null");
  else if (before != NULL && strcmp(before, type) != 0)
    problem_invalid(problem, at_type, "the item's type is %s and cannot be changed", before);
  else if (above != NULL && strcmp(above, type) != 0)
    problem_invalid(problem, at_type, "an ancestor declares this item as %s", above);
  else if (!fits(value, type))
    problem_invalid(problem, PLACE_MEMBER(place, "value"), "expected a value of type %s", type);
  else
    return type;
  return NULL;
}

int config_type_items(const json_t *attributes, const json_t *own, const json_t *inherited, json_t **items,
                      problem_t *problem)
{
  const place_t *map_place = PLACE_MEMBER(&place_attributes, "items");
  const char *key;
  json_t *item;
  *items = json_object();
  if (*items == NULL)
    return SMPL_ENOMEM;
  json_object_foreach(json_object_get(attributes, "items"), key, item)
  {
    const place_t *place = PLACE_MEMBER(map_place, key);
    const char *type = settle_type(key, item, own, inherited, place, problem);
    int err = SMPL_EINVAL;
    if (type != NULL) {
      json_t *typed = json_pack("{s:O?, s:s, s:O?}", "value", json_object_get(item, "value"), "type", type,
                                "description", json_object_get(item, "description"));
      err = json_object_set_new(*items, key, typed) == 0 ? SMPL_OK : SMPL_ENOMEM;
    }
    if (err) {
      json_decref(*items);
      *items = NULL;
      return err;
    }
  }
  return SMPL_OK;
}

static int check_override(const char *key, const json_t *value, const json_t *items, const json_t *inherited,
                          const place_t *place, problem_t *problem)
{
  const char *type = json_string_value(json_object_get(json_object_get(items, key), "type"));
  if (type == NULL)
    type = json_string_value(json_object_get(inherited, key));
  if (type == NULL)
    return problem_invalid(problem, place, "neither this config nor an ancestor declares this item");
  if (!fits(value, type))
    return problem_invalid(problem, place, "expected a value of type %s", type);
  return SMPL_OK;
}

int config_check_overrides(const json_t *attributes, const json_t *items, const json_t *inherited,
                           problem_t *problem)
{
  const place_t *map_place = PLACE_MEMBER(&place_attributes, "environments");
  const char *name, *key;
  json_t *overrides, *value;
  json_object_foreach(json_object_get(attributes, "environments"), name, overrides)
  {
    const place_t *environment_place = PLACE_MEMBER(map_place, name);
    json_object_foreach(overrides, key, value)
    {
      int err = check_override(key, value, items, inherited, PLACE_MEMBER(environment_place, key), problem);
      if (err)
        return err;
    }
  }
  return SMPL_OK;
}

static const char *const sorts[] = {"key", "name", "created_at", "updated_at", NULL};
static const char *const filters[] = {"filter[parent]", "filter[search]", "filter[managed]", NULL};

const jsonapi_list_spec_t config_list_spec = {sorts, 0, false, filters};
