/* SPDX-License-Identifier: Apache-2.0 */
#include "app/program/openapi.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/base/error.h"
#include "common/base/text.h"

/* docs/assets.S.in */
extern const char built_in_api[], built_in_api_end[];

static const api_file_t built_in_file = {"built_in_api.json", built_in_api, built_in_api_end};

/* Every error, on either tier, has this form. A service may bring its own schema of this name. */
static const char error_name[] = "Errors";

/* What the document is being written with; errors stop it once. */
typedef struct writer {
  const service_t *service;
  json_t *parameters, *responses, *operations; /* of all files, by name */
  json_t *schemas;
  diag_t *diag;
  int err;
} writer_t;

/* Adds what the file has of that kind, unless something of the name is there. */
static void add_part(json_t *file, const char *kind, json_t *to)
{
  json_object_update_missing(to, json_object_get(file, kind));
}

static void read_file(writer_t *w, const api_file_t *file)
{
  json_error_t error;
  size_t len = (size_t)(file->end - file->text);
  json_t *json = json_loadb(file->text, len, JSON_REJECT_DUPLICATES, &error);
  if (json == NULL && !w->err)
    w->err =
        diag_fail(w->diag, SMPL_EINVAL, "%s:%d:%d: %s", file->name, error.line, error.column, error.text);
  add_part(json, "parameters", w->parameters);
  add_part(json, "responses", w->responses);
  add_part(json, "operations", w->operations);
  add_part(json, "schemas", w->schemas);
  json_decref(json);
}

/* The members of a list; a name in it stands for the group of that name. */
static json_t *expand(writer_t *w, const json_t *groups, const json_t *list, const char *path)
{
  json_t *all = json_array(), *item;
  size_t index;
  json_array_foreach(list, index, item)
  {
    if (!json_is_string(item)) {
      json_array_append(all, item);
      continue;
    }
    json_t *group = json_object_get(groups, json_string_value(item));
    if (!json_is_array(group) && !w->err)
      w->err = diag_fail(w->diag, SMPL_EINVAL, "route %s: no group %s", path, json_string_value(item));
    json_array_extend(all, group);
  }
  return all;
}

static json_t *reference(writer_t *w, const char *schema, const char *path)
{
  if (json_object_get(w->schemas, schema) == NULL && !w->err)
    w->err = diag_fail(w->diag, SMPL_EINVAL, "route %s: no schema %s", path, schema);
  return json_pack("{s:o}", "$ref", json_sprintf("#/components/schemas/%s", schema));
}

/* {"application/vnd.api+json": {...}, "application/json": {...}}; the tier's own type first. */
static json_t *content(writer_t *w, const route_t *route, const char *schema, json_t *example, bool both)
{
  bool api = route->tier == TIER_API;
  const char *types[] = {api ? "application/vnd.api+json" : "application/json",
                         api ? "application/json" : "application/vnd.api+json"};
  json_t *content = json_object();
  for (size_t i = 0; i < (both ? 2u : 1u); i++) {
    json_t *media = json_pack("{s:o}", "schema", reference(w, schema, route->path));
    if (example != NULL)
      json_object_set(media, "example", example);
    json_object_set_new(content, types[i], media);
  }
  return content;
}

static json_t *responses(writer_t *w, const route_t *route, const json_t *from)
{
  json_t *all = json_object(), *item;
  json_t *list = expand(w, w->responses, json_object_get(from, "responses"), route->path);
  size_t index;
  json_array_foreach(list, index, item)
  {
    char status[8];
    const char *schema = json_string_value(json_object_get(item, "schema"));
    snprintf(status, sizeof status, "%d", (int)json_integer_value(json_object_get(item, "status")));
    json_t *one = json_object();
    json_object_set(one, "description", json_object_get(item, "description"));
    if (schema != NULL)
      json_object_set_new(one, "content", content(w, route, schema, NULL, false));
    json_object_set_new(all, status, one);
  }
  json_decref(list);
  json_t *other = json_pack("{s:s,s:{s:{s:o}}}", "description", "Error", "content",
                            "application/vnd.api+json", "schema", reference(w, error_name, route->path));
  json_object_set_new(all, "default", other);
  return all;
}

static const char *member(const json_t *of, const char *name)
{
  const char *text = json_string_value(json_object_get(of, name));
  return text != NULL ? text : "";
}

static json_t *parameters(writer_t *w, const route_t *route, const json_t *from)
{
  json_t *all = json_array(), *item;
  json_t *list = expand(w, w->parameters, json_object_get(from, "parameters"), route->path);
  size_t index;
  json_array_foreach(list, index, item)
  {
    bool required = strcmp(member(item, "in"), "path") == 0;
    json_t *one = json_pack("{s:s,s:s,s:b}", "name", member(item, "name"), "in", member(item, "in"),
                            "required", required);
    json_object_set(one, "description", json_object_get(item, "description"));
    json_object_set(one, "schema", json_object_get(item, "schema"));
    json_array_append_new(all, one);
  }
  json_decref(list);
  return all;
}

