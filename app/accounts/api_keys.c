/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "app/accounts/accounts.h"
#include "app/store/jsonapi.h"
#include "app/services/change.h"
#include "app/services/query.h"
#include "app/services/reading.h"
#include "app/services/reply.h"
#include "app/store/accounts.h"
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
  key_touch_t touch; /* first */
  accounts_t *accounts;
} touch_t;

static void on_touched(store_call_t *call, int err)
{
  touch_t *t = (touch_t *)call;
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
  *t = (touch_t){.touch = {.call = {.op = STORE_KEY_TOUCH, .done = on_touched}, .now = now}, .accounts = a};
  t->touch.call.job.key = turns_key(key->account, strlen(key->account));
  memcpy(t->touch.id, key->id, sizeof t->touch.id);
  a->touches++;
  store_ask(a->store, &t->touch.call);
}

/* A key that is looked for. Lives in its request. */
typedef struct finding {
  key_find_t find; /* first */
  accounts_t *accounts;
  request_t *request;
  caller_cb found;
} finding_t;

static void start_finding(accounts_t *a, request_t *request, const char *key, caller_cb found,
                          void (*done)(store_call_t *call, int err))
{
  finding_t *f = request_alloc(request, sizeof *f);
  if (f == NULL) {
    reply_storage_error(request, SMPL_ENOMEM);
    return;
  }
  f->find.key = key;
  f->find.now = (int64_t)clock_wall_ms();
  f->find.call.op = STORE_KEY_FIND;
  f->find.call.done = done;
  f->find.call.job.key = request_share(request);
  f->accounts = a;
  f->request = request;
  f->found = found;
  store_ask(a->store, &f->find.call);
}

static void on_found(store_call_t *call, int err)
{
  const finding_t *f = (const finding_t *)call;
  const key_found_t *key = &f->find.found;
  accounts_t *a = f->accounts;
  caller_t caller;
  if (err == SMPL_ENOENT) {
    caller_refuse(f->request);
  } else if (err) {
    reply_read_error(f->request, err);
  } else {
    memcpy(caller.account, key->account, sizeof caller.account);
    memcpy(caller.key_id, key->id, sizeof caller.key_id);
    touch(a, key, f->find.now);
    if (caller_within_rate(a->rates, f->request, &caller))
      f->found(f->request, a, &caller);
  }
}

