/* SPDX-License-Identifier: Apache-2.0 */
#include "app/accounts/accounts.h"
#include "app/services/doc.h"

/* clang-format off */
const char accounts_create_example[] = JSON_TEXT(
{"data": {"type": "account", "attributes": {"name": "Acme Corp"}}});

const char api_keys_create_example[] = JSON_TEXT(
{"data": {"type": "api_key", "attributes": {"name": "Production API Key"}}});

const char introspect_example[] = JSON_TEXT(
{"key": "sk_api_000000000000000000000000000000408kBa"});

const route_parameter_t accounts_list_parameters[] = {
  {"filter[search]", "query", "Only accounts whose key or name contains this, in upper or lower case.",
   "{\"type\": \"string\", \"maxLength\": 255}", 0},
  {"sort", "query", "Field to sort by; with - before it, descending.",
   "{\"type\": \"string\", \"default\": \"name\", \"enum\": [\"created_at\", \"-created_at\", \"key\", \"-key\","
   " \"name\", \"-name\"]}", 0},
  DOC_PAGES,
  {0}};

const route_parameter_t accounts_id_parameters[] = {DOC_ACCOUNT_ID, {0}};

const route_parameter_t api_keys_list_parameters[] = {
  {"filter[status]", "query", "Only keys of this status.",
   "{\"type\": \"string\", \"enum\": [\"ACTIVE\", \"REVOKED\"]}", 0},
  {"filter[search]", "query", "Only keys whose name contains this, in upper or lower case.",
   "{\"type\": \"string\", \"maxLength\": 255}", 0},
  {"sort", "query", "Field to sort by; with - before it, descending.",
   "{\"type\": \"string\", \"default\": \"name\", \"enum\": [\"created_at\", \"-created_at\", \"expires_at\","
   " \"-expires_at\", \"last_used_at\", \"-last_used_at\", \"name\", \"-name\", \"status\", \"-status\"]}", 0},
  DOC_PAGES,
  {0}};

const route_parameter_t api_keys_id_parameters[] = {
  {"id", "path", "The key's id.", DOC_UUID_SCHEMA, 1},
  {0}};

const route_response_t accounts_create_responses[] = {
  {201, "Created; the first API key is shown this once", "AccountCreated"}, DOC_INVALID, DOC_ERRORS_CALLER,
  {503, "Too many writes are waiting", "ErrorResponse"}, {0}};
const route_response_t accounts_list_responses[] = {
  {200, "A page of accounts", "AccountListResponse"}, DOC_INVALID, {0}};
const route_response_t accounts_get_responses[] = {{200, "The account", "AccountReport"}, DOC_MISSING, {0}};
const route_response_t accounts_current_responses[] = {{200, "The account", "AccountResponse"}, DOC_ERRORS_401, {0}};
const route_response_t api_keys_create_responses[] = {
  {201, "Created; the key's value is shown this once", "ApiKeyResponse"}, DOC_INVALID, DOC_CONFLICT, DOC_ERRORS_401,
  {0}};
const route_response_t api_keys_create_internal_responses[] = {
  {201, "Created; the key's value is shown this once", "ApiKeyResponse"}, DOC_INVALID, DOC_MISSING, DOC_CONFLICT,
  DOC_ERRORS_CALLER,
  {503, "Too many writes are waiting", "ErrorResponse"}, {0}};
const route_response_t api_keys_list_responses[] = {
  {200, "A page of API keys", "ApiKeyListResponse"}, DOC_INVALID, DOC_ERRORS_401, {0}};
const route_response_t api_keys_get_responses[] = {
  {200, "The API key", "ApiKeyResponse"}, DOC_MISSING, DOC_ERRORS_401, {0}};
const route_response_t api_keys_replace_responses[] = {
  {200, "The API key as it is now", "ApiKeyResponse"}, DOC_INVALID, DOC_MISSING, DOC_CONFLICT, DOC_ERRORS_401, {0}};
const route_response_t accounts_delete_responses[] = {{204, "Deleted", NULL}, DOC_MISSING, DOC_ERRORS_CALLER,
  {503, "Cannot be served now", "ErrorResponse"}, {0}};
const route_response_t api_keys_delete_responses[] = {{204, "Deleted", NULL}, DOC_MISSING, DOC_ERRORS_401, {0}};
const route_response_t introspect_responses[] = {{200, "What is known of the key", "IntrospectResponse"}, DOC_INVALID,
  DOC_ERRORS_CALLER, {0}};

