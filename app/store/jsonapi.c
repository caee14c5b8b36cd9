/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/jsonapi.h"

#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/text.h"

int jsonapi_bool(const char *text, bool *out)
{
  if (text_equal_nocase(text, "true") || strcmp(text, "1") == 0)
    *out = true;
  else if (text_equal_nocase(text, "false") || strcmp(text, "0") == 0)
    *out = false;
  else
    return SMPL_EINVAL;
  return SMPL_OK;
}

static int refuse(char *detail, const char *text)
{
  snprintf(detail, PROBLEM_DETAIL_MAX, "%s", text);
  return SMPL_EINVAL;
}

static int read_number(const char *value, int64_t max, int64_t *out, char *detail)
{
  uint64_t n;
  if (text_parse_u64(value, strlen(value), (uint64_t)max, &n) || n == 0) {
    snprintf(detail, PROBLEM_DETAIL_MAX, "expected a number from 1 to %lld", (long long)max);
    return SMPL_EINVAL;
  }
  *out = (int64_t)n;
  return SMPL_OK;
}

/* "created_at, name": for messages. */
static void join(const char *const *names, char *out, size_t cap)
{
  size_t used = 0;
  out[0] = '\0';
  for (; *names != NULL && used < cap; names++)
    used += (size_t)snprintf(out + used, cap - used, "%s%s", used > 0 ? ", " : "", *names);
}

static int read_sort(const jsonapi_list_spec_t *spec, jsonapi_list_t *list, const char *value, char *detail)
{
  bool descending = value[0] == '-';
  for (int i = 0; spec->sorts[i] != NULL; i++) {
    if (strcmp(spec->sorts[i], value + (descending ? 1 : 0)) == 0) {
      list->sort = i;
      list->descending = descending;
      return SMPL_OK;
    }
  }
  char names[PROBLEM_DETAIL_MAX / 2];
  join(spec->sorts, names, sizeof names);
  snprintf(detail, PROBLEM_DETAIL_MAX, "expected one of %s, with - before it for descending order", names);
  return SMPL_EINVAL;
}

static int read_filter(const jsonapi_list_spec_t *spec, jsonapi_list_t *list, const char *name,
                       const char *value, char *detail)
{
  for (int i = 0; spec->filters[i] != NULL; i++) {
    if (strcmp(spec->filters[i], name) != 0)
      continue;
    if (strlen(value) > JSONAPI_SEARCH_MAX)
      return refuse(detail, "longer than 255 bytes");
    list->filters[i] = value[0] != '\0' ? value : NULL;
    return SMPL_OK;
  }
  char names[PROBLEM_DETAIL_MAX / 2];
  join(spec->filters, names, sizeof names);
  snprintf(detail, PROBLEM_DETAIL_MAX,
           "not a parameter of this list; it knows page[number], page[size], meta[total], sort%s%s",
           names[0] != '\0' ? ", " : "", names);
  return SMPL_EINVAL;
}

int jsonapi_list_parameter(const jsonapi_list_spec_t *spec, jsonapi_list_t *list, const char *name,
                           const char *value, char *detail)
{
  if (strcmp(name, "page[number]") == 0)
    return read_number(value, JSONAPI_PAGE_NUMBER_MAX, &list->page, detail);
  if (strcmp(name, "page[size]") == 0)
    return read_number(value, JSONAPI_PAGE_SIZE_MAX, &list->size, detail);
  if (strcmp(name, "meta[total]") == 0)
    return jsonapi_bool(value, &list->total) ? refuse(detail, "expected true or false") : SMPL_OK;
  if (strcmp(name, "sort") == 0)
    return read_sort(spec, list, value, detail);
  return read_filter(spec, list, name, value, detail);
}

void jsonapi_list_defaults(const jsonapi_list_spec_t *spec, jsonapi_list_t *list)
{
  *list = (jsonapi_list_t){.page = 1,
                           .size = JSONAPI_PAGE_SIZE_MAX,
                           .sort = spec->default_sort,
                           .descending = spec->default_descending};
}

int64_t jsonapi_offset(const jsonapi_list_t *list)
{
  return (list->page - 1) * list->size;
}

void jsonapi_list_shorten(jsonapi_list_t *list, int64_t fits)
{
  int64_t offset = jsonapi_offset(list), size = fits < list->size ? fits : list->size;
  while (list->size % size != 0)
    size--;
  list->page = offset / size + 1;
  list->size = size;
}

static int check_id(const json_t *id, jsonapi_id_t rule, const char **out, problem_t *problem)
{
  const place_t *place = PLACE_MEMBER(&place_data, "id");
  *out = NULL;
  if (id == NULL || json_is_null(id))
    return rule == JSONAPI_ID_REQUIRED ? problem_invalid(problem, place, "required: choose the resource's id")
                                       : SMPL_OK;
  if (rule == JSONAPI_ID_REFUSED)
    return problem_invalid(problem, place, "the service chooses the id: leave it out");
  if (!json_is_string(id))
    return problem_invalid(problem, place, "expected a string");
  *out = json_string_value(id);
  return SMPL_OK;
}

