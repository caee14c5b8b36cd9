/* SPDX-License-Identifier: Apache-2.0 */
#include "app/program/openapi.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/base/error.h"
#include "common/base/text.h"

/* Every error, on either tier, has this form. A service may bring its own schema of this name. */
static const char error_schema[] =
    "{\"type\": \"object\", \"required\": [\"errors\"], \"description\": \"JSON:API error document\", "
    "\"properties\": "
    "{\"errors\": {\"type\": \"array\", \"items\": {\"type\": \"object\", \"required\": [\"status\", "
    "\"title\"], "
    "\"properties\": {\"status\": {\"type\": \"string\", \"description\": \"HTTP status\"}, \"title\": "
    "{\"type\": "
    "\"string\"}, \"detail\": {\"type\": \"string\"}, \"code\": {\"type\": \"string\"}, \"meta\": {\"type\": "
    "\"object\"}, \"source\": {\"type\": \"object\", \"properties\": {\"pointer\": {\"type\": \"string\"}, "
    "\"parameter\": {\"type\": \"string\"}}}}}}}}";
static const char error_name[] = "Errors";

/* What the document is being written with; errors stop it once. */
typedef struct writer {
  const service_t *service;
  json_t *schemas;
  diag_t *diag;
  int err;
} writer_t;

