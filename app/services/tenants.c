/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "app/services/identity.h"
#include "app/services/jsonapi.h"
#include "app/services/product.h"
#include "app/services/rows.h"
#include "common/base/error.h"
#include "common/base/text.h"

static const jsonapi_field_t fields[] = {
    {"name", FIELD_STRING, true, false, 255},
    {"key", FIELD_STRING, false, true, 255},
    {"created_at", FIELD_READ_ONLY, false, false, 0},
    {"updated_at", FIELD_READ_ONLY, false, false, 0},
    {0},
};

static const char select_known[] = "SELECT 1 FROM tenants WHERE id = ?1";
static const char select_bytes[] = "SELECT bytes FROM tenants WHERE id = ?1";
static const char select_one[] = "SELECT name, key, created_at, updated_at FROM tenants WHERE id = ?1";

int tenants_known(storage_db_t *db, const char *account)
{
  storage_stmt_t *stmt = storage_query(db, select_known, STORAGE_ARGS(STORAGE_TEXT(account)));
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
  return storage_number(db, select_bytes, STORAGE_ARGS(STORAGE_TEXT(account)), bytes);
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
  storage_stmt_t *stmt = storage_query(db, select_one, STORAGE_ARGS(STORAGE_TEXT(id)));
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

static int put(storage_db_t *db, change_t *c)
{
  product_t *p = c->service;
  const char *name = json_string_value(json_object_get(c->attributes, "name"));
  const char *key = json_string_value(json_object_get(c->attributes, "key"));
  int known = tenants_known(db, c->id);
  if (known < 0)
    return known;
  c->status = known == 1 ? 200 : 201;
  int64_t changed = 0;
  /* An update that changes nothing writes nothing, so repeated calls keep updated_at. */
  int err =
      storage_exec(db,
                   "INSERT INTO tenants (id, name, key, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?4)"
                   " ON CONFLICT (id) DO UPDATE SET name = ?2, key = ?3, updated_at = ?4"
                   " WHERE name <> ?2 OR key IS NOT ?3",
                   STORAGE_ARGS(STORAGE_TEXT(c->id), STORAGE_TEXT(name), STORAGE_TEXT(key),
                                STORAGE_INT(c->now)),
                   &changed);
  if (!err && known == 0 && p->provision != NULL)
    err = p->provision(db, c->id, c->now);
  if (!err && changed > 0)
    err = identity_heard(db);
  if (!err)
    c->document = document_of(db, c->id, &err);
  return err ? err : add_report(db, c->document);
}

static int forget(storage_db_t *db, change_t *c)
{
  const product_t *p = c->service;
  int64_t changed = 0;
  int err = p->forget(db, c->id);
  if (!err)
    err = storage_exec(db, "DELETE FROM tenants WHERE id = ?1", STORAGE_ARGS(STORAGE_TEXT(c->id)), &changed);
  if (!err && changed > 0)
    err = identity_heard(db);
  c->status = 200;
  c->document = json_pack("{s:[]}", "data");
  return err ? err : add_report(db, c->document);
}

static int check(change_t *c)
{
  problem_t *problem = &c->problem;
  const place_t *at_id = PLACE_MEMBER(&place_data, "id");
  int err = SMPL_OK;
  if (!uuid_valid(c->id))
    err = problem_invalid(problem, NULL, "the account's id in the path is no lower-case UUID");
  if (!err)
    err = jsonapi_body(request_body(c->request), "account", JSONAPI_ID_OPTIONAL, &c->new_id, &c->attributes,
                       problem);
  if (!err && c->new_id != NULL && strcmp(c->new_id, c->id) != 0)
    err = problem_at(problem, 409, at_id, "differs from the id in the path");
  return err ? err : jsonapi_check(c->attributes, fields, &place_attributes, problem);
}

void tenants_put(request_t *request, void *service)
{
  product_t *p = service;
  change_t *c = change_new(request, sizeof *c, service, NULL);
  if (c == NULL)
    return;
  c->id = request_parameter(request, "id");
  c->run = put;
  change_check(p->storage, c, check);
}

void tenants_get(request_t *request, void *service)
{
  product_t *p = service;
  int err;
  const char *id = request_parameter(request, "id");
  json_t *document = document_of(storage_reader(p->storage), id, &err);
  if (err == SMPL_ENOENT) {
    problem_t problem;
    problem_at(&problem, 404, NULL, "this service was not told of an account '%s'", id);
    problem_reply(request, &problem);
  } else if (err) {
    reply_storage_error(request, err);
  } else {
    jsonapi_reply(request, 200, document);
  }
}

void tenants_delete(request_t *request, void *service)
{
  product_t *p = service;
  const char *id = request_parameter(request, "id");
  if (!uuid_valid(id)) {
    reply_not_found(request, "account", id);
    return;
  }
  change_t *c = change_new(request, sizeof *c, service, NULL);
  if (c == NULL)
    return;
  c->id = id;
  c->run = forget;
  change_start(p->storage, c);
}

void tenants_list(request_t *request, void *service)
{
  product_t *p = service;
  storage_db_t *db = storage_reader(p->storage);
  const char *after = request_query(request, "after"), *size = request_query(request, "size");
  uint64_t most = TENANTS_PAGE_MAX;
  json_t *ids = NULL;
  if (size != NULL && text_parse_u64(size, strlen(size), TENANTS_PAGE_MAX, &most)) {
    request_reply_error(request, 400, "Invalid query parameter", NULL, "size", "expected a number up to %d",
                        TENANTS_PAGE_MAX);
    return;
  }
  int err = rows_ids(storage_query(db, "SELECT id FROM tenants WHERE id > ?1 ORDER BY id LIMIT ?2",
                                   STORAGE_ARGS(STORAGE_TEXT(after != NULL ? after : ""),
                                                STORAGE_INT((int64_t)most))),
                     &ids);
  json_t *document = err ? NULL : json_pack("{s:o}", "data", ids);
  if (!err)
    err = document != NULL ? add_report(db, document) : SMPL_ENOMEM;
  if (!err) {
    jsonapi_reply(request, 200, document);
    return;
  }
  json_decref(document);
  reply_storage_error(request, err);
}
