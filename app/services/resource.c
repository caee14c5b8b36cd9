/* SPDX-License-Identifier: Apache-2.0 */
#include "app/services/resource.h"

#include "app/services/ident.h"
#include "common/base/error.h"

typedef int (*run_t)(storage_db_t *db, change_t *change);

int resource_check_id(change_t *c)
{
  if (resource_id_valid(c->new_id))
    return SMPL_OK;
  return problem_invalid(&c->problem, PLACE_MEMBER(&place_data, "id"),
                         "expected 1 to %d of A-Z a-z 0-9 . _ ~ -", RESOURCE_ID_MAX);
}

static int check(change_t *c)
{
  const resource_kind_t *kind = ((product_t *)c->service)->kind;
  jsonapi_id_t rule = c->id == NULL ? JSONAPI_ID_REQUIRED : JSONAPI_ID_OPTIONAL;
  int err = jsonapi_body(request_body(c->request), kind->type, rule, &c->new_id, &c->attributes, &c->problem);
  return err ? err : kind->check(c);
}

/* Has the body checked, and queues the change. */
static void write_one(request_t *request, product_t *p, const caller_t *caller, run_t run)
{
  change_t *c = change_new(request, sizeof *c, p, caller);
  if (c == NULL)
    return;
  c->run = run;
  c->id = request_parameter(request, "id");
  change_check(p->storage, c, check);
}

static void create(request_t *request, void *service, const caller_t *caller)
{
  product_t *p = service;
  write_one(request, p, caller, p->kind->create);
}

static void replace(request_t *request, void *service, const caller_t *caller)
{
  product_t *p = service;
  write_one(request, p, caller, p->kind->replace);
}

static void delete_one(request_t *request, void *service, const caller_t *caller)
{
  product_t *p = service;
  change_t *c = change_new(request, sizeof *c, p, caller);
  if (c == NULL)
    return;
  c->run = p->kind->remove;
  c->id = request_parameter(request, "id");
  change_start(p->storage, c);
}

static int run_get(storage_db_t *db, read_t *r)
{
  json_t *resource = NULL;
  const resource_kind_t *kind = r->product->kind;
  const char *id = request_parameter(r->request, "id");
  int err = kind->get(db, r->caller.account, id, &resource);
  if (!err)
    r->document = jsonapi_document(resource);
  else if (err == SMPL_ENOENT && (err = tenants_require(db, r->caller.account, &r->problem)) == SMPL_OK)
    err = problem_at(&r->problem, 404, NULL, "there is no %s '%s' in this account", kind->type, id);
  return err;
}

int resource_page(storage_db_t *db, read_t *r, int err, json_t *data, const jsonapi_list_t *list,
                  int64_t total)
{
  if (!err && json_array_size(data) == 0)
    err = tenants_require(db, r->caller.account, &r->problem);
  if (!err)
    r->document = jsonapi_list_document(data, list, total);
  else
    json_decref(data);
  return err;
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
  static const read_kind_t get = {sizeof(read_t), NULL, run_get};
  product_read(service, request, &get);
}

void resource_list(request_t *request, void *service)
{
  product_t *p = service;
  product_read(p, request, &p->kind->list);
}
