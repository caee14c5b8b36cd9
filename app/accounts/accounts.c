/* SPDX-License-Identifier: Apache-2.0 */
/* The account service: accounts and API keys, and telling the sisters of new accounts. */
#include "app/accounts/accounts.h"

#include <stdlib.h>
#include <string.h>

#include "app/accounts/account_tool.h"
#include "app/services/api_files.h"
#include "app/store/jsonapi.h"
#include "app/services/change.h"
#include "app/services/query.h"
#include "app/services/reading.h"
#include "app/services/reply.h"
#include "app/services/services.h"
#include "app/services/stores.h"
#include "app/store/accounts.h"
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
  outbox_list_t *sisters; /* held until the edit has ended */
} creation_t;

static void reply_created(void *ctx, json_t *report)
{
  creation_t *creation = ctx;
  change_t *c = &creation->change;
  /* Without a report the reply is still true: the account exists. */
  json_object_set_new(c->edit.document, "meta", report);
  request_reply(c->request, c->edit.status, c->edit.document);
}

static void on_told(void *ctx)
{
  creation_t *creation = ctx;
  accounts_t *a = creation->change.service;
  outbox_report(a->outbox, creation->id, reply_created, creation);
}

static void on_committed(change_t *c)
{
  creation_t *creation = (creation_t *)c;
  accounts_t *a = c->service;
  outbox_tell(a->outbox, creation->id, ACCOUNTS_WAIT_MS, on_told, creation);
}

static void on_creation_ended(change_t *c)
{
  creation_t *creation = (creation_t *)c;
  accounts_t *a = c->service;
  outbox_release(a->outbox, creation->sisters);
}

static int check_creation(change_t *c)
{
  edit_t *e = &c->edit;
  int err = jsonapi_body(request_body(c->request), "account", JSONAPI_ID_REFUSED, &e->new_id, &e->attributes,
                         &e->problem);
  if (!err)
    err = jsonapi_check(e->attributes, account_fields, &place_attributes, &e->problem);
  if (!err && json_string_length(json_object_get(e->attributes, "name")) == 0)
    err = problem_invalid(&e->problem, PLACE_MEMBER(&place_attributes, "name"), "cannot be empty");
  if (err)
    return err;
  creation_t *creation = (creation_t *)c;
  return uuid_generate(creation->id) || key_make(&creation->key) ? SMPL_ESYS : SMPL_OK;
}

static void on_create(request_t *request, void *service)
{
  accounts_t *a = service;
  creation_t *creation = change_new(request, sizeof *creation, a, STORE_ACCOUNT_CREATE, NULL);
  if (creation == NULL)
    return;
  change_t *c = &creation->change;
  creation->key.expires_at = -1;
  creation->key.created_by = request_caller(request);
  creation->sisters = outbox_hold(a->outbox);
  c->edit.id = creation->id;
  c->edit.key = &creation->key;
  c->edit.sisters = outbox_urls(creation->sisters);
  c->edit.keep_document = true;
  c->committed = on_committed;
  c->ended = on_creation_ended;
  change_check(a->store, c, check_creation);
}

/* The sisters hear of it by the outbox, whoever is down now. */
static void on_deleted(change_t *c)
{
  accounts_t *a = c->service;
  outbox_look(a->outbox);
  request_reply_empty(c->request, c->edit.status);
}

static void on_delete(request_t *request, void *service)
{
  accounts_t *a = service;
  change_t *c = change_new(request, sizeof *c, a, STORE_ACCOUNT_DELETE, NULL);
  if (c == NULL)
    return;
  c->committed = on_deleted;
  change_start(a->store, c);
}

static void on_list(request_t *request, void *service)
{
  accounts_t *a = service;
  jsonapi_list_t asked;
  if (query_list(request, &account_list_spec, &asked))
    reading_list(a->store, request, STORE_ACCOUNT_LIST, NULL, &asked);
}

static void reply_with_report(void *ctx, json_t *report)
{
  const reading_t *r = ctx;
  json_t *document = r->fetch.document;
  if (json_object_set_new(document, "meta", report) == 0) {
    jsonapi_reply(r->request, 200, document);
    return;
  }
  json_decref(document);
  reply_storage_error(r->request, SMPL_ENOMEM);
}

static void on_found(reading_t *r)
{
  accounts_t *a = r->service;
  outbox_report(a->outbox, r->fetch.id, reply_with_report, r);
}

static void on_missing(reading_t *r)
{
  problem_t problem;
  problem_at(&problem, 404, NULL, "there is no account '%s'", r->fetch.id);
  problem_reply(r->request, &problem);
}

static void on_get(request_t *request, void *service)
{
  accounts_t *a = service;
  reading_t *r = reading_new(request, a, STORE_ACCOUNT_GET, NULL);
  if (r == NULL)
    return;
  r->fetch.keep_document = true;
  r->found = on_found;
  r->missing = on_missing;
  reading_start(a->store, r);
}

