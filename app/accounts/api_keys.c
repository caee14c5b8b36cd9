/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "app/accounts/account_store.h"
#include "app/accounts/accounts.h"
#include "app/accounts/key_store.h"
#include "app/services/jsonapi.h"
#include "app/services/listing.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/text.h"

static const jsonapi_field_t fields[] = {
    {"name", FIELD_STRING, true, false, API_KEY_NAME_MAX},
    {"scopes", FIELD_OBJECT, false, false, 0},
    {"expires_at", FIELD_STRING, false, true, 0},
    {"status", FIELD_READ_ONLY, false, false, 0},
    {"key", FIELD_READ_ONLY, false, false, 0},
    {"created_by", FIELD_READ_ONLY, false, false, 0},
    {"last_used_at", FIELD_READ_ONLY, false, false, 0},
    {"created_at", FIELD_READ_ONLY, false, false, 0},
    {"updated_at", FIELD_READ_ONLY, false, false, 0},
    {0},
};

typedef struct key_change {
  change_t change; /* first */
  key_new_t key;
} key_change_t;

/* ---- who calls ---- */

typedef struct touch {
  storage_job_t job; /* first */
  accounts_t *accounts;
  char id[UUID_TEXT_MAX];
  int64_t now;
} touch_t;

static int run_touch(storage_db_t *db, storage_job_t *job)
{
  touch_t *t = (touch_t *)job;
  return key_touch(db, t->id, t->now);
}

static void on_touched(storage_job_t *job, int err)
{
  touch_t *t = (touch_t *)job;
  (void)err; /* last_used_at is a courtesy: the next use tries again */
  t->accounts->touches--;
  free(t);
}

/* Notes the use of a key, at most once in API_KEY_TOUCH_MS; nobody waits for it. */
static void touch(accounts_t *a, const key_found_t *key, int64_t now)
{
  if (key->last_used_at > now - API_KEY_TOUCH_MS || a->touches >= ACCOUNTS_TOUCHES_MAX)
    return;
  touch_t *t = calloc(1, sizeof *t);
  if (t == NULL)
    return;
  *t = (touch_t){.job = {.run = run_touch, .done = on_touched}, .accounts = a, .now = now};
  t->job.key = turns_key(key->account, strlen(key->account));
  memcpy(t->id, key->id, sizeof t->id);
  if (storage_write(a->storage, &t->job) != SMPL_OK)
    free(t);
  else
    a->touches++;
}

void api_keys_guard(accounts_t *a, request_t *request, caller_cb cb)
{
  key_found_t key;
  caller_t caller;
  int64_t now = (int64_t)clock_wall_ms();
  const char *token = caller_token(request);
  if (token == NULL)
    return;
  int err = key_find(storage_reader(a->storage), token, now, &key);
  if (err == SMPL_ENOENT) {
    caller_refuse(request);
  } else if (err) {
    reply_storage_error(request, err);
  } else {
    memcpy(caller.account, key.account, sizeof caller.account);
    memcpy(caller.key_id, key.id, sizeof caller.key_id);
    touch(a, &key, now);
    if (caller_within_rate(a->rates, request, &caller))
      cb(request, a, &caller);
  }
}

static void go_on(request_t *request, void *service, const caller_t *caller)
{
  (void)service;
  request_is_of(request, caller->account); /* the handler asks again */
  request_go_on(request);
}

void api_keys_judge(request_t *request, void *service)
{
  api_keys_guard(service, request, go_on);
}

void api_keys_introspect(request_t *request, void *service)
{
  accounts_t *a = service;
  key_found_t key;
  int64_t now = (int64_t)clock_wall_ms();
  const char *text = json_string_value(json_object_get(request_body(request), "key"));
  if (text == NULL) {
    problem_t problem;
    problem_invalid(&problem, PLACE_MEMBER(NULL, "key"), "required: the API key to ask about");
    problem_reply(request, &problem);
    return;
  }
  int err = key_well_formed(text) ? key_find(storage_reader(a->storage), text, now, &key) : SMPL_ENOENT;
  if (err == SMPL_ENOENT) {
    jsonapi_reply(request, 200, json_pack("{s:b}", "active", 0));
  } else if (err) {
    reply_storage_error(request, err);
  } else {
    touch(a, &key, now);
    json_t *left = key.expires_at < 0 ? json_null() : json_integer(key.expires_at - now);
    jsonapi_reply(request, 200,
                  json_pack("{s:b, s:s, s:s, s:o}", "active", 1, "account", key.account, "key_id", key.id,
                            "expires_in_ms", left));
  }
}

