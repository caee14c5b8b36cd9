/* SPDX-License-Identifier: Apache-2.0 */
/* The account service: accounts and API keys, and telling the sisters of new accounts. */
#include "app/accounts/accounts.h"

#include <stdlib.h>
#include <string.h>

#include "app/accounts/account_notices.h"
#include "app/accounts/account_store.h"
#include "app/accounts/account_tool.h"
#include "app/accounts/key_store.h"
#include "app/services/api_files.h"
#include "app/services/jsonapi.h"
#include "app/services/listing.h"
#include "app/services/services.h"
#include "common/base/clock.h"
#include "common/base/error.h"

_Static_assert((int)ACCOUNTS_WAIT_MS > (int)2 * LOOKUP_ALONE_MS,
               "both lookups of a call are done while a single resolver answers");

static const jsonapi_field_t account_fields[] = {
    {"name", FIELD_STRING, true, false, ACCOUNT_NAME_MAX},
    {"key", FIELD_READ_ONLY, false, false, 0},
    {"has_stripe_customer", FIELD_READ_ONLY, false, false, 0},
    {"expires_at", FIELD_READ_ONLY, false, false, 0},
    {"created_at", FIELD_READ_ONLY, false, false, 0},
    {"deleted_at", FIELD_READ_ONLY, false, false, 0},
    {"product_subscriptions", FIELD_READ_ONLY, false, false, 0},
    {"entry_point", FIELD_READ_ONLY, false, false, 0},
    {"show_sample_data", FIELD_READ_ONLY, false, false, 0},
    {"discount_override_pct", FIELD_READ_ONLY, false, false, 0},
    {0},
};

typedef struct creation {
  change_t change; /* first */
  char id[UUID_TEXT_MAX];
  key_new_t key;
} creation_t;

/* Account, first key and what the sisters must be told: one transaction. */
static int run_create(storage_db_t *db, change_t *c)
{
  creation_t *creation = (creation_t *)c;
  accounts_t *a = c->service;
  json_t *account = NULL, *key = NULL;
  const char *name = json_string_value(json_object_get(c->attributes, "name"));
  int err = account_insert(db, creation->id, name, c->now);
  if (!err)
    err = key_insert(db, &creation->key, creation->id, "Default", c->now, &key);
  if (!err)
    err = outbox_add(db, a->outbox, creation->id);
  if (!err)
    err = account_get(db, creation->id, &account);
  if (!err)
    c->document = json_pack("{s:O, s:[O]}", "data", account, "included", key);
  json_decref(account);
  json_decref(key);
  c->status = 201;
  return err;
}

static void reply_created(void *ctx)
{
  creation_t *creation = ctx;
  change_t *c = &creation->change;
  accounts_t *a = c->service;
  /* Without a report the reply is still true: the account exists. */
  json_object_set_new(c->document, "meta", outbox_report(a->outbox, creation->id));
  request_reply(c->request, c->status, c->document);
}

static void on_committed(change_t *c)
{
  creation_t *creation = (creation_t *)c;
  accounts_t *a = c->service;
  outbox_tell(a->outbox, creation->id, ACCOUNTS_WAIT_MS, reply_created, creation);
}

static int check_creation(change_t *c)
{
  int err = jsonapi_body(request_body(c->request), "account", JSONAPI_ID_REFUSED, &c->new_id, &c->attributes,
                         &c->problem);
  if (!err)
    err = jsonapi_check(c->attributes, account_fields, &place_attributes, &c->problem);
  if (!err && json_string_length(json_object_get(c->attributes, "name")) == 0)
    err = problem_invalid(&c->problem, PLACE_MEMBER(&place_attributes, "name"), "cannot be empty");
  if (err)
    return err;
  creation_t *creation = (creation_t *)c;
  return uuid_generate(creation->id) || key_make(&creation->key) ? SMPL_ESYS : SMPL_OK;
}

