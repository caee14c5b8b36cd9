/* SPDX-License-Identifier: Apache-2.0 */
/* The config service: smplkit's /api/v1/configs. */
#include <string.h>

#include "app/config/config_doc.h"
#include "app/config/config_rules.h"
#include "app/config/config_store.h"
#include "app/services/doc.h"
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

/* clang-format off */
static const route_t routes[] = {
  {METHOD_POST, "/api/v1/configs", TIER_API, resource_create, "create_config", "Create Config",
   "Create a config for this account. The caller chooses its key, data.id: unique within the account, and immutable.",
   "Configs", OPERATION_CUSTOMER, "ConfigCreateRequest", config_create_example, NULL, config_create_responses},
  {METHOD_GET, "/api/v1/configs", TIER_API, resource_list, "list_configs", "List Configs",
   "List configs for this account, by key unless sort says otherwise.",
   "Configs", OPERATION_CUSTOMER, NULL, NULL, config_list_parameters, config_list_responses},
  {METHOD_GET, "/api/v1/configs/{id}", TIER_API, resource_get, "get_config", "Get Config",
   "Retrieve a single config by its key. Every account has the config 'common'.",
   "Configs", OPERATION_CUSTOMER, NULL, NULL, config_get_parameters, config_get_responses},
  {METHOD_PUT, "/api/v1/configs/{id}", TIER_API, resource_replace, "update_config", "Update Config",
   "Replace a config entirely. Every writable field is overwritten.",
   "Configs", OPERATION_CUSTOMER, "ConfigRequest", config_replace_example, config_id_parameters, config_replace_responses},
  {METHOD_DELETE, "/api/v1/configs/{id}", TIER_API, resource_delete, "delete_config", "Delete Config",
   "Delete a config by its key. A config that another one names as its parent cannot be deleted, nor can 'common'.",
   "Configs", OPERATION_CUSTOMER, NULL, NULL, config_id_parameters, config_delete_responses},
  DOC_ROUTES_TENANT,
};
/* clang-format on */

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
    .schemas = config_schemas,
    .open = open_service,
    .reload = product_reload,
    .close = product_close,
    .check = product_check,
    .guard = product_judge,
    .gauges = product_gauges,
    .tool = tool,
};
