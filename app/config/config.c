/* The config service: smplkit's /api/v1/configs. */
#include <string.h>

#include "app/config/config_doc.h"
#include "app/config/config_rules.h"
#include "app/config/config_store.h"
#include "app/services/doc.h"
#include "app/services/jsonapi.h"
#include "app/services/product.h"
#include "app/services/rows.h"
#include "app/services/services.h"
#include "common/error.h"

/* Checks the body as far as it alone tells, and queues the change. */
static void write_config(request_t *request, product_t *p, const caller_t *caller,
                         int (*run)(storage_db_t *, change_t *), jsonapi_id_t rule)
{
  const place_t *at_id = PLACE_MEMBER(&place_data, "id");
  change_t *c = change_new(request, sizeof *c, p, caller);
  if (c == NULL)
    return;
  c->run = run;
  c->id = request_parameter(request, "id");
  int err = jsonapi_body(request_body(request), "config", rule, &c->new_id, &c->attributes, &c->problem);
  if (!err && c->id == NULL && !resource_id_valid(c->new_id))
    err = problem_invalid(&c->problem, at_id, "expected 1 to %d of A-Z a-z 0-9 . _ ~ -", RESOURCE_ID_MAX);
  if (!err && c->id != NULL && c->new_id != NULL && strcmp(c->new_id, c->id) != 0)
    err = problem_at(&c->problem, 409, at_id, "a config's key cannot be changed");
  if (!err)
    err = config_check_shape(c->attributes, &c->problem);
  if (err)
    problem_reply(request, &c->problem);
  else
    change_start(p->storage, c);
}

static void create(request_t *request, void *service, const caller_t *caller)
{
  write_config(request, service, caller, config_create, JSONAPI_ID_REQUIRED);
}

static void replace(request_t *request, void *service, const caller_t *caller)
{
  write_config(request, service, caller, config_replace, JSONAPI_ID_OPTIONAL);
}

static void delete_one(request_t *request, void *service, const caller_t *caller)
{
  product_t *p = service;
  change_t *c = change_new(request, sizeof *c, service, caller);
  if (c == NULL)
    return;
  c->run = config_remove;
  c->id = request_parameter(request, "id");
  change_start(p->storage, c);
}

static int run_get(storage_db_t *db, read_t *r)
{
  json_t *resource = NULL;
  const char *id = request_parameter(r->request, "id");
  int err = config_get(db, r->caller.account, id, &resource);
  if (!err)
    r->document = jsonapi_document(resource);
  else if (err == SMPL_ENOENT && (err = tenants_require(db, r->caller.account, &r->problem)) == SMPL_OK)
    err = problem_at(&r->problem, 404, NULL, "there is no config '%s' in this account", id);
  return err;
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
  if (!err && json_array_size(data) == 0)
    err = tenants_require(db, r->caller.account, &r->problem);
  if (!err)
    r->document = jsonapi_list_document(data, &list, total);
  else
    json_decref(data);
  return err;
}

static void on_create(request_t *request, void *service)
{
  product_guard(service, request, create);
}

static void on_list(request_t *request, void *service)
{
  static const read_kind_t list = {sizeof(list_read_t), prepare_list, run_list};
  product_read(service, request, &list);
}

static void on_get(request_t *request, void *service)
{
  static const read_kind_t get = {sizeof(read_t), NULL, run_get};
  product_read(service, request, &get);
}

static void on_replace(request_t *request, void *service)
{
  product_guard(service, request, replace);
}

static void on_delete(request_t *request, void *service)
{
  product_guard(service, request, delete_one);
}

/* clang-format off */
static const route_t routes[] = {
  {METHOD_POST, "/api/v1/configs", TIER_API, on_create, "create_config", "Create Config",
   "Create a config for this account. The caller chooses its key, data.id: unique within the account, and immutable.",
   "Configs", 1, "ConfigCreateRequest", config_create_example, NULL, config_create_responses},
  {METHOD_GET, "/api/v1/configs", TIER_API, on_list, "list_configs", "List Configs",
   "List configs for this account, by key unless sort says otherwise.",
   "Configs", 1, NULL, NULL, config_list_parameters, config_list_responses},
  {METHOD_GET, "/api/v1/configs/{id}", TIER_API, on_get, "get_config", "Get Config",
   "Retrieve a single config by its key. Every account has the config 'common'.",
   "Configs", 1, NULL, NULL, config_get_parameters, config_get_responses},
  {METHOD_PUT, "/api/v1/configs/{id}", TIER_API, on_replace, "update_config", "Update Config",
   "Replace a config entirely. Every writable field is overwritten.",
   "Configs", 1, "ConfigRequest", config_replace_example, config_id_parameters, config_replace_responses},
  {METHOD_DELETE, "/api/v1/configs/{id}", TIER_API, on_delete, "delete_config", "Delete Config",
   "Delete a config by its key. A config that another one names as its parent cannot be deleted, nor can 'common'.",
   "Configs", 1, NULL, NULL, config_id_parameters, config_delete_responses},
  DOC_ROUTES_TENANT,
};
/* clang-format on */

static int open_service(const service_env_t *env, void **state, diag_t *diag)
{
  return product_open(env, &config_schema, config_provision, state, diag);
}

const service_t config_service = {
    .name = "config",
    .title = "Smpl Config",
    .description = "Typed configuration with inheritance and per-environment overrides.",
    .routes = routes,
    .route_count = sizeof routes / sizeof *routes,
    .schemas = config_schemas,
    .open = open_service,
    .close = product_close,
    .check = product_check,
    .guard = product_judge,
    .gauges = product_gauges,
};