const schema_t accounts_schemas[] = {
  {"Account", JSON_TEXT({"type": "object", "title": "Account", "required": ["name"], "properties": {
    "name": {"type": "string", "minLength": 1, "maxLength": 255},
    "key": {"type": ["string", "null"], "readOnly": true, "description": "Made of the name; unique."},
    "created_at": {"type": ["string", "null"], "format": "date-time", "readOnly": true},
    "deleted_at": {"type": ["string", "null"], "format": "date-time", "readOnly": true}}})},
  {"AccountResource", JSON_TEXT({"type": "object", "title": "AccountResource", "required": ["type", "attributes"],
    "properties": {"id": {"type": ["string", "null"]}, "type": {"type": "string", "const": "account"},
      "attributes": {"$ref": "#/components/schemas/Account"}}})},
  {"AccountRequest", JSON_TEXT({"type": "object", "title": "AccountRequest", "required": ["data"],
    "properties": {"data": {"$ref": "#/components/schemas/AccountResource"}}})},
  {"AccountResponse", JSON_TEXT({"type": "object", "title": "AccountResponse", "required": ["data"],
    "properties": {"data": {"$ref": "#/components/schemas/AccountResource"}}})},
  {"AccountListResponse", JSON_TEXT({"type": "object", "title": "AccountListResponse", "required": ["data", "meta"],
    "properties": {"data": {"type": "array", "items": {"$ref": "#/components/schemas/AccountResource"}},
      "meta": {"$ref": "#/components/schemas/ListMeta"}}})},
  {"Provisioning", JSON_TEXT({"type": "object", "title": "Provisioning", "required": ["provisioned", "pending"],
    "properties": {"provisioned": {"type": "array", "items": {"type": "string"},
      "description": "Sister services that know the account."}, "pending": {"type": "array",
      "items": {"type": "string"}, "description": "Those that will be told as soon as they answer."}}})},
  {"AccountReport", JSON_TEXT({"type": "object", "title": "AccountReport", "required": ["data", "meta"],
    "properties": {"data": {"$ref": "#/components/schemas/AccountResource"},
      "meta": {"$ref": "#/components/schemas/Provisioning"}}})},
  {"AccountCreated", JSON_TEXT({"type": "object", "title": "AccountCreated", "required": ["data", "included", "meta"],
    "properties": {"data": {"$ref": "#/components/schemas/AccountResource"}, "included": {"type": "array",
      "items": {"$ref": "#/components/schemas/ApiKeyResource"}}, "meta": {"$ref": "#/components/schemas/Provisioning"}}})},
  {"ApiKey", JSON_TEXT({"type": "object", "title": "ApiKey", "required": ["name"], "properties": {
    "name": {"type": "string", "maxLength": 255, "description": "Name for people."},
    "status": {"type": ["string", "null"], "readOnly": true, "description": "ACTIVE or REVOKED."},
    "key": {"type": ["string", "null"], "readOnly": true,
      "description": "The bearer token: in the reply that creates it, and never again."},
    "scopes": {"type": "object", "additionalProperties": true, "description": "Must be empty: unrestricted."},
    "created_by": {"type": ["string", "null"], "readOnly": true,
      "description": "Name of the internal caller that made it; null if the account did."},
    "expires_at": {"type": ["string", "null"], "format": "date-time",
      "description": "After this time the key is rejected; null or left out: never."},
    "last_used_at": {"type": ["string", "null"], "format": "date-time", "readOnly": true,
      "description": "To the minute or so."},
    "created_at": {"type": ["string", "null"], "format": "date-time", "readOnly": true},
    "updated_at": {"type": ["string", "null"], "format": "date-time", "readOnly": true}}})},
  {"ApiKeyResource", JSON_TEXT({"type": "object", "title": "ApiKeyResource", "required": ["type", "attributes"],
    "properties": {"id": {"type": ["string", "null"]}, "type": {"type": "string", "const": "api_key"},
      "attributes": {"$ref": "#/components/schemas/ApiKey"}}})},
  {"ApiKeyRequest", JSON_TEXT({"type": "object", "title": "ApiKeyRequest", "required": ["data"],
    "properties": {"data": {"$ref": "#/components/schemas/ApiKeyResource"}}})},
  {"ApiKeyResponse", JSON_TEXT({"type": "object", "title": "ApiKeyResponse", "required": ["data"],
    "properties": {"data": {"$ref": "#/components/schemas/ApiKeyResource"}}})},
  {"ApiKeyListResponse", JSON_TEXT({"type": "object", "title": "ApiKeyListResponse", "required": ["data", "meta"],
    "properties": {"data": {"type": "array", "items": {"$ref": "#/components/schemas/ApiKeyResource"}},
      "meta": {"$ref": "#/components/schemas/ListMeta"}}})},
  {"IntrospectRequest", JSON_TEXT({"type": "object", "title": "IntrospectRequest", "required": ["key"],
    "properties": {"key": {"type": "string"}}})},
  {"IntrospectResponse", JSON_TEXT({"type": "object", "title": "IntrospectResponse", "required": ["active"],
    "properties": {"active": {"type": "boolean"}, "account": {"type": "string", "format": "uuid"},
      "key_id": {"type": "string", "format": "uuid"}, "expires_in_ms": {"type": ["integer", "null"]}}})},
  DOC_SCHEMAS_COMMON,
  {0}};
/* clang-format on */
