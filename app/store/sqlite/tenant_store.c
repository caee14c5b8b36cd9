/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/sqlite/tenant_store.h"

#include "app/store/jsonapi.h"
#include "app/store/sqlite/identity_store.h"
#include "app/store/sqlite/rows.h"
#include "app/store/sqlite/tenant_store.sql.h"
#include "common/base/error.h"

int tenants_known(storage_db_t *db, const char *account)
{
  storage_stmt_t *stmt = storage_query(db, sql_known, STORAGE_ARGS(STORAGE_TEXT(account)));
  int row = storage_step(stmt);
  if (row == 1)
    storage_finish(stmt);
  return row;
}

static int not_provisioned(problem_t *problem)
{
  problem_at(problem, 503, NULL, "this account is not known here yet; try again");
  return SMPL_ENOENT;
}

int tenants_bytes(storage_db_t *db, const char *account, int64_t *bytes)
{
  return storage_number(db, sql_bytes, STORAGE_ARGS(STORAGE_TEXT(account)), bytes);
}

int tenants_check_bytes(storage_db_t *db, const char *account, int64_t before, problem_t *problem)
{
  int64_t after = 0;
  int err = tenants_bytes(db, account, &after);
  if (!err && after > TENANT_BYTES_MAX && after > before)
    return problem_at(problem, 409, NULL,
                      "this account would have %lld bytes stored here; the most it can have is %d",
                      (long long)after, TENANT_BYTES_MAX);
  return err;
}

int tenants_require(storage_db_t *db, const char *account, problem_t *problem)
{
  int known = tenants_known(db, account);
  return known < 0 ? known : known == 1 ? SMPL_OK : not_provisioned(problem);
}

/* The row as a document; *err is SMPL_ENOENT if there is none. */
static json_t *document_of(storage_db_t *db, const char *id, int *err)
{
  storage_stmt_t *stmt = storage_query(db, sql_one, STORAGE_ARGS(STORAGE_TEXT(id)));
  int row = storage_step(stmt);
  *err = row == 0 ? SMPL_ENOENT : row < 0 ? row : SMPL_OK;
  if (row != 1)
    return NULL;
  json_t *attributes =
      json_pack("{s:s, s:o, s:o, s:o}", "name", storage_text(stmt, 0), "key",
                jsonapi_text(storage_text(stmt, 1)), "created_at", jsonapi_time(storage_int(stmt, 2)),
                "updated_at", jsonapi_time(storage_int(stmt, 3)));
  storage_finish(stmt);
  return jsonapi_document(jsonapi_resource("account", id, attributes));
}

/* With the database's own report as its meta. */
static int add_report(storage_db_t *db, json_t *document)
{
  identity_t identity;
  int err = identity_read(db, &identity);
  if (err)
    return err;
  return json_object_set_new(document, "meta", identity_report(&identity)) == 0 ? SMPL_OK : SMPL_ENOMEM;
}

int tenant_put(storage_db_t *db, edit_t *c, tenant_provision provision)
{
  const char *name = json_string_value(json_object_get(c->attributes, "name"));
  const char *key = json_string_value(json_object_get(c->attributes, "key"));
  int known = tenants_known(db, c->id);
  if (known < 0)
    return known;
  c->status = known == 1 ? 200 : 201;
  int64_t changed = 0;
  int err = storage_exec(db, sql_put,
                         STORAGE_ARGS(STORAGE_TEXT(c->id), STORAGE_TEXT(name), STORAGE_TEXT(key),
                                      STORAGE_INT(c->now)),
                         &changed);
  if (!err && known == 0 && provision != NULL)
    err = provision(db, c->id, c->now);
  if (!err && changed > 0)
    err = identity_heard(db);
  if (!err)
    c->document = document_of(db, c->id, &err);
  return err ? err : add_report(db, c->document);
}

int tenant_remove(storage_db_t *db, edit_t *c, tenant_forget forget)
{
  int64_t changed = 0;
  int err = forget(db, c->id);
  if (!err)
    err = storage_exec(db, sql_delete, STORAGE_ARGS(STORAGE_TEXT(c->id)), &changed);
  if (!err && changed > 0)
    err = identity_heard(db);
  c->status = 200;
  c->document = json_pack("{s:[]}", "data");
  return err ? err : add_report(db, c->document);
}

int tenant_get(storage_db_t *db, const char *id, json_t **document)
{
  int err;
  *document = document_of(db, id, &err);
  return err;
}

int tenant_list(storage_db_t *db, const char *after, int64_t most, json_t **document)
{
  json_t *ids = NULL;
  int err = rows_ids(storage_query(db, sql_list, STORAGE_ARGS(STORAGE_TEXT(after), STORAGE_INT(most))), &ids);
  *document = err ? NULL : json_pack("{s:o}", "data", ids);
  if (!err)
    err = *document != NULL ? add_report(db, *document) : SMPL_ENOMEM;
  if (err) {
    json_decref(*document);
    *document = NULL;
  }
  return err;
}
