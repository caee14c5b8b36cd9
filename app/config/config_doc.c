/* SPDX-License-Identifier: Apache-2.0 */
#include "app/config/config_doc.h"

#include "app/services/doc.h"

/* clang-format off */
const char config_create_example[] = JSON_TEXT(
{"data": {"type": "config", "id": "user-service", "attributes": {
  "name": "User Service", "description": "Settings for the user service.", "parent": "common",
  "items": {"host": {"value": "db.internal", "type": "STRING", "description": "Database host."},
            "pool_size": {"value": 10, "type": "NUMBER"}},
  "environments": {"prod": {"host": "db-prod.internal"}}}}});

const char config_replace_example[] = JSON_TEXT(
{"data": {"type": "config", "attributes": {
  "name": "User Service", "parent": "common",
  "items": {"host": {"value": "db2.internal", "type": "STRING"}},
  "environments": {"prod": {"host": "db-prod.internal"}}}}});

const route_parameter_t config_list_parameters[] = {
  {"filter[parent]", "query", "Only the direct children of this config.", "{\"type\": \"string\"}", 0},
  {"filter[search]", "query", "Only configs whose key or name contains this, in upper or lower case.",
   "{\"type\": \"string\", \"maxLength\": 255}", 0},
  {"filter[managed]", "query", "Only managed (true) or discovered (false) configs.", "{\"type\": \"boolean\"}", 0},
  {"sort", "query", "Field to sort by; with - before it, descending.",
   "{\"type\": \"string\", \"default\": \"key\", \"enum\": [\"created_at\", \"-created_at\", \"key\", \"-key\","
   " \"name\", \"-name\", \"updated_at\", \"-updated_at\"]}", 0},
  DOC_PAGES,
  {0}};

/* The page's prefilled key: a config that every account has, or the one of the create example. */
const route_parameter_t config_get_parameters[] = {
  {"id", "path", "The config's key.", "{\"type\": \"string\", \"example\": \"common\"}", 1},
  {0}};
const route_parameter_t config_id_parameters[] = {
  {"id", "path", "The config's key.", "{\"type\": \"string\", \"example\": \"user-service\"}", 1},
  {0}};

const route_response_t config_create_responses[] = {
  {201, "Created", "ConfigResponse"}, DOC_INVALID, DOC_CONFLICT, DOC_ERRORS_401, {0}};
const route_response_t config_list_responses[] = {
  {200, "A page of configs", "ConfigListResponse"}, DOC_INVALID, DOC_ERRORS_401, {0}};
const route_response_t config_get_responses[] = {
  {200, "The config", "ConfigResponse"}, DOC_MISSING, DOC_ERRORS_401, {0}};
const route_response_t config_replace_responses[] = {
  {200, "The config as it is now", "ConfigResponse"}, DOC_INVALID, DOC_MISSING, DOC_CONFLICT, DOC_ERRORS_401, {0}};
const route_response_t config_delete_responses[] = {
  {204, "Deleted", NULL}, DOC_MISSING, DOC_CONFLICT, DOC_ERRORS_401, {0}};

const schema_t config_schemas[] = {
  {"Config", JSON_TEXT({"type": "object", "title": "Config", "required": ["name"], "properties": {
    "name": {"type": "string", "maxLength": 255, "description": "Name for people."},
    "description": {"type": ["string", "null"], "maxLength": 1000},
    "parent": {"type": ["string", "null"],
      "description": "Key of the config that this one inherits items from; null for none."},
    "items": {"type": ["object", "null"], "additionalProperties": {"$ref": "#/components/schemas/ConfigItemDefinition"},
      "description": "Items declared here. A declared type stays, and agrees with every ancestor's."},
    "environments": {"type": ["object", "null"], "additionalProperties": {"type": "object", "additionalProperties": true},
      "description": "Per environment, values that override items declared here or by an ancestor."},
    "managed": {"type": ["boolean", "null"], "description": "False for a config that an SDK discovered."},
    "created_at": {"type": ["string", "null"], "format": "date-time", "readOnly": true},
    "updated_at": {"type": ["string", "null"], "format": "date-time", "readOnly": true}}})},
  {"ConfigItemDefinition", JSON_TEXT({"type": "object", "title": "ConfigItemDefinition", "properties": {
    "value": {"description": "Of the declared type, or null for a cleared slot."},
    "type": {"type": ["string", "null"], "enum": ["STRING", "NUMBER", "BOOLEAN", "JSON", null],
      "description": "Left out, it follows from an ancestor or from the value."},
    "description": {"type": ["string", "null"], "maxLength": 1000}}})},
  {"ConfigCreateRequest", JSON_TEXT({"type": "object", "title": "ConfigCreateRequest", "required": ["data"],
    "properties": {"data": {"type": "object", "required": ["id", "type", "attributes"], "properties": {
      "id": {"type": "string", "maxLength": 255, "pattern": "^[A-Za-z0-9._~-]+$"},
      "type": {"type": "string", "const": "config"},
      "attributes": {"$ref": "#/components/schemas/Config"}}}}})},
  {"ConfigRequest", JSON_TEXT({"type": "object", "title": "ConfigRequest", "required": ["data"],
    "properties": {"data": {"$ref": "#/components/schemas/ConfigResource"}}})},
  {"ConfigResource", JSON_TEXT({"type": "object", "title": "ConfigResource", "required": ["type", "attributes"],
    "properties": {"id": {"type": ["string", "null"]}, "type": {"type": "string", "const": "config"},
      "attributes": {"$ref": "#/components/schemas/Config"}}})},
  {"ConfigResponse", JSON_TEXT({"type": "object", "title": "ConfigResponse", "required": ["data"],
    "properties": {"data": {"$ref": "#/components/schemas/ConfigResource"}}})},
  {"ConfigListResponse", JSON_TEXT({"type": "object", "title": "ConfigListResponse", "required": ["data", "meta"],
    "properties": {"data": {"type": "array", "items": {"$ref": "#/components/schemas/ConfigResource"}},
      "meta": {"$ref": "#/components/schemas/ListMeta"}}})},
  DOC_SCHEMAS_TENANT,
  DOC_SCHEMAS_COMMON,
  {0}};
/* clang-format on */