static void current(request_t *request, void *service, const caller_t *caller)
{
  accounts_t *a = service;
  reading_t *r = reading_new(request, a, STORE_ACCOUNT_GET, caller->account);
  if (r == NULL)
    return;
  r->fetch.id = r->fetch.account;
  reading_start(a->store, r);
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

static void close_service(void *state, void (*done)(void *ctx), void *ctx);

static int open_parts(accounts_t *a, const service_env_t *env, diag_t *diag)
{
  if (env->revocations != NULL && revocation_writer_new(env->loop, a->store, &a->revocations))
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  int err = sisters_new(env->loop, env->lookup, env->source, env->internal_key, &a->sisters, diag);
  if (!err)
    err = outbox_new(env->loop, a->store, a->sisters, env->sister_urls, &a->outbox, diag);
  if (!err)
    err = sister_watch_new(env->loop, a->store, a->sisters, a->outbox, env->sister_urls, &a->watch, diag);
  return err;
}

static int open_service(const service_env_t *env, void **state, diag_t *diag)
{
  accounts_t *a = calloc(1, sizeof *a);
  *state = NULL;
  if (a == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  int err = (a->rates = rates_new(env->rate_requests, env->rate_burst)) == NULL
                ? diag_fail(diag, SMPL_ENOMEM, "out of memory")
                : stores_open(env, "accounts", &a->store, diag);
  if (err) {
    rates_free(a->rates);
    free(a);
    return err;
  }
  err = open_parts(a, env, diag);
  if (err)
    close_service(a, ignore_closed, NULL); /* what of it was opened */
  else
    *state = a;
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

static void on_store_closed(void *ctx)
{
  accounts_t *a = ctx;
  void (*closed)(void *) = a->closed;
  void *closed_ctx = a->closed_ctx;
  revocation_writer_free(a->revocations);
  sister_watch_free(a->watch);
  outbox_free(a->outbox);
  rates_free(a->rates);
  free(a);
  closed(closed_ctx);
}

static void on_sisters_closed(void *ctx)
{
  accounts_t *a = ctx;
  store_close(a->store, on_store_closed, a);
}

static void on_revocations_stopped(void *ctx)
{
  accounts_t *a = ctx;
  if (a->sisters != NULL)
    sisters_close(a->sisters, on_sisters_closed, a);
  else
    on_sisters_closed(a);
}

static void on_watch_stopped(void *ctx)
{
  accounts_t *a = ctx;
  if (a->revocations != NULL)
    revocation_writer_stop(a->revocations, on_revocations_stopped, a);
  else
    on_revocations_stopped(a);
}

static void on_outbox_stopped(void *ctx)
{
  accounts_t *a = ctx;
  if (a->watch != NULL)
    sister_watch_stop(a->watch, on_watch_stopped, a);
  else
    on_watch_stopped(a);
}

static void check_service(void *state, void (*done)(void *ctx, int err, const char *why), void *ctx)
{
  accounts_t *a = state;
  stores_check(a->store, done, ctx);
}

/* Outbox first (no new calls), then the calls, then the writes that they led to. */
static void close_service(void *state, void (*done)(void *ctx), void *ctx)
{
  accounts_t *a = state;
  a->closed = done;
  a->closed_ctx = ctx;
  if (a->outbox != NULL)
    outbox_stop(a->outbox, on_outbox_stopped, a);
  else
    on_outbox_stopped(a);
}

/* What the store is asked on the way to metrics or `ready`. */
typedef struct notices {
  account_notices_t asked; /* first */
  void (*say_number)(void *ctx, const char *name, const char *help, double value);
  void (*say)(void *ctx, const char *text);
  void (*done)(void *ctx);
  void *ctx;
} notices_t;

static void say_counts(const notices_t *n)
{
  const account_counts_t *counts = &n->asked.counts;
  n->say_number(n->ctx, "smpl_app_accounts_unknown",
                "Accounts that sister services know and this database does not.", (double)counts->strays);
  n->say_number(n->ctx, "smpl_app_accounts_untold",
                "Accounts that sister services have not been told of, once for each.",
                (double)counts->untold);
  n->say_number(
      n->ctx, "smpl_app_accounts_told_again",
      "Accounts that sister services with another database are still to be told again, once for each.",
      (double)counts->told_before);
  n->say_number(n->ctx, "smpl_app_keys_disabled", "API keys that a restore has disabled.",
                (double)counts->held);
  n->say_number(n->ctx, "smpl_app_revocations_unwritten", "Revocations that are not in their file yet.",
                (double)counts->unwritten);
}

static void on_notices(store_call_t *call, int err)
{
  notices_t *n = (notices_t *)call;
  size_t i;
  json_t *sentence;
  if (!err && n->say_number != NULL)
    say_counts(n);
  json_array_foreach(n->asked.sentences, i, sentence)
  {
    if (n->say != NULL)
      n->say(n->ctx, json_string_value(sentence));
  }
  json_decref(n->asked.sentences);
  n->done(n->ctx);
  free(n);
}

static void ask_notices(accounts_t *a, const notices_t *what)
{
  notices_t *n = malloc(sizeof *n);
  if (n == NULL) {
    what->done(what->ctx);
    return;
  }
  *n = *what;
  n->asked.call = (store_call_t){.op = STORE_ACCOUNT_NOTICES, .done = on_notices};
  store_ask(a->store, &n->asked.call);
}

static void say_gauges(void *state, void (*say)(void *ctx, const char *name, const char *help, double value),
                       void (*done)(void *ctx), void *ctx)
{
  accounts_t *a = state;
  say(ctx, "smpl_app_writes_waiting", "Writes queued and not committed.", (double)store_writes(a->store));
  ask_notices(a, &(const notices_t){.say_number = say, .done = done, .ctx = ctx});
}

static void say_notices(void *state, void (*say)(void *ctx, const char *text), void (*done)(void *ctx),
                        void *ctx)
{
  ask_notices(state, &(const notices_t){.say = say, .done = done, .ctx = ctx});
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