static void on_create(request_t *request, void *service)
{
  accounts_t *a = service;
  creation_t *creation = change_new(request, sizeof *creation, a, NULL);
  if (creation == NULL)
    return;
  creation->change.run = run_create;
  creation->change.committed = on_committed;
  creation->key.expires_at = -1;
  creation->key.created_by = request_caller(request);
  change_check(a->storage, &creation->change, check_creation);
}

static int run_delete(storage_db_t *db, change_t *c)
{
  const accounts_t *a = c->service;
  int err = account_delete(db, c->id, c->now);
  if (!err)
    err = revocations_add(db, a->revocations, REVOCATION_ACCOUNT, c->id, c->now);
  c->status = 204;
  return err == SMPL_ENOENT ? problem_at(&c->problem, 404, NULL, "there is no account '%s'", c->id) : err;
}

/* The sisters hear of it by the outbox, whoever is down now. */
static void on_deleted(change_t *c)
{
  accounts_t *a = c->service;
  outbox_look(a->outbox);
  request_reply_empty(c->request, c->status);
}

static void on_delete(request_t *request, void *service)
{
  accounts_t *a = service;
  change_t *c = change_new(request, sizeof *c, a, NULL);
  if (c == NULL)
    return;
  c->id = request_parameter(request, "id");
  c->run = run_delete;
  c->committed = on_deleted;
  change_start(a->storage, c);
}

static int list_accounts(storage_db_t *db, const char *account, const jsonapi_list_t *asked, json_t **data,
                         int64_t *total)
{
  (void)account;
  return account_list(db, asked, data, total);
}

static void on_list(request_t *request, void *service)
{
  accounts_t *a = service;
  jsonapi_list_t asked;
  if (jsonapi_list_read(request, &account_list_spec, &asked))
    listing_start(a->storage, request, NULL, &asked, list_accounts);
}

static void on_get(request_t *request, void *service)
{
  accounts_t *a = service;
  json_t *resource = NULL;
  const char *id = request_parameter(request, "id");
  int err = account_get(storage_reader(a->storage), id, &resource);
  if (err == SMPL_ENOENT) {
    problem_t problem;
    problem_at(&problem, 404, NULL, "there is no account '%s'", id);
    problem_reply(request, &problem);
  } else if (err) {
    reply_storage_error(request, err);
  } else {
    jsonapi_reply(request, 200,
                  json_pack("{s:o, s:o}", "data", resource, "meta", outbox_report(a->outbox, id)));
  }
}

static void current(request_t *request, void *service, const caller_t *caller)
{
  accounts_t *a = service;
  json_t *resource = NULL;
  int err = account_get(storage_reader(a->storage), caller->account, &resource);
  if (err)
    reply_storage_error(request, err);
  else
    jsonapi_reply(request, 200, jsonapi_document(resource));
}

static void on_current(request_t *request, void *service)
{
  api_keys_guard(service, request, current);
}