/* ---- bodies ---- */

/* Scopes would have to be enforced by every service: until they are, a key that looks restricted must not
 * exist. */
static int check_scopes(const json_t *scopes, problem_t *problem)
{
  const place_t *place = PLACE_MEMBER(&place_attributes, "scopes");
  const char *name;
  json_t *values;
  json_object_foreach((json_t *)scopes, name, values)
  {
    if (!json_is_array(values))
      return problem_invalid(problem, PLACE_MEMBER(place, name), "expected an array");
    if (json_array_size(values) > 0)
      return problem_invalid(problem, PLACE_MEMBER(place, name),
                             "keys cannot be restricted here: leave scopes empty");
  }
  return SMPL_OK;
}

static int check_body(change_t *c)
{
  key_change_t *k = (key_change_t *)c;
  const char *path_id = c->id;
  problem_t *problem = &c->problem;
  uint64_t expires_at = 0;
  jsonapi_id_t rule = path_id != NULL ? JSONAPI_ID_OPTIONAL : JSONAPI_ID_REFUSED;
  k->key.expires_at = -1;
  int err = jsonapi_body(request_body(c->request), "api_key", rule, &c->new_id, &c->attributes, problem);
  if (!err && path_id != NULL && c->new_id != NULL && strcmp(c->new_id, path_id) != 0)
    err = problem_at(problem, 409, PLACE_MEMBER(&place_data, "id"), "differs from the id in the path");
  if (!err)
    err = jsonapi_check(c->attributes, fields, &place_attributes, problem);
  if (!err)
    err = check_scopes(json_object_get(c->attributes, "scopes"), problem);
  if (err)
    return err;
  const char *expires = json_string_value(json_object_get(c->attributes, "expires_at"));
  const place_t *at_expires = PLACE_MEMBER(&place_attributes, "expires_at");
  if (expires == NULL)
    return SMPL_OK;
  if (time_parse(expires, &expires_at))
    return problem_invalid(problem, at_expires, "expected a time such as 2027-03-20T11:02:16Z");
  if ((int64_t)expires_at <= c->now)
    return problem_invalid(problem, at_expires, "that time has passed");
  k->key.expires_at = (int64_t)expires_at;
  return SMPL_OK;
}

static int check_new(change_t *c)
{
  int err = check_body(c);
  return err ? err : key_make(&((key_change_t *)c)->key);
}

static const char *name_of(const change_t *c)
{
  return json_string_value(json_object_get(c->attributes, "name"));
}

static int not_found(change_t *c)
{
  return problem_at(&c->problem, 404, NULL, "there is no API key '%s' in this account", c->id);
}

/* ---- writing ---- */

static int run_create(storage_db_t *db, change_t *c)
{
  key_change_t *k = (key_change_t *)c;
  json_t *account = NULL, *resource = NULL;
  int err = account_get(db, c->caller.account, &account);
  json_decref(account);
  if (err == SMPL_ENOENT)
    return problem_at(&c->problem, 404, NULL, "there is no account '%s'", c->caller.account);
  if (!err)
    err = key_insert(db, &k->key, c->caller.account, name_of(c), c->now, &resource);
  if (err == SMPL_ELIMIT)
    return problem_at(&c->problem, 409, NULL, "this account has %d API keys, the most it can have",
                      API_KEYS_MAX);
  if (!err)
    c->document = jsonapi_document(resource);
  c->status = 201;
  return err;
}

/* The key as it stands after a change that gave err. */
static int finish_change(storage_db_t *db, change_t *c, int err)
{
  json_t *resource = NULL;
  if (!err)
    err = key_get(db, c->caller.account, c->id, &resource);
  if (!err)
    c->document = jsonapi_document(resource);
  c->status = 200;
  return err == SMPL_ENOENT ? not_found(c) : err;
}

static int run_replace(storage_db_t *db, change_t *c)
{
  const key_change_t *k = (key_change_t *)c;
  return finish_change(db, c,
                       key_update(db, c->caller.account, c->id, name_of(c), k->key.expires_at, c->now));
}