static json_t *parse(writer_t *w, const char *text, const char *what, const char *name)
{
  json_error_t error;
  json_t *json = json_loads(text, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
  if (json == NULL && !w->err)
    w->err = diag_fail(w->diag, SMPL_EINVAL, "%s %s: column %d: %s", what, name, error.column, error.text);
  return json;
}

static json_t *reference(writer_t *w, const char *schema, const char *path)
{
  if (json_object_get(w->schemas, schema) == NULL && !w->err)
    w->err = diag_fail(w->diag, SMPL_EINVAL, "route %s: no schema %s", path, schema);
  return json_pack("{s:o}", "$ref", json_sprintf("#/components/schemas/%s", schema));
}

/* {"application/vnd.api+json": {...}, "application/json": {...}}; the tier's own type first. */
static json_t *content(writer_t *w, const route_t *route, const char *schema, const char *example, bool both)
{
  bool api = route->tier == TIER_API;
  const char *types[] = {api ? "application/vnd.api+json" : "application/json",
                         api ? "application/json" : "application/vnd.api+json"};
  json_t *content = json_object();
  for (size_t i = 0; i < (both ? 2u : 1u); i++) {
    json_t *media = json_pack("{s:o}", "schema", reference(w, schema, route->path));
    if (example != NULL)
      json_object_set_new(media, "example", parse(w, example, "example of", route->path));
    json_object_set_new(content, types[i], media);
  }
  return content;
}

static json_t *responses(writer_t *w, const route_t *route)
{
  json_t *all = json_object();
  for (const route_response_t *r = route->responses; r != NULL && r->status != 0; r++) {
    char status[8];
    snprintf(status, sizeof status, "%d", r->status);
    json_t *one = json_pack("{s:s}", "description", r->description);
    if (r->schema != NULL)
      json_object_set_new(one, "content", content(w, route, r->schema, NULL, false));
    json_object_set_new(all, status, one);
  }
  json_t *other = json_pack("{s:s,s:{s:{s:o}}}", "description", "Error", "content",
                            "application/vnd.api+json", "schema", reference(w, error_name, route->path));
  json_object_set_new(all, "default", other);
  return all;
}

static json_t *parameters(writer_t *w, const route_t *route)
{
  json_t *all = json_array();
  for (const route_parameter_t *p = route->parameters; p != NULL && p->name != NULL; p++) {
    bool required = p->required || strcmp(p->in, "path") == 0;
    json_t *one = json_pack("{s:s,s:s,s:b}", "name", p->name, "in", p->in, "required", required);
    if (p->description != NULL)
      json_object_set_new(one, "description", json_string(p->description));
    json_object_set_new(one, "schema",
                        parse(w, p->schema != NULL ? p->schema : "{\"type\": \"string\"}",
                              "schema of parameter", p->name));
    json_array_append_new(all, one);
  }
  return all;
}

static bool describes(const route_t *route, const char *name, size_t len)
{
  for (const route_parameter_t *p = route->parameters; p != NULL && p->name != NULL; p++)
    if (strcmp(p->in, "path") == 0 && strlen(p->name) == len && memcmp(p->name, name, len) == 0)
      return true;
  return false;
}

/* A path parameter that the table does not describe is still one. */
static void add_path_parameters(const route_t *route, json_t *all)
{
  for (const char *at = strchr(route->path, '{'); at != NULL; at = strchr(at + 1, '{')) {
    size_t len = strcspn(at + 1, "}");
    if (describes(route, at + 1, len))
      continue;
    json_array_append_new(all, json_pack("{s:o,s:s,s:b,s:{s:s}}", "name", json_stringn(at + 1, len), "in",
                                         "path", "required", 1, "schema", "type", "string"));
  }
}

static json_t *operation(writer_t *w, const route_t *route)
{
  json_t *op =
      json_pack("{s:[s],s:s,s:s}", "tags", route->tag != NULL ? route->tag : w->service->name, "summary",
                route->summary != NULL ? route->summary : "", "operationId", route->operation_id);
  if (route->description != NULL)
    json_object_set_new(op, "description", json_string(route->description));
  json_t *all = parameters(w, route);
  add_path_parameters(route, all);
  if (json_array_size(all) > 0)
    json_object_set(op, "parameters", all);
  json_decref(all);
  if (route->request_schema != NULL)
    json_object_set_new(op, "requestBody",
                        json_pack("{s:b,s:o}", "required", 1, "content",
                                  content(w, route, route->request_schema, route->request_example, true)));
  json_object_set_new(op, "responses", responses(w, route));
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

static void read_schemas(writer_t *w)
{
  w->schemas = json_object();
  for (const schema_t *s = w->service->schemas; s != NULL && s->name != NULL; s++)
    json_object_set_new(w->schemas, s->name, parse(w, s->json, "schema", s->name));
  if (json_object_get(w->schemas, error_name) == NULL)
    json_object_set_new(w->schemas, error_name, parse(w, error_schema, "schema", error_name));
  static const char health[] =
      "{\"type\": \"object\", \"required\": [\"status\", \"service\"], "
      "\"properties\": {\"status\": {\"type\": "
      "\"string\", \"enum\": [\"ok\", \"ready\", \"draining\", \"failing\"]}, \"service\": {\"type\": "
      "\"string\"}, \"version\": {\"type\": "
      "\"string\"}, \"storage\": {\"type\": \"string\"}, \"notices\": {\"type\": \"array\", "
      "\"items\": {\"type\": \"string\"}}}}";
  json_object_set_new(w->schemas, "Health", parse(w, health, "schema", "Health"));
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
  read_schemas(&w);
  json_t *all = paths(&w, sources, source_count);
  check_references(&w, w.schemas);
  *out = json_pack("{s:s,s:{s:s,s:s,s:s},s:[{s:s}],s:o,s:{s:o,s:{s:{s:s,s:s,s:s},s:{s:s,s:s,s:s}}}}",
                   "openapi", "3.1.0", "info", "title", service->title, "version", SMPL_VERSION,
                   "description", service->description != NULL ? service->description : "", "servers", "url",
                   "/", "paths", all, "components", "schemas", w.schemas, "securitySchemes", "HTTPBearer",
                   "type", "http", "scheme", "bearer", "description", "An API key: " KEY_PREFIX "...",
                   "InternalKey", "type", "http", "scheme", "bearer", "description",
                   "An internal key: " KEY_INTERNAL_PREFIX "... It says which service or person calls.");
  if (*out == NULL && !w.err)
    w.err = diag_fail(diag, SMPL_ENOMEM, "out of memory");
  if (w.err) {
    json_decref(*out);
    *out = NULL;
  }
  return w.err;
}