static const route_t routes[] = {
    {.method = METHOD_POST,
     .path = "/internal/v1/accounts",
     .tier = TIER_INTERNAL,
     .handle = on_create,
     .operation_id = "create_account",
     .operation = OPERATION_PROVISION,
     .request_schema = "AccountRequest"},
    {.method = METHOD_GET,
     .path = "/internal/v1/accounts",
     .tier = TIER_INTERNAL,
     .handle = on_list,
     .operation_id = "list_accounts",
     .operation = OPERATION_OPEN},
    {.method = METHOD_GET,
     .path = "/internal/v1/accounts/{id}",
     .tier = TIER_INTERNAL,
     .handle = on_get,
     .operation_id = "get_account_by_id",
     .operation = OPERATION_OPEN},
    {.method = METHOD_DELETE,
     .path = "/internal/v1/accounts/{id}",
     .tier = TIER_INTERNAL,
     .handle = on_delete,
     .operation_id = "delete_account",
     .operation = OPERATION_PROVISION},
    {.method = METHOD_POST,
     .path = "/internal/v1/accounts/{id}/api_keys",
     .tier = TIER_INTERNAL,
     .handle = api_keys_create_internal,
     .operation_id = "create_api_key_for_account",
     .operation = OPERATION_PROVISION,
     .request_schema = "ApiKeyRequest"},
    {.method = METHOD_POST,
     .path = "/internal/v1/keys/introspect",
     .tier = TIER_INTERNAL,
     .handle = api_keys_introspect,
     .operation_id = "introspect_key",
     .operation = OPERATION_INTROSPECT,
     .request_schema = "IntrospectRequest"},
    {.method = METHOD_GET,
     .path = "/api/v1/accounts/current",
     .tier = TIER_API,
     .handle = on_current,
     .operation_id = "get_account",
     .operation = OPERATION_CUSTOMER},
    {.method = METHOD_POST,
     .path = "/api/v1/api_keys",
     .tier = TIER_API,
     .handle = api_keys_create,
     .operation_id = "create_api_key",
     .operation = OPERATION_CUSTOMER,
     .request_schema = "ApiKeyRequest"},
    {.method = METHOD_GET,
     .path = "/api/v1/api_keys",
     .tier = TIER_API,
     .handle = api_keys_list,
     .operation_id = "list_api_keys",
     .operation = OPERATION_CUSTOMER},
    {.method = METHOD_GET,
     .path = "/api/v1/api_keys/{id}",
     .tier = TIER_API,
     .handle = api_keys_get,
     .operation_id = "get_api_key",
     .operation = OPERATION_CUSTOMER},
    {.method = METHOD_PUT,
     .path = "/api/v1/api_keys/{id}",
     .tier = TIER_API,
     .handle = api_keys_replace,
     .operation_id = "update_api_key",
     .operation = OPERATION_CUSTOMER,
     .request_schema = "ApiKeyRequest"},
    {.method = METHOD_DELETE,
     .path = "/api/v1/api_keys/{id}",
     .tier = TIER_API,
     .handle = api_keys_delete,
     .operation_id = "delete_api_key",
     .operation = OPERATION_CUSTOMER},
    {.method = METHOD_POST,
     .path = "/api/v1/api_keys/{id}/actions/revoke",
     .tier = TIER_API,
     .handle = api_keys_revoke,
     .operation_id = "revoke_api_key",
     .operation = OPERATION_CUSTOMER},
};

static const api_file_t api[] = {
    {"accounts_api.json", accounts_api, accounts_api_end},
    {"common_api.json", common_api, common_api_end},
    {NULL, NULL, NULL},
};

static void ignore_closed(void *ctx)
{
  (void)ctx;
}

static void drop_outbox(void *outbox)
{
  outbox_free(outbox);
}

static void drop_revocations(void *revocations)
{
  revocations_free(revocations);
}

/* What was opened before something else could not be. */
static void close_parts(accounts_t *a)
{
  if (a->outbox != NULL)
    outbox_stop(a->outbox, drop_outbox, a->outbox);
  revocations_stop(a->revocations, drop_revocations, a->revocations);
  if (a->sisters != NULL)
    sisters_close(a->sisters, ignore_closed, NULL);
  storage_close(a->storage, ignore_closed, NULL);
}

