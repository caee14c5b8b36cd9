/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/sqlite/documents.h"

#include "app/store/sqlite/tenant_store.h"
#include "common/base/error.h"

int document_get(storage_db_t *db, const document_kind_t *kind, const char *account, const char *id,
                 json_t **resource)
{
  return row_read(storage_query(db, kind->one_sql, STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(id))),
                  kind->resource, resource);
}

int document_list(storage_db_t *db, const document_kind_t *kind, const char *account, jsonapi_list_t *list,
                  const fetch_filter_t *filter, json_t **data, int64_t *total)
{
  char search[JSONAPI_SEARCH_MAX + 1];
  bool narrows = kind->narrow != NULL && filter->context_type != NULL;
  const storage_arg_t args[] = {STORAGE_TEXT(account),
                                STORAGE_TEXT(filter->group),
                                STORAGE_TEXT(rows_search(list->filters[kind->search], search)),
                                STORAGE_INT(filter->managed),
                                STORAGE_INT(narrows ? -1 : list->size),
                                STORAGE_INT(narrows ? 0 : jsonapi_offset(list))};
  const rows_by_id_t rows = {db, account, kind->one_sql, kind->resource};
  json_t *ids = NULL;
  *total = 0;
  *data = NULL;
  int err = rows_ids(storage_query(db, kind->list_sql[list->sort][list->descending], args, 6), &ids);
  if (!err && narrows)
    err = kind->narrow(db, account, list, filter, &ids, total);
  else if (!err && list->total)
    err = storage_number(db, kind->count_sql, args, 4, total);
  if (!err)
    err = rows_read_page(&rows, ids, list, data);
  json_decref(ids);
  return err;
}

/* ---- as operations; their state is the kind ---- */

static int refuse_missing(storage_db_t *db, const document_kind_t *kind, fetch_t *f)
{
  problem_t problem = {.status = 0};
  int err = tenants_require(db, f->account, &problem);
  if (!err)
    err = problem_at(&problem, 404, NULL, "there is no %s '%s' in this account", kind->type, f->id);
  return fetch_refuse(f, &problem, err);
}

static int get(storage_db_t *db, const document_kind_t *kind, fetch_t *f)
{
  json_t *resource = NULL;
  int err = document_get(db, kind, f->account, f->id, &resource);
  if (err == SMPL_ENOENT)
    return refuse_missing(db, kind, f);
  if (!err)
    f->document = jsonapi_document(resource);
  return err;
}

static int refuse_context(fetch_t *f)
{
  problem_t problem;
  f->parameter = f->filter.parameter;
  int err = problem_at(&problem, 400, NULL,
                       "too many rules to look through; narrow the list with filter[type] or filter[search]");
  problem.title = "Invalid query parameter";
  return fetch_refuse(f, &problem, err);
}

/* An account that has nothing may be one that is not known here. */
static int check_tenant(storage_db_t *db, fetch_t *f)
{
  problem_t problem = {.status = 0};
  int err = tenants_require(db, f->account, &problem);
  return fetch_refuse(f, &problem, err);
}

static int list(storage_db_t *db, const document_kind_t *kind, fetch_t *f)
{
  jsonapi_list_t page = f->list; /* the fetch may be run again */
  json_t *data = NULL;
  int64_t total = 0;
  int err = document_list(db, kind, f->account, &page, &f->filter, &data, &total);
  if (err == SMPL_ELIMIT)
    return refuse_context(f);
  if (!err && json_array_size(data) == 0)
    err = check_tenant(db, f);
  if (!err)
    f->document = jsonapi_list_document(data, &page, total);
  else
    json_decref(data);
  return err;
}

static int run_get(storage_db_t *db, void *state, store_call_t *call)
{
  fetch_t *f = (fetch_t *)call;
  fetch_begin(f);
  return fetch_end(f, get(db, state, f));
}

static int run_list(storage_db_t *db, void *state, store_call_t *call)
{
  fetch_t *f = (fetch_t *)call;
  fetch_begin(f);
  return fetch_end(f, list(db, state, f));
}

static int run_create(storage_db_t *db, void *state, store_call_t *call)
{
  const document_kind_t *kind = state;
  edit_t *e = (edit_t *)call;
  return edit_end(e, kind->create(db, e));
}

static int run_replace(storage_db_t *db, void *state, store_call_t *call)
{
  const document_kind_t *kind = state;
  edit_t *e = (edit_t *)call;
  return edit_end(e, kind->replace(db, e));
}

static int run_remove(storage_db_t *db, void *state, store_call_t *call)
{
  const document_kind_t *kind = state;
  edit_t *e = (edit_t *)call;
  return edit_end(e, kind->remove(db, e));
}

static int run_put_tenant(storage_db_t *db, void *state, store_call_t *call)
{
  const document_kind_t *kind = state;
  edit_t *e = (edit_t *)call;
  return edit_end(e, tenant_put(db, e, kind->provision));
}

static int run_remove_tenant(storage_db_t *db, void *state, store_call_t *call)
{
  const document_kind_t *kind = state;
  edit_t *e = (edit_t *)call;
  return edit_end(e, tenant_remove(db, e, kind->forget));
}

static int get_tenant(storage_db_t *db, fetch_t *f)
{
  return tenant_get(db, f->id, &f->document);
}

static int list_tenants(storage_db_t *db, fetch_t *f)
{
  return tenant_list(db, f->after, f->most, &f->document);
}

const sqlite_op_t document_ops[STORE_OPS] = {
    [STORE_CHECK] = {OP_LOOKUP, .run = sqlite_check},
    [STORE_TENANT_PUT] = {OP_WRITE, .run = run_put_tenant},
    [STORE_TENANT_DELETE] = {OP_WRITE, .run = run_remove_tenant},
    [STORE_TENANT_GET] = {OP_LOOKUP, .fetch = get_tenant},
    [STORE_TENANT_LIST] = {OP_READ, .fetch = list_tenants},
    [STORE_DOCUMENT_CREATE] = {OP_WRITE, .run = run_create},
    [STORE_DOCUMENT_REPLACE] = {OP_WRITE, .run = run_replace},
    [STORE_DOCUMENT_DELETE] = {OP_WRITE, .run = run_remove},
    [STORE_DOCUMENT_GET] = {OP_READ, .run = run_get},
    [STORE_DOCUMENT_LIST] = {OP_READ, .run = run_list},
};