void api_keys_guard(accounts_t *a, request_t *request, caller_cb cb)
{
  const char *token = caller_token(request);
  if (token != NULL)
    start_finding(a, request, token, cb, on_found);
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

static void reply_inactive(request_t *request)
{
  jsonapi_reply(request, 200, json_pack("{s:b}", "active", 0));
}

static void on_introspected(store_call_t *call, int err)
{
  const finding_t *f = (const finding_t *)call;
  const key_found_t *key = &f->find.found;
  if (err == SMPL_ENOENT) {
    reply_inactive(f->request);
  } else if (err) {
    reply_read_error(f->request, err);
  } else {
    touch(f->accounts, key, f->find.now);
    json_t *left = key->expires_at < 0 ? json_null() : json_integer(key->expires_at - f->find.now);
    jsonapi_reply(f->request, 200,
                  json_pack("{s:b, s:s, s:s, s:o}", "active", 1, "account", key->account, "key_id", key->id,
                            "expires_in_ms", left));
  }
}

void api_keys_introspect(request_t *request, void *service)
{
  const char *text = json_string_value(json_object_get(request_body(request), "key"));
  if (text == NULL) {
    problem_t problem;
    problem_invalid(&problem, PLACE_MEMBER(NULL, "key"), "required: the API key to ask about");
    problem_reply(request, &problem);
  } else if (key_well_formed(text)) {
    start_finding(service, request, text, NULL, on_introspected);
  } else {
    reply_inactive(request);
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
  const char *path_id = c->edit.id;
  problem_t *problem = &c->edit.problem;
  uint64_t expires_at = 0;
  jsonapi_id_t rule = path_id != NULL ? JSONAPI_ID_OPTIONAL : JSONAPI_ID_REFUSED;
  k->key.expires_at = -1;
  int err =
      jsonapi_body(request_body(c->request), "api_key", rule, &c->edit.new_id, &c->edit.attributes, problem);
  if (!err && path_id != NULL && c->edit.new_id != NULL && strcmp(c->edit.new_id, path_id) != 0)
    err = problem_at(problem, 409, PLACE_MEMBER(&place_data, "id"), "differs from the id in the path");
  if (!err)
    err = jsonapi_check(c->edit.attributes, fields, &place_attributes, problem);
  if (!err)
    err = check_scopes(json_object_get(c->edit.attributes, "scopes"), problem);
  if (err)
    return err;
  const char *expires = json_string_value(json_object_get(c->edit.attributes, "expires_at"));
  const place_t *at_expires = PLACE_MEMBER(&place_attributes, "expires_at");
  if (expires == NULL)
    return SMPL_OK;
  if (time_parse(expires, &expires_at))
    return problem_invalid(problem, at_expires, "expected a time such as 2027-03-20T11:02:16Z");
  if ((int64_t)expires_at <= c->edit.now)
    return problem_invalid(problem, at_expires, "that time has passed");
  k->key.expires_at = (int64_t)expires_at;
  return SMPL_OK;
}

static int check_new(change_t *c)
{
  int err = check_body(c);
  return err ? err : key_make(&((key_change_t *)c)->key);
}

/* ---- writing ---- */

static key_change_t *begin(request_t *request, accounts_t *a, store_op_t op, const caller_t *caller)
{
  key_change_t *k = change_new(request, sizeof *k, a, op, caller);
  if (k == NULL)
    return NULL;
  k->key.created_by = request_caller(request);
  k->change.edit.key = &k->key;
  return k;
}

static void create(request_t *request, void *service, const caller_t *caller)
{
  accounts_t *a = service;
  key_change_t *k = begin(request, a, STORE_KEY_CREATE, caller);
  if (k == NULL)
    return;
  k->change.edit.id = NULL; /* that of the path, if there is one, is the account's */
  change_check(a->store, &k->change, check_new);
}

static void replace(request_t *request, void *service, const caller_t *caller)
{
  accounts_t *a = service;
  key_change_t *k = begin(request, a, STORE_KEY_REPLACE, caller);
  if (k != NULL)
    change_check(a->store, &k->change, check_body);
}

static void revoke_one(request_t *request, void *service, const caller_t *caller)
{
  accounts_t *a = service;
  key_change_t *k = begin(request, a, STORE_KEY_REVOKE, caller);
  if (k != NULL)
    change_start(a->store, &k->change);
}

static void delete_one(request_t *request, void *service, const caller_t *caller)
{
  accounts_t *a = service;
  key_change_t *k = begin(request, a, STORE_KEY_DELETE, caller);
  if (k != NULL)
    change_start(a->store, &k->change);
}

/* ---- reading ---- */

static void missing(reading_t *r)
{
  reply_not_found(r->request, "API key", r->fetch.id);
}

static void get(request_t *request, void *service, const caller_t *caller)
{
  accounts_t *a = service;
  reading_t *r = reading_new(request, a, STORE_KEY_GET, caller->account);
  if (r == NULL)
    return;
  r->missing = missing;
  reading_start(a->store, r);
}

static void list(request_t *request, void *service, const caller_t *caller)
{
  accounts_t *a = service;
  jsonapi_list_t asked;
  if (!query_list(request, &key_list_spec, &asked))
    return;
  const char *status = asked.filters[KEY_FILTER_STATUS];
  if (status != NULL && strcmp(status, "ACTIVE") != 0 && strcmp(status, "REVOKED") != 0) {
    request_reply_error(request, 400, "Invalid query parameter", NULL, "filter[status]",
                        "expected ACTIVE or REVOKED");
    return;
  }
  reading_list(a->store, request, STORE_KEY_LIST, caller->account, &asked);
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
