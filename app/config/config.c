/* SPDX-License-Identifier: Apache-2.0 */
/* The config service: smplkit's /api/v1/configs. */
#include <string.h>

#include "app/store/config_rules.h"
#include "app/store/sqlite/config_store.h"
#include "app/services/api_files.h"
#include "app/services/query.h"
#include "app/services/resource.h"
#include "app/services/services.h"
#include "app/services/stores.h"
#include "common/base/error.h"

static int check(change_t *c)
{
  int err = c->edit.id == NULL ? resource_check_id(c) : SMPL_OK;
  if (!err && c->edit.id != NULL && c->edit.new_id != NULL && strcmp(c->edit.new_id, c->edit.id) != 0)
    err = problem_at(&c->edit.problem, 409, PLACE_MEMBER(&place_data, "id"),
                     "a config's key cannot be changed");
  return err ? err : config_check_shape(c->edit.attributes, &c->edit.problem);
}

static bool prepare_list(read_t *r)
{
  fetch_t *f = &r->fetch;
  if (!query_list(r->request, &config_list_spec, &f->list))
    return false;
  f->filter.group = f->list.filters[CONFIG_FILTER_PARENT];
  return query_bool(r->request, "filter[managed]", f->list.filters[CONFIG_FILTER_MANAGED],
                    &f->filter.managed);
}

static const resource_kind_t kind = {
    .type = "config",
    .check = check,
    .list = {sizeof(read_t), STORE_DOCUMENT_LIST, prepare_list},
};

static const route_t routes[] = {
    {.method = METHOD_POST,
     .path = "/api/v1/configs",
     .tier = TIER_API,
     .handle = resource_create,
     .operation_id = "create_config",
     .operation = OPERATION_CUSTOMER,
     .request_schema = "ConfigCreateRequest"},
    {.method = METHOD_GET,
     .path = "/api/v1/configs",
     .tier = TIER_API,
     .handle = resource_list,
     .operation_id = "list_configs",
     .operation = OPERATION_CUSTOMER},
    {.method = METHOD_GET,
     .path = "/api/v1/configs/{id}",
     .tier = TIER_API,
     .handle = resource_get,
     .operation_id = "get_config",
     .operation = OPERATION_CUSTOMER},
    {.method = METHOD_PUT,
     .path = "/api/v1/configs/{id}",
     .tier = TIER_API,
     .handle = resource_replace,
     .operation_id = "update_config",
     .operation = OPERATION_CUSTOMER,
     .request_schema = "ConfigRequest"},
    {.method = METHOD_DELETE,
     .path = "/api/v1/configs/{id}",
     .tier = TIER_API,
     .handle = resource_delete,
     .operation_id = "delete_config",
     .operation = OPERATION_CUSTOMER},
    TENANT_ROUTES,
};

static const api_file_t api[] = {
    {"config_api.json", config_api, config_api_end},
    {"tenants_api.json", tenants_api, tenants_api_end},
    {"common_api.json", common_api, common_api_end},
    {NULL, NULL, NULL},
};

static int open_service(const service_env_t *env, void **state, diag_t *diag)
{
  return product_open(env, "config", &kind, state, diag);
}

static int tool(const tool_call_t *call, diag_t *diag)
{
  return stores_tool("config", call, diag);
}

const service_t config_service = {
    .name = "config",
    .title = "Smpl Config",
    .description = "Typed configuration with inheritance and per-environment overrides.",
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
