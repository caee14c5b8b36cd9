/* SPDX-License-Identifier: Apache-2.0 */
/* The config service: smplkit's /api/v1/configs. */
#include <string.h>

#include "app/config/config_rules.h"
#include "app/config/config_store.h"
#include "app/services/api_files.h"
#include "app/services/resource.h"
#include "app/services/rows.h"
#include "app/services/services.h"
#include "app/services/tool.h"
#include "common/base/error.h"

static int check(change_t *c)
{
  int err = c->id == NULL ? resource_check_id(c) : SMPL_OK;
  if (!err && c->id != NULL && c->new_id != NULL && strcmp(c->new_id, c->id) != 0)
    err = problem_at(&c->problem, 409, PLACE_MEMBER(&place_data, "id"), "a config's key cannot be changed");
  return err ? err : config_check_shape(c->attributes, &c->problem);
}

typedef struct list_read {
  read_t read; /* first */
  jsonapi_list_t asked;
  int managed;
} list_read_t;

static bool prepare_list(read_t *r)
{
  list_read_t *l = (list_read_t *)r;
  return jsonapi_list_read(r->request, &config_list_spec, &l->asked) &&
         rows_bool_filter(r->request, "filter[managed]", l->asked.filters[CONFIG_FILTER_MANAGED],
                          &l->managed);
}

static int run_list(storage_db_t *db, read_t *r)
{
  const list_read_t *l = (const list_read_t *)r;
  jsonapi_list_t list = l->asked;
  json_t *data = NULL;
  int64_t total = 0;
  int err = config_list(db, r->caller.account, &list, l->managed, &data, &total);
  return resource_page(db, r, err, data, &list, total);
}

static const resource_kind_t kind = {
    .type = "config",
    .check = check,
    .create = config_create,
    .replace = config_replace,
    .remove = config_remove,
    .get = config_get,
    .list = {sizeof(list_read_t), prepare_list, run_list},
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
  return product_open(env, &config_schema, config_provision, config_forget, &kind, state, diag);
}

static int tool(const tool_call_t *call, diag_t *diag)
{
  return tool_run(call, &config_schema, &(const tool_extra_t){.on_restore = NULL}, diag);
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
