/* SPDX-License-Identifier: Apache-2.0 */
#include "app/services/resource.h"

#include "app/store/ident.h"
#include "app/store/jsonapi.h"
#include "common/base/error.h"

int resource_check_id(change_t *c)
{
  if (resource_id_valid(c->edit.new_id))
    return SMPL_OK;
  return problem_invalid(&c->edit.problem, PLACE_MEMBER(&place_data, "id"),
                         "expected 1 to %d of A-Z a-z 0-9 . _ ~ -", RESOURCE_ID_MAX);
}

static int check(change_t *c)
{
  const resource_kind_t *kind = ((product_t *)c->service)->kind;
  jsonapi_id_t rule = c->edit.id == NULL ? JSONAPI_ID_REQUIRED : JSONAPI_ID_OPTIONAL;
  int err = jsonapi_body(request_body(c->request), kind->type, rule, &c->edit.new_id, &c->edit.attributes,
                         &c->edit.problem);
  return err ? err : kind->check(c);
}

static void create(request_t *request, void *service, const caller_t *caller)
{
  product_t *p = service;
  change_t *c = change_new(request, sizeof *c, p, STORE_DOCUMENT_CREATE, caller);
  if (c != NULL)
    change_check(p->store, c, check);
}

static void replace(request_t *request, void *service, const caller_t *caller)
{
  product_t *p = service;
  change_t *c = change_new(request, sizeof *c, p, STORE_DOCUMENT_REPLACE, caller);
  if (c != NULL)
    change_check(p->store, c, check);
}

static void delete_one(request_t *request, void *service, const caller_t *caller)
{
  product_t *p = service;
  change_t *c = change_new(request, sizeof *c, p, STORE_DOCUMENT_DELETE, caller);
  if (c != NULL)
    change_start(p->store, c);
}

void resource_create(request_t *request, void *service)
{
  product_guard(service, request, create);
}

void resource_replace(request_t *request, void *service)
{
  product_guard(service, request, replace);
}

void resource_delete(request_t *request, void *service)
{
  product_guard(service, request, delete_one);
}

void resource_get(request_t *request, void *service)
{
  static const read_kind_t get = {sizeof(read_t), STORE_DOCUMENT_GET, NULL};
  product_read(service, request, &get);
}

void resource_list(request_t *request, void *service)
{
  product_t *p = service;
  product_read(p, request, &p->kind->list);
}
