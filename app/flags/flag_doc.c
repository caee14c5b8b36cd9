/* SPDX-License-Identifier: Apache-2.0 */
#include "app/flags/flag_doc.h"

#include "app/services/doc.h"

/* clang-format off */
const char flag_create_example[] = JSON_TEXT(
{"data": {"type": "flag", "id": "checkout-v2", "attributes": {
  "name": "Checkout V2", "description": "The redesigned checkout.", "type": "BOOLEAN", "default": false,
  "environments": {"production": {"enabled": true, "rules": [
    {"description": "Beta customers", "logic": {"==": [{"var": "customer.beta"}, true]}, "value": true}]}}}}});

const char flag_replace_example[] = JSON_TEXT(
{"data": {"type": "flag", "attributes": {"name": "Checkout V2", "type": "BOOLEAN", "default": true}}});

const route_parameter_t flag_list_parameters[] = {
  {"filter[type]", "query", "Only flags of this type.",
   "{\"type\": \"string\", \"enum\": [\"BOOLEAN\", \"STRING\", \"NUMERIC\", \"JSON\"]}", 0},
  {"filter[managed]", "query", "Only managed (true) or discovered (false) flags.", "{\"type\": \"boolean\"}", 0},
  {"filter[references_context]", "query", "Only flags with a rule that compares this context's key: {type}:{key}.",
   "{\"type\": \"string\", \"example\": \"customer:c-123\"}", 0},
  {"filter[references_context_type]", "query", "Only flags with a rule that uses an attribute of this context type.",
   "{\"type\": \"string\", \"example\": \"customer\"}", 0},
  {"filter[search]", "query", "Only flags whose key or name contains this, in upper or lower case.",
   "{\"type\": \"string\", \"maxLength\": 255}", 0},
  {"sort", "query", "Field to sort by; with - before it, descending.",
   "{\"type\": \"string\", \"default\": \"key\", \"enum\": [\"created_at\", \"-created_at\", \"key\", \"-key\","
   " \"name\", \"-name\", \"type\", \"-type\", \"updated_at\", \"-updated_at\"]}", 0},
  DOC_PAGES,
  {0}};

const route_parameter_t flag_id_parameters[] = {
  {"id", "path", "The flag's key.", "{\"type\": \"string\", \"example\": \"checkout-v2\"}", 1},
  {0}};

const route_response_t flag_create_responses[] = {
  {201, "Created", "FlagResponse"}, DOC_INVALID, DOC_CONFLICT, DOC_ERRORS_401, {0}};
const route_response_t flag_list_responses[] = {
  {200, "A page of flags", "FlagListResponse"}, DOC_INVALID, DOC_ERRORS_401, {0}};
const route_response_t flag_get_responses[] = {
  {200, "The flag", "FlagResponse"}, DOC_MISSING, DOC_ERRORS_401, {0}};
const route_response_t flag_replace_responses[] = {
  {200, "The flag as it is now", "FlagResponse"}, DOC_INVALID, DOC_MISSING, DOC_CONFLICT, DOC_ERRORS_401, {0}};
const route_response_t flag_delete_responses[] = {{204, "Deleted", NULL}, DOC_MISSING, DOC_ERRORS_401, {0}};

const schema_t flag_schemas[] = {
  {"Flag", JSON_TEXT({"type": "object", "title": "Flag", "required": ["name", "type", "default"], "properties": {
    "name": {"type": "string", "minLength": 1, "maxLength": 255, "description": "Name for people."},
    "description": {"type": ["string", "null"], "maxLength": 1000},
    "type": {"type": "string", "enum": ["BOOLEAN", "STRING", "NUMERIC", "JSON"], "description": "In any case."},
    "default": {"description": "Of the flag's type; one of values, if there are some."},
    "values": {"type": ["array", "null"], "items": {"$ref": "#/components/schemas/FlagValue"},
      "description": "The values that the flag can have; null for any of its type. A BOOLEAN flag has two, or null."},
    "environments": {"type": "object", "additionalProperties": {"$ref": "#/components/schemas/FlagEnvironment"}},
    "managed": {"type": ["boolean", "null"], "description": "False for a flag that an SDK discovered."},
    "sources": {"type": ["array", "null"], "items": {"type": "object"}, "readOnly": true},
    "created_at": {"type": ["string", "null"], "format": "date-time", "readOnly": true},
    "updated_at": {"type": ["string", "null"], "format": "date-time", "readOnly": true}}})},
  {"FlagValue", JSON_TEXT({"type": "object", "title": "FlagValue", "required": ["name", "value"], "properties": {
    "name": {"type": "string"}, "value": {"description": "Of the flag's type."}}})},
  {"FlagEnvironment", JSON_TEXT({"type": "object", "title": "FlagEnvironment", "properties": {
    "enabled": {"type": "boolean", "default": true},
    "default": {"description": "Used when no rule fires; null for the flag's own default."},
    "rules": {"type": "array", "items": {"$ref": "#/components/schemas/FlagRule"},
      "description": "The first rule whose logic is truthy gives the value."}}})},
  {"FlagRule", JSON_TEXT({"type": "object", "title": "FlagRule", "required": ["logic", "value"], "properties": {
    "description": {"type": ["string", "null"], "maxLength": 1000},
    "logic": {"type": "object", "additionalProperties": true, "description": "JSON Logic over the context."},
    "value": {"description": "Of the flag's type; one of values, if there are some."}}})},
  {"FlagCreateRequest", JSON_TEXT({"type": "object", "title": "FlagCreateRequest", "required": ["data"],
    "properties": {"data": {"type": "object", "required": ["id", "type", "attributes"], "properties": {
      "id": {"type": "string", "maxLength": 255, "pattern": "^[A-Za-z0-9._~-]+$"},
      "type": {"type": "string", "const": "flag"},
      "attributes": {"$ref": "#/components/schemas/Flag"}}}}})},
  {"FlagRequest", JSON_TEXT({"type": "object", "title": "FlagRequest", "required": ["data"],
    "properties": {"data": {"$ref": "#/components/schemas/FlagResource"}}})},
  {"FlagResource", JSON_TEXT({"type": "object", "title": "FlagResource", "required": ["type", "attributes"],
    "properties": {"id": {"type": ["string", "null"]}, "type": {"type": "string", "const": "flag"},
      "attributes": {"$ref": "#/components/schemas/Flag"}}})},
  {"FlagResponse", JSON_TEXT({"type": "object", "title": "FlagResponse", "required": ["data"],
    "properties": {"data": {"$ref": "#/components/schemas/FlagResource"}}})},
  {"FlagListResponse", JSON_TEXT({"type": "object", "title": "FlagListResponse", "required": ["data", "meta"],
    "properties": {"data": {"type": "array", "items": {"$ref": "#/components/schemas/FlagResource"}},
      "meta": {"$ref": "#/components/schemas/ListMeta"}}})},
  DOC_SCHEMAS_TENANT,
  DOC_SCHEMAS_COMMON,
  {0}};
/* clang-format on */
