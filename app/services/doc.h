/* SPDX-License-Identifier: Apache-2.0 */
/* Words that the route tables of the services share: parameters, responses and schemas of the OpenAPI
 * document. */
#pragma once

#include "app/http/handler.h"

/* JSON written as it is, made a string by the preprocessor (no macros inside are expanded). */
#define JSON_TEXT(...) #__VA_ARGS__

/* clang-format off */
#define DOC_ERRORS_401                                                                                         \
  {401, "API key missing or not valid", "ErrorResponse"},                                                      \
  {429, "Too many requests with this API key; Retry-After says when to try again, and RateLimit-Limit, "        \
        "RateLimit-Remaining and RateLimit-Reset of any answer what the key may still send", "ErrorResponse"}, \
  {503, "Cannot be served now; Retry-After says when to try again", "ErrorResponse"}

#define DOC_ERRORS_CALLER                                                                                      \
  {401, "Internal key missing or not accepted", "ErrorResponse"},                                              \
  {403, "The internal key does not allow this operation", "ErrorResponse"}

#define DOC_INVALID  {400, "Validation error or malformed request", "ErrorResponse"}
#define DOC_MISSING  {404, "Resource not found", "ErrorResponse"}
#define DOC_CONFLICT {409, "In conflict with what is stored", "ErrorResponse"}

#define DOC_PAGES                                                                                              \
  {"page[number]", "query", "1-based page number.", "{\"type\": \"integer\", \"minimum\": 1, \"default\": 1}", 0}, \
  {"page[size]", "query",                                                                                      \
   "Number of items per page, 1 to 1000. A page above 1 MiB ends early; meta.pagination then holds the page and size " \
   "that it has, and the next one is page + 1 of that size.",                                              \
   "{\"type\": \"integer\", \"minimum\": 1, \"maximum\": 1000, \"default\": 1000}", 0},                        \
  {"meta[total]", "query", "When true, meta.pagination holds total and total_pages.",                          \
   "{\"type\": \"boolean\", \"default\": false}", 0}

/* The example is nobody's, so that the page's form shows how an id looks. */
#define DOC_UUID_SCHEMA                                                                                        \
  "{\"type\": \"string\", \"format\": \"uuid\", \"example\": \"00000000-0000-4000-8000-000000000001\"}"

#define DOC_ACCOUNT_ID {"id", "path", "The account's id.", DOC_UUID_SCHEMA, 1}

#define DOC_SCHEMAS_COMMON                                                                                     \
  {"Error", JSON_TEXT({"type": "object", "title": "Error", "required": ["status", "title"], "properties": {    \
    "status": {"type": "string", "description": "The HTTP status."},                                           \
    "title": {"type": "string"},                                                                               \
    "detail": {"type": ["string", "null"], "description": "What is wrong, for people."},                       \
    "source": {"type": ["object", "null"], "additionalProperties": true,                                       \
      "description": "pointer (RFC 6901, into the body) or parameter (of the query)."}}})},                     \
  {"ErrorResponse", JSON_TEXT({"type": "object", "title": "ErrorResponse", "required": ["errors"],             \
    "properties": {"errors": {"type": "array", "items": {"$ref": "#/components/schemas/Error"}}}})},           \
  {"ListMeta", JSON_TEXT({"type": "object", "title": "ListMeta", "required": ["pagination"],                   \
    "properties": {"pagination": {"$ref": "#/components/schemas/PaginationMeta"}}})},                          \
  {"PaginationMeta", JSON_TEXT({"type": "object", "title": "PaginationMeta", "required": ["page", "size"],     \
    "properties": {"page": {"type": "integer"}, "size": {"type": "integer"},                                   \
    "total": {"type": ["integer", "null"], "description": "Present only with meta[total]=true."},              \
    "total_pages": {"type": ["integer", "null"], "description": "Present only with meta[total]=true."}}})}

/* Of the sisters that the account service tells of accounts. */
#define DOC_SCHEMAS_TENANT                                                                                     \
  {"AccountNotice", JSON_TEXT({"type": "object", "title": "AccountNotice", "required": ["data"],               \
    "properties": {"data": {"type": "object", "required": ["type", "attributes"], "properties": {              \
      "type": {"type": "string", "const": "account"}, "id": {"type": "string", "format": "uuid"},              \
      "attributes": {"type": "object", "required": ["name"], "properties": {                                   \
        "name": {"type": "string", "maxLength": 255}, "key": {"type": ["string", "null"]},                     \
        "created_at": {"type": ["string", "null"], "format": "date-time", "readOnly": true},                   \
        "updated_at": {"type": ["string", "null"], "format": "date-time", "readOnly": true}}}}},              \
      "meta": {"$ref": "#/components/schemas/DatabaseReport"}}})},                                           \
  {"AccountIds", JSON_TEXT({"type": "object", "title": "AccountIds", "required": ["data", "meta"], "properties": { \
      "data": {"type": "array", "items": {"type": "string", "format": "uuid"}},                              \
      "meta": {"$ref": "#/components/schemas/DatabaseReport"}}})},                                           \
  {"DatabaseReport", JSON_TEXT({"type": "object", "title": "DatabaseReport", "readOnly": true,               \
    "description": "Which database this service has, and how many changes of accounts it has heard of.",     \
    "properties": {"database": {"type": "string", "format": "uuid"},                                         \
      "epoch": {"type": "string", "format": "uuid", "description": "Another one after a restore."},          \
      "heard": {"type": "integer"}}})}

#define DOC_ROUTES_TENANT                                                                                      \
  {METHOD_PUT, "/internal/v1/accounts/{id}", TIER_INTERNAL, tenants_put, "provision_account",                  \
   "Provision account",                                                                                        \
   "Called by the account service for every account, as often as it takes: the same call again changes "       \
   "nothing.", "Internal", OPERATION_PROVISION, "AccountNotice",                                                                 \
   "{\"data\": {\"type\": \"account\", \"attributes\": {\"name\": \"Acme Corp\", \"key\": \"acme_corp\"}}}",   \
   doc_account_parameters, doc_tenant_put_responses},                                                          \
  {METHOD_GET, "/internal/v1/accounts/{id}", TIER_INTERNAL, tenants_get, "get_provisioned_account",            \
   "Get account", "What this service knows of an account.", "Internal", OPERATION_OPEN, NULL, NULL, doc_account_parameters, \
   doc_tenant_get_responses},                                                                                  \
  {METHOD_DELETE, "/internal/v1/accounts/{id}", TIER_INTERNAL, tenants_delete, "forget_account",               \
   "Forget account", "Called by the account service when an account was deleted: all that this service has of it goes. " \
   "The same call again changes nothing.", "Internal", OPERATION_PROVISION, NULL, NULL, doc_account_parameters, \
   doc_tenant_delete_responses},                                                                               \
  {METHOD_GET, "/internal/v1/accounts", TIER_INTERNAL, tenants_list, "list_provisioned_accounts",              \
   "List account ids", "Which accounts this service knows, in the order of their ids. Asked by the account service, which " \
   "compares.", "Internal", OPERATION_OPEN, NULL, NULL, doc_tenant_list_parameters, doc_tenant_list_responses}
/* clang-format on */

extern const route_parameter_t doc_account_parameters[], doc_tenant_list_parameters[];
extern const route_response_t doc_tenant_put_responses[], doc_tenant_get_responses[],
    doc_tenant_delete_responses[], doc_tenant_list_responses[];