static int open_parts(accounts_t *a, const service_env_t *env, diag_t *diag)
{
  if ((a->rates = rates_new(env->rate_requests, env->rate_burst)) == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  if (revocations_new(env->revocations, &a->revocations))
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  int err = storage_open_at(env->loop, env->database, &account_schema, revocations_open, a->revocations,
                            &a->storage, diag);
  if (err) {
    revocations_free(a->revocations);
    return err;
  }
  revocations_start(a->revocations, env->loop, a->storage);
  err = sisters_new(env->loop, env->lookup, env->source, env->internal_key, &a->sisters, diag);
  if (!err)
    err = outbox_new(env->loop, a->storage, a->sisters, env->sister_urls, &a->outbox, diag);
  if (!err)
    err = sister_watch_new(env->loop, a->storage, a->sisters, a->outbox, env->sister_urls, &a->watch, diag);
  if (err)
    close_parts(a);
  return err;
}

static int open_service(const service_env_t *env, void **state, diag_t *diag)
{
  accounts_t *a = calloc(1, sizeof *a);
  *state = NULL;
  if (a == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  int err = open_parts(a, env, diag);
  if (err) {
    rates_free(a->rates);
    free(a);
  } else {
    *state = a;
  }
  return err;
}

static int reload_service(void *state, const service_env_t *env, diag_t *diag)
{
  accounts_t *a = state;
  sisters_way_t *way = NULL;
  if (sisters_way_new(env->lookup, env->source, env->internal_key, &way))
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  int err = sister_watch_prepare(a->watch, env->sister_urls, diag);
  if (!err)
    err = outbox_set(a->outbox, env->sister_urls, diag);
  if (err) {
    sisters_way_free(way);
    return err;
  }
  /* Nothing fails from here on: all of it is in force, or none. */
  sister_watch_use(a->watch, env->sister_urls);
  sisters_use(a->sisters, way);
  rates_set(a->rates, env->rate_requests, env->rate_burst, clock_mono_us());
  return SMPL_OK;
}

static void on_storage_closed(void *ctx)
{
  accounts_t *a = ctx;
  void (*closed)(void *) = a->closed;
  void *closed_ctx = a->closed_ctx;
  revocations_free(a->revocations);
  sister_watch_free(a->watch);
  outbox_free(a->outbox);
  rates_free(a->rates);
  free(a);
  closed(closed_ctx);
}

static void on_sisters_closed(void *ctx)
{
  accounts_t *a = ctx;
  storage_close(a->storage, on_storage_closed, a);
}

static void on_revocations_stopped(void *ctx)
{
  accounts_t *a = ctx;
  sisters_close(a->sisters, on_sisters_closed, a);
}

static void on_watch_stopped(void *ctx)
{
  accounts_t *a = ctx;
  revocations_stop(a->revocations, on_revocations_stopped, a);
}

static void on_outbox_stopped(void *ctx)
{
  accounts_t *a = ctx;
  sister_watch_stop(a->watch, on_watch_stopped, a);
}

static int check_service(void *state, diag_t *diag)
{
  accounts_t *a = state;
  return storage_check(a->storage, diag);
}

/* Outbox first (no new calls), then the calls, then the writes that they led to. */
static void close_service(void *state, void (*done)(void *ctx), void *ctx)
{
  accounts_t *a = state;
  a->closed = done;
  a->closed_ctx = ctx;
  outbox_stop(a->outbox, on_outbox_stopped, a);
}

static void say_gauges(void *state, void (*say)(void *ctx, const char *name, const char *help, double value),
                       void *ctx)
{
  const accounts_t *a = state;
  say(ctx, "smpl_app_writes_waiting", "Writes queued and not committed.",
      (double)storage_pending(a->storage));
  account_counts_t counts;
  if (account_counts(storage_reader(a->storage), revocations_path(a->revocations), &counts))
    return;
  say(ctx, "smpl_app_accounts_unknown", "Accounts that sister services know and this database does not.",
      (double)counts.strays);
  say(ctx, "smpl_app_accounts_untold", "Accounts that sister services have not been told of, once for each.",
      (double)counts.untold);
  say(ctx, "smpl_app_accounts_told_again",
      "Accounts that sister services with another database are still to be told again, once for each.",
      (double)counts.told_before);
  say(ctx, "smpl_app_keys_disabled", "API keys that a restore has disabled.", (double)counts.held);
  say(ctx, "smpl_app_revocations_unwritten", "Revocations that are not in their file yet.",
      (double)counts.unwritten);
}

static void say_notices(void *state, void (*say)(void *ctx, const char *text), void *ctx)
{
  const accounts_t *a = state;
  account_each_notice(storage_reader(a->storage), revocations_path(a->revocations), say, ctx);
}

const service_t accounts_service = {
    .name = "accounts",
    .title = "Smpl Accounts",
    .description = "Accounts and API keys.",
    .routes = routes,
    .route_count = sizeof routes / sizeof *routes,
    .api = api,
    .open = open_service,
    .reload = reload_service,
    .close = close_service,
    .check = check_service,
    .guard = api_keys_judge,
    .notices = say_notices,
    .tool = account_tool,
    .gauges = say_gauges,
};