int jsonapi_body(const json_t *body, const char *type, jsonapi_id_t rule, const char **id,
                 const json_t **attributes, problem_t *problem)
{
  const json_t *data = json_object_get(body, "data");
  if (!json_is_object(data))
    return problem_invalid(problem, &place_data,
                           "expected an object {\"type\": \"%s\", \"attributes\": {...}}", type);
  const place_t *at_type = PLACE_MEMBER(&place_data, "type");
  const json_t *given = json_object_get(data, "type");
  if (!json_is_string(given))
    return problem_invalid(problem, at_type, "required: \"%s\"", type);
  if (strcmp(json_string_value(given), type) != 0)
    return problem_at(problem, 409, at_type, "expected \"%s\"", type);
  int err = check_id(json_object_get(data, "id"), rule, id, problem);
  if (err)
    return err;
  *attributes = json_object_get(data, "attributes");
  if (!json_is_object(*attributes))
    return problem_invalid(problem, &place_attributes, "required: an object");
  return SMPL_OK;
}

size_t jsonapi_length(const char *text)
{
  size_t n = 0;
  for (; *text != '\0'; text++)
    n += ((uint8_t)*text & 0xc0) != 0x80;
  return n;
}

static int check_value(const json_t *value, const jsonapi_field_t *field, const place_t *place,
                       problem_t *problem)
{
  switch (field->kind) {
  case FIELD_STRING:
    if (!json_is_string(value))
      return problem_invalid(problem, place, "expected a string%s", field->nullable ? " or null" : "");
    if (field->max > 0 && jsonapi_length(json_string_value(value)) > field->max)
      return problem_invalid(problem, place, "longer than %zu characters", field->max);
    return SMPL_OK;
  case FIELD_OBJECT:
    if (!json_is_object(value))
      return problem_invalid(problem, place, "expected an object%s", field->nullable ? " or null" : "");
    if (field->max > 0 && json_object_size(value) > field->max)
      return problem_invalid(problem, place, "more than %zu members", field->max);
    return SMPL_OK;
  case FIELD_ARRAY:
    if (!json_is_array(value))
      return problem_invalid(problem, place, "expected an array%s", field->nullable ? " or null" : "");
    if (field->max > 0 && json_array_size(value) > field->max)
      return problem_invalid(problem, place, "more than %zu entries", field->max);
    return SMPL_OK;
  case FIELD_BOOL:
    if (!json_is_boolean(value))
      return problem_invalid(problem, place, "expected true or false%s", field->nullable ? ", or null" : "");
    return SMPL_OK;
  case FIELD_ANY:
  case FIELD_READ_ONLY:
    break;
  }
  return SMPL_OK;
}

static const jsonapi_field_t *field_named(const jsonapi_field_t *fields, const char *name)
{
  for (; fields->name != NULL; fields++)
    if (strcmp(fields->name, name) == 0)
      return fields;
  return NULL;
}

int jsonapi_check(const json_t *object, const jsonapi_field_t *fields, const place_t *place,
                  problem_t *problem)
{
  const char *name;
  json_t *value;
  json_object_foreach((json_t *)object, name, value)
  {
    const jsonapi_field_t *field = field_named(fields, name);
    const place_t *at = PLACE_MEMBER(place, name);
    if (field == NULL)
      return problem_invalid(problem, at, "unknown member");
    if (json_is_null(value) &&
        (field->nullable || field->kind == FIELD_ANY || field->kind == FIELD_READ_ONLY))
      continue;
    int err = check_value(value, field, at, problem);
    if (err)
      return err;
  }
  for (const jsonapi_field_t *field = fields; field->name != NULL; field++)
    if (field->required && json_object_get(object, field->name) == NULL)
      return problem_invalid(problem, PLACE_MEMBER(place, field->name), "required");
  return SMPL_OK;
}

json_t *jsonapi_resource(const char *type, const char *id, json_t *attributes)
{
  return json_pack("{s:s, s:s, s:o}", "type", type, "id", id, "attributes", attributes);
}

json_t *jsonapi_document(json_t *resource)
{
  return json_pack("{s:o}", "data", resource);
}

json_t *jsonapi_list_document(json_t *data, const jsonapi_list_t *list, int64_t total)
{
  json_t *document = json_pack("{s:o, s:{s:{s:I, s:I}}}", "data", data, "meta", "pagination", "page",
                               (json_int_t)list->page, "size", (json_int_t)list->size);
  if (document == NULL || !list->total)
    return document;
  json_t *pagination = json_object_get(json_object_get(document, "meta"), "pagination");
  int64_t pages = (total + list->size - 1) / list->size;
  if (json_object_set_new(pagination, "total", json_integer(total)) != 0 ||
      json_object_set_new(pagination, "total_pages", json_integer(pages)) != 0) {
    json_decref(document);
    return NULL;
  }
  return document;
}

json_t *jsonapi_time(int64_t wall_ms)
{
  char buf[CLOCK_ISO_MAX];
  return wall_ms < 0 ? json_null() : json_string(clock_format_iso(buf, (uint64_t)wall_ms));
}

json_t *jsonapi_text(const char *text)
{
  return text != NULL ? json_string(text) : json_null();
}