static bool describes(const json_t *parameters, const char *name, size_t len)
{
  size_t index;
  json_t *p;
  json_array_foreach(parameters, index, p)
  {
    const char *its = member(p, "name");
    if (strcmp(member(p, "in"), "path") == 0 && strlen(its) == len && memcmp(its, name, len) == 0)
      return true;
  }
  return false;
}

/* A path parameter that the file does not describe is still one. */
static void add_path_parameters(const route_t *route, json_t *all)
{
  for (const char *at = strchr(route->path, '{'); at != NULL; at = strchr(at + 1, '{')) {
    size_t len = strcspn(at + 1, "}");
    if (describes(all, at + 1, len))
      continue;
    json_array_append_new(all, json_pack("{s:o,s:s,s:b,s:{s:s}}", "name", json_stringn(at + 1, len), "in",
                                         "path", "required", 1, "schema", "type", "string"));
  }
}

static json_t *operation(writer_t *w, const route_t *route)
{
  json_t *from = json_object_get(w->operations, route->operation_id);
  if (from == NULL && !w->err)
    w->err = diag_fail(w->diag, SMPL_EINVAL, "route %s: no operation %s", route->path, route->operation_id);
  json_t *op = json_pack("{s:[s],s:s,s:s}", "tags", member(from, "tag"), "summary", member(from, "summary"),
                         "operationId", route->operation_id);
  json_object_set(op, "description", json_object_get(from, "description"));
  json_t *all = parameters(w, route, from);
  add_path_parameters(route, all);
  if (json_array_size(all) > 0)
    json_object_set(op, "parameters", all);
  json_decref(all);
  if (route->request_schema != NULL)
    json_object_set_new(op, "requestBody",
                        json_pack("{s:b,s:o}", "required", 1, "content",
                                  content(w, route, route->request_schema, json_object_get(from, "example"),
                                          true)));
  json_object_set_new(op, "responses", responses(w, route, from));
  if (route->operation == OPERATION_CUSTOMER)
    json_object_set_new(op, "security", json_pack("[{s:[]}]", "HTTPBearer"));
  else if (route->operation >= OPERATION_FIRST)
    json_object_set_new(op, "security", json_pack("[{s:[]}]", "InternalKey"));
  return op;
}

static json_t *paths(writer_t *w, const route_source_t *sources, size_t count)
{
  static const char *const methods[METHOD_COUNT] = {"get", "post", "put", "delete"};
  json_t *all = json_object();
  for (size_t i = 0; i < count; i++) {
    for (size_t j = 0; j < sources[i].count; j++) {
      const route_t *route = &sources[i].routes[j];
      if (route->operation_id == NULL)
        continue;
      json_t *item = json_object_get(all, route->path);
      if (item == NULL) {
        item = json_object();
        json_object_set_new(all, route->path, item);
      }
      json_object_set_new(item, methods[route->method], operation(w, route));
    }
  }
  return all;
}

static void read_files(writer_t *w)
{
  w->parameters = json_object();
  w->responses = json_object();
  w->operations = json_object();
  w->schemas = json_object();
  for (const api_file_t *f = w->service->api; f != NULL && f->name != NULL; f++)
    read_file(w, f);
  read_file(w, &built_in_file);
}

/* "#/components/schemas/NAME" anywhere in a schema must lead somewhere. */
static void check_references(writer_t *w, const json_t *json)
{
  static const char prefix[] = "#/components/schemas/";
  const char *target = json_string_value(json_object_get(json, "$ref"));
  if (target != NULL && !w->err &&
      (strncmp(target, prefix, sizeof prefix - 1) != 0 ||
       json_object_get(w->schemas, target + sizeof prefix - 1) == NULL))
    w->err = diag_fail(w->diag, SMPL_EINVAL, "schema reference %s leads nowhere", target);
  const char *key;
  json_t *value;
  size_t index;
  json_object_foreach((json_t *)(uintptr_t)json, key, value) check_references(w, value);
  json_array_foreach(json, index, value) check_references(w, value);
}

int openapi_document(const service_t *service, const route_source_t *sources, size_t source_count,
                     json_t **out, diag_t *diag)
{
  writer_t w = {.service = service, .diag = diag};
  read_files(&w);
  json_t *all = paths(&w, sources, source_count);
  check_references(&w, w.schemas);
  *out = json_pack("{s:s,s:{s:s,s:s,s:s},s:[{s:s}],s:o,s:{s:o,s:{s:{s:s,s:s,s:s},s:{s:s,s:s,s:s}}}}",
                   "openapi", "3.1.0", "info", "title", service->title, "version", SMPL_VERSION,
                   "description", service->description != NULL ? service->description : "", "servers", "url",
                   "/", "paths", all, "components", "schemas", w.schemas, "securitySchemes", "HTTPBearer",
                   "type", "http", "scheme", "bearer", "description", "An API key: " KEY_PREFIX "...",
                   "InternalKey", "type", "http", "scheme", "bearer", "description",
                   "An internal key: " KEY_INTERNAL_PREFIX "... It says which service or person calls.");
  json_decref(w.parameters);
  json_decref(w.responses);
  json_decref(w.operations);
  if (*out == NULL && !w.err)
    w.err = diag_fail(diag, SMPL_ENOMEM, "out of memory");
  if (w.err) {
    json_decref(*out);
    *out = NULL;
  }
  return w.err;
}
