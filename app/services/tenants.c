/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "app/store/jsonapi.h"
#include "app/services/product.h"
#include "app/services/reading.h"
#include "app/services/reply.h"
#include "common/base/error.h"
#include "common/base/text.h"

static const jsonapi_field_t fields[] = {
    {"name", FIELD_STRING, true, false, 255},
    {"key", FIELD_STRING, false, true, 255},
    {"created_at", FIELD_READ_ONLY, false, false, 0},
    {"updated_at", FIELD_READ_ONLY, false, false, 0},
    {0},
};

static int check(change_t *c)
{
  problem_t *problem = &c->edit.problem;
  const place_t *at_id = PLACE_MEMBER(&place_data, "id");
  int err = SMPL_OK;
  if (!uuid_valid(c->edit.id))
    err = problem_invalid(problem, NULL, "the account's id in the path is no lower-case UUID");
  if (!err)
    err = jsonapi_body(request_body(c->request), "account", JSONAPI_ID_OPTIONAL, &c->edit.new_id,
                       &c->edit.attributes, problem);
  if (!err && c->edit.new_id != NULL && strcmp(c->edit.new_id, c->edit.id) != 0)
    err = problem_at(problem, 409, at_id, "differs from the id in the path");
  return err ? err : jsonapi_check(c->edit.attributes, fields, &place_attributes, problem);
}

void tenants_put(request_t *request, void *service)
{
  product_t *p = service;
  change_t *c = change_new(request, sizeof *c, service, STORE_TENANT_PUT, NULL);
  if (c == NULL)
    return;
  change_check(p->store, c, check);
}

static void missing(reading_t *r)
{
  problem_t problem;
  problem_at(&problem, 404, NULL, "this service was not told of an account '%s'", r->fetch.id);
  problem_reply(r->request, &problem);
}

void tenants_get(request_t *request, void *service)
{
  product_t *p = service;
  reading_t *r = reading_new(request, p, STORE_TENANT_GET, NULL);
  if (r == NULL)
    return;
  r->missing = missing;
  reading_start(p->store, r);
}

void tenants_delete(request_t *request, void *service)
{
  product_t *p = service;
  const char *id = request_parameter(request, "id");
  if (!uuid_valid(id)) {
    reply_not_found(request, "account", id);
    return;
  }
  change_t *c = change_new(request, sizeof *c, service, STORE_TENANT_DELETE, NULL);
  if (c == NULL)
    return;
  change_start(p->store, c);
}

void tenants_list(request_t *request, void *service)
{
  product_t *p = service;
  const char *after = request_query(request, "after"), *size = request_query(request, "size");
  uint64_t most = TENANTS_PAGE_MAX;
  if (size != NULL && text_parse_u64(size, strlen(size), TENANTS_PAGE_MAX, &most)) {
    request_reply_error(request, 400, "Invalid query parameter", NULL, "size", "expected a number up to %d",
                        TENANTS_PAGE_MAX);
    return;
  }
  reading_t *r = reading_new(request, p, STORE_TENANT_LIST, NULL);
  if (r == NULL)
    return;
  r->fetch.after = after != NULL ? after : "";
  r->fetch.most = (int64_t)most;
  reading_start(p->store, r);
}