static int run_revoke(storage_db_t *db, change_t *c)
{
  const accounts_t *a = c->service;
  int err = key_revoke(db, c->caller.account, c->id, c->now);
  if (!err)
    err = revocations_add(db, a->revocations, REVOCATION_KEY, c->id, c->now);
  return finish_change(db, c, err);
}

static int run_delete(storage_db_t *db, change_t *c)
{
  const accounts_t *a = c->service;
  int err = key_delete(db, c->caller.account, c->id);
  if (!err)
    err = revocations_add(db, a->revocations, REVOCATION_KEY, c->id, c->now);
  c->status = 204;
  return err == SMPL_ENOENT ? not_found(c) : err;
}

static void create(request_t *request, void *service, const caller_t *caller)
{
  accounts_t *a = service;
  key_change_t *k = change_new(request, sizeof *k, a, caller);
  if (k == NULL)
    return;
  k->change.run = run_create;
  k->key.created_by = request_caller(request);
  change_check(a->storage, &k->change, check_new);
}

static void replace(request_t *request, void *service, const caller_t *caller)
{
  accounts_t *a = service;
  key_change_t *k = change_new(request, sizeof *k, a, caller);
  if (k == NULL)
    return;
  k->change.run = run_replace;
  k->key.created_by = request_caller(request);
  k->change.id = request_parameter(request, "id");
  change_check(a->storage, &k->change, check_body);
}

static void change_by_id(request_t *request, accounts_t *a, const caller_t *caller,
                         int (*run)(storage_db_t *, change_t *))
{
  change_t *c = change_new(request, sizeof *c, a, caller);
  if (c == NULL)
    return;
  c->run = run;
  c->id = request_parameter(request, "id");
  change_start(a->storage, c);
}

static void revoke_one(request_t *request, void *service, const caller_t *caller)
{
  change_by_id(request, service, caller, run_revoke);
}

static void delete_one(request_t *request, void *service, const caller_t *caller)
{
  change_by_id(request, service, caller, run_delete);
}

/* ---- reading ---- */

static void get(request_t *request, void *service, const caller_t *caller)
{
  accounts_t *a = service;
  json_t *resource = NULL;
  const char *id = request_parameter(request, "id");
  int err = key_get(storage_reader(a->storage), caller->account, id, &resource);
  if (err == SMPL_ENOENT)
    reply_not_found(request, "API key", id);
  else if (err)
    reply_storage_error(request, err);
  else
    jsonapi_reply(request, 200, jsonapi_document(resource));
}

static void list(request_t *request, void *service, const caller_t *caller)
{
  accounts_t *a = service;
  jsonapi_list_t asked;
  if (!jsonapi_list_read(request, &key_list_spec, &asked))
    return;
  const char *status = asked.filters[KEY_FILTER_STATUS];
  if (status != NULL && strcmp(status, "ACTIVE") != 0 && strcmp(status, "REVOKED") != 0) {
    request_reply_error(request, 400, "Invalid query parameter", NULL, "filter[status]",
                        "expected ACTIVE or REVOKED");
    return;
  }
  listing_start(a->storage, request, caller->account, &asked, key_list);
}

/* ---- routes ---- */

void api_keys_create(request_t *request, void *service)
{
  api_keys_guard(service, request, create);
}

void api_keys_create_internal(request_t *request, void *service)
{
  caller_t caller = {.account = ""};
  const char *account = request_parameter(request, "id");
  if (!uuid_valid(account)) {
    problem_t problem;
    problem_at(&problem, 404, NULL, "there is no account '%s'", account);
    problem_reply(request, &problem);
    return;
  }
  memcpy(caller.account, account, sizeof caller.account);
  create(request, service, &caller);
}

void api_keys_list(request_t *request, void *service)
{
  api_keys_guard(service, request, list);
}

void api_keys_get(request_t *request, void *service)
{
  api_keys_guard(service, request, get);
}

void api_keys_replace(request_t *request, void *service)
{
  api_keys_guard(service, request, replace);
}

void api_keys_delete(request_t *request, void *service)
{
  api_keys_guard(service, request, delete_one);
}

void api_keys_revoke(request_t *request, void *service)
{
  api_keys_guard(service, request, revoke_one);
}
