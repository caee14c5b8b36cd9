/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/sqlite/documents.h"

#include "app/store/sqlite/tenant_store.h"
#include "common/base/error.h"

int document_get(storage_db_t *db, fetch_t *f, const char *type, document_read get)
{
  json_t *resource = NULL;
  int err = get(db, f->account, f->id, &resource);
  if (!err)
    f->document = jsonapi_document(resource);
  else if (err == SMPL_ENOENT && (err = tenants_require(db, f->account, &f->problem)) == SMPL_OK)
    err = problem_at(&f->problem, 404, NULL, "there is no %s '%s' in this account", type, f->id);
  return err;
}

int document_page(storage_db_t *db, fetch_t *f, int err, json_t *data, const jsonapi_list_t *list,
                  int64_t total)
{
  if (!err && json_array_size(data) == 0)
    err = tenants_require(db, f->account, &f->problem);
  if (!err)
    f->document = jsonapi_list_document(data, list, total);
  else
    json_decref(data);
  return err;
}

int document_tenant(storage_db_t *db, fetch_t *f)
{
  return tenant_get(db, f->id, &f->document);
}

int document_tenants(storage_db_t *db, fetch_t *f)
{
  return tenant_list(db, f->after, f->most, &f->document);
}
