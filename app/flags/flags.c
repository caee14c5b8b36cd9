/* SPDX-License-Identifier: Apache-2.0 */
/* The flags service: smplkit's /api/v1/flags. */
#include <string.h>

#include "app/flags/flag_doc.h"
#include "app/flags/flag_rules.h"
#include "app/flags/flag_store.h"
#include "app/services/doc.h"
#include "app/services/resource.h"
#include "app/services/rows.h"
#include "app/services/services.h"
#include "app/services/tool.h"
#include "common/base/error.h"

static int check(change_t *c)
{
  int err = c->new_id != NULL ? resource_check_id(c) : SMPL_OK;
  return err ? err : flag_check(c->attributes, &c->problem);
}

static bool refuse(request_t *request, const char *parameter, const char *detail)
{
  request_reply_error(request, 400, "Invalid query parameter", NULL, parameter, "%s", detail);
  return false;
}

/* "customer:c-123" as type and key; the text before the colon goes into type (JSONAPI_SEARCH_MAX + 1 bytes).
 */
static bool split_context(const char *text, char *type, flag_filter_t *filter)
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

static bool read_filter(request_t *request, const jsonapi_list_t *asked, char *type, flag_filter_t *filter)
{
  const char *const *given = asked->filters;
  *filter = (flag_filter_t){.context_type = given[FLAG_FILTER_CONTEXT_TYPE]};
  if (!rows_bool_filter(request, "filter[managed]", given[FLAG_FILTER_MANAGED], &filter->managed))
    return false;
  if (given[FLAG_FILTER_TYPE] != NULL && (filter->type = flag_type(given[FLAG_FILTER_TYPE])) == NULL)
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
  jsonapi_list_t asked;
  flag_filter_t filter;
  char context_type[JSONAPI_SEARCH_MAX + 1];
} list_read_t;

static bool prepare_list(read_t *r)
{
  list_read_t *l = (list_read_t *)r;
  return jsonapi_list_read(r->request, &flag_list_spec, &l->asked) &&
         read_filter(r->request, &l->asked, l->context_type, &l->filter);
}

static int run_list(storage_db_t *db, read_t *r)
{
  const list_read_t *l = (const list_read_t *)r;
  jsonapi_list_t list = l->asked;
  json_t *data = NULL;
  int64_t total = 0;
  int err = flag_list(db, r->caller.account, &list, &l->filter, &data, &total);
  if (err == SMPL_ELIMIT) {
    r->parameter = list.filters[FLAG_FILTER_CONTEXT] != NULL ? "filter[references_context]"
                                                             : "filter[references_context_type]";
    problem_at(&r->problem, 400, NULL,
               "too many rules to look through; narrow the list with filter[type] or filter[search]");
    r->problem.title = "Invalid query parameter";
  }
  return resource_page(db, r, err, data, &list, total);
}

static const resource_kind_t kind = {
    .type = "flag",
    .check = check,
    .create = flag_create,
    .replace = flag_replace,
    .remove = flag_remove,
    .get = flag_get,
    .list = {sizeof(list_read_t), prepare_list, run_list},
};

/* clang-format off */
static const route_t routes[] = {
  {METHOD_POST, "/api/v1/flags", TIER_API, resource_create, "create_flag", "Create Flag",
   "Create a new feature flag. The caller chooses its key, data.id.",
   "Flags", OPERATION_CUSTOMER, "FlagCreateRequest", flag_create_example, NULL, flag_create_responses},
  {METHOD_GET, "/api/v1/flags", TIER_API, resource_list, "list_flags", "List Flags",
   "List feature flags for this account, by key unless sort says otherwise.",
   "Flags", OPERATION_CUSTOMER, NULL, NULL, flag_list_parameters, flag_list_responses},
  {METHOD_GET, "/api/v1/flags/{id}", TIER_API, resource_get, "get_flag", "Get Flag",
   "Retrieve a feature flag by its key.",
   "Flags", OPERATION_CUSTOMER, NULL, NULL, flag_id_parameters, flag_get_responses},
  {METHOD_PUT, "/api/v1/flags/{id}", TIER_API, resource_replace, "update_flag", "Update Flag",
   "Replace a feature flag entirely. Every writable field is overwritten; another data.id renames it.",
   "Flags", OPERATION_CUSTOMER, "FlagRequest", flag_replace_example, flag_id_parameters, flag_replace_responses},
  {METHOD_DELETE, "/api/v1/flags/{id}", TIER_API, resource_delete, "delete_flag", "Delete Flag",
   "Delete a feature flag by its key.",
   "Flags", OPERATION_CUSTOMER, NULL, NULL, flag_id_parameters, flag_delete_responses},
  DOC_ROUTES_TENANT,
};
/* clang-format on */

static int open_service(const service_env_t *env, void **state, diag_t *diag)
{
  return product_open(env, &flag_schema, NULL, flag_forget, &kind, state, diag);
}

static int tool(const tool_call_t *call, diag_t *diag)
{
  return tool_run(call, &flag_schema, &(const tool_extra_t){.on_restore = NULL}, diag);
}

const service_t flags_service = {
    .name = "flags",
    .title = "Smpl Flags",
    .description = "Feature flags with targeting rules, evaluated in the SDKs.",
    .routes = routes,
    .route_count = sizeof routes / sizeof *routes,
    .schemas = flag_schemas,
    .open = open_service,
    .reload = product_reload,
    .close = product_close,
    .check = product_check,
    .guard = product_judge,
    .gauges = product_gauges,
    .tool = tool,
};
