/* SPDX-License-Identifier: Apache-2.0 */
/* The flags service: smplkit's /api/v1/flags. */
#include <string.h>

#include "app/store/flag_rules.h"
#include "app/services/api_files.h"
#include "app/services/query.h"
#include "app/services/resource.h"
#include "app/services/services.h"
#include "app/services/stores.h"
#include "common/base/error.h"

static int check(change_t *c)
{
  int err = c->edit.new_id != NULL ? resource_check_id(c) : SMPL_OK;
  return err ? err : flag_check(c->edit.attributes, &c->edit.problem);
}

static bool refuse(request_t *request, const char *parameter, const char *detail)
{
  request_reply_error(request, 400, "Invalid query parameter", NULL, parameter, "%s", detail);
  return false;
}

/* "customer:c-123" as type and key; the text before the colon goes into type (JSONAPI_SEARCH_MAX + 1 bytes).
 */
static bool split_context(const char *text, char *type, fetch_filter_t *filter)
{
  const char *colon = strchr(text, ':');
  if (colon == NULL || colon == text || colon[1] == '\0')
    return false;
  size_t len = (size_t)(colon - text);
  memcpy(type, text, len);
  type[len] = '\0';
  filter->context_type = type;
  filter->context_key = colon + 1;
  return true;
}

static bool read_filter(request_t *request, const jsonapi_list_t *asked, char *type, fetch_filter_t *filter)
{
  const char *const *given = asked->filters;
  *filter =
      (fetch_filter_t){.context_type = given[FLAG_FILTER_CONTEXT_TYPE],
                       .parameter = given[FLAG_FILTER_CONTEXT] != NULL ? "filter[references_context]"
                                                                       : "filter[references_context_type]"};
  if (!query_bool(request, "filter[managed]", given[FLAG_FILTER_MANAGED], &filter->managed))
    return false;
  if (given[FLAG_FILTER_TYPE] != NULL && (filter->group = flag_type(given[FLAG_FILTER_TYPE])) == NULL)
    return refuse(request, "filter[type]", "expected BOOLEAN, STRING, NUMERIC or JSON");
  if (given[FLAG_FILTER_CONTEXT] == NULL)
    return true;
  if (given[FLAG_FILTER_CONTEXT_TYPE] != NULL)
    return refuse(request, "filter[references_context]",
                  "cannot stand beside filter[references_context_type]");
  if (!split_context(given[FLAG_FILTER_CONTEXT], type, filter))
    return refuse(request, "filter[references_context]", "expected {type}:{key}");
  return true;
}

typedef struct list_read {
  read_t read; /* first */
  char context_type[JSONAPI_SEARCH_MAX + 1];
} list_read_t;

static bool prepare_list(read_t *r)
{
  fetch_t *f = &r->fetch;
  return query_list(r->request, &flag_list_spec, &f->list) &&
         read_filter(r->request, &f->list, ((list_read_t *)r)->context_type, &f->filter);
}

static const resource_kind_t kind = {
    .type = "flag",
    .check = check,
    .list = {sizeof(list_read_t), STORE_DOCUMENT_LIST, prepare_list},
};

static const route_t routes[] = {
    {.method = METHOD_POST,
     .path = "/api/v1/flags",
     .tier = TIER_API,
     .handle = resource_create,
     .operation_id = "create_flag",
     .operation = OPERATION_CUSTOMER,
     .request_schema = "FlagCreateRequest"},
    {.method = METHOD_GET,
     .path = "/api/v1/flags",
     .tier = TIER_API,
     .handle = resource_list,
     .operation_id = "list_flags",
     .operation = OPERATION_CUSTOMER},
    {.method = METHOD_GET,
     .path = "/api/v1/flags/{id}",
     .tier = TIER_API,
     .handle = resource_get,
     .operation_id = "get_flag",
     .operation = OPERATION_CUSTOMER},
    {.method = METHOD_PUT,
     .path = "/api/v1/flags/{id}",
     .tier = TIER_API,
     .handle = resource_replace,
     .operation_id = "update_flag",
     .operation = OPERATION_CUSTOMER,
     .request_schema = "FlagRequest"},
    {.method = METHOD_DELETE,
     .path = "/api/v1/flags/{id}",
     .tier = TIER_API,
     .handle = resource_delete,
     .operation_id = "delete_flag",
     .operation = OPERATION_CUSTOMER},
    TENANT_ROUTES,
};

static const api_file_t api[] = {
    {"flags_api.json", flags_api, flags_api_end},
    {"tenants_api.json", tenants_api, tenants_api_end},
    {"common_api.json", common_api, common_api_end},
    {NULL, NULL, NULL},
};

static int open_service(const service_env_t *env, void **state, diag_t *diag)
{
  return product_open(env, "flags", &kind, state, diag);
}

static int tool(const tool_call_t *call, diag_t *diag)
{
  return stores_tool("flags", call, diag);
}

const service_t flags_service = {
    .name = "flags",
    .title = "Smpl Flags",
    .description = "Feature flags with targeting rules, evaluated in the SDKs.",
    .routes = routes,
    .route_count = sizeof routes / sizeof *routes,
    .api = api,
    .open = open_service,
    .reload = product_reload,
    .close = product_close,
    .check = product_check,
    .guard = product_judge,
    .gauges = product_gauges,
    .tool = tool,
};
