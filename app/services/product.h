/* What the product services (config, flags) share: storage, the check of API keys at the account service, and the accounts
 * that it told us of ("tenants"). */
#pragma once

#include "app/services/answers.h"
#include "app/services/caller.h"
#include "app/services/change.h"
#include "app/services/keycheck.h"
#include "app/services/sister.h"
#include "app/services/storage.h"
#include "app/services/turns.h"

/* Writer thread: rows that every new account begins with. */
typedef int (*product_provision)(storage_db_t *db, const char *account, int64_t now);

typedef struct product {
  storage_t *storage;
  sisters_t *sisters;
  keycheck_t *keycheck;
  turns_t *turns;
  answers_t *answers;
  char accounts_url[SISTER_URL_MAX];
  product_provision provision; /* NULL for none */
  void (*closed)(void *ctx);
  void *closed_ctx;
} product_t;

/* Where the tenants are kept: to be part of the product's first migration. */
#define TENANTS_SQL                                                                                          \
  "CREATE TABLE tenants (id TEXT PRIMARY KEY, name TEXT NOT NULL, key TEXT, created_at INTEGER NOT NULL,"    \
  " updated_at INTEGER NOT NULL) WITHOUT ROWID;"

/* service_t.open and close: *state is a product_t, and the service pointer of every handler. */
int product_open(const service_env_t *env, const storage_schema_t *schema, product_provision provision,
                 void **state, diag_t *diag);
void product_close(void *state, void (*done)(void *ctx), void *ctx);
/* service_t.check. */
int product_check(void *state, diag_t *diag);

/* service_t.guard. */
void product_judge(request_t *request, void *state);

/* service_t.gauges. */
void product_gauges(void *state, void (*say)(void *ctx, const char *name, const char *help, double value),
                    void *ctx);

/* Goes on with the caller, or replies. */
void product_guard(product_t *product, request_t *request, caller_cb cb);
/* The same for reads, which take turns: cb replies before it returns, from the storage's reader and nothing else, so that its
 * answer can be kept for as long as the database stays as it is. */
void product_guard_read(product_t *product, request_t *request, caller_cb cb);

/* 1 if the account service told of this account, 0 if not (yet), negative on error. Any thread, with its connection. */
int tenants_known(storage_db_t *db, const char *account);
/* For jobs: SMPL_OK, or an error with the problem filled. */
int tenants_require(storage_db_t *db, const char *account, problem_t *problem);
/* For reads that found nothing: true if the account is known; else replies 503. */
bool tenants_confirm(product_t *product, request_t *request, const char *account);

/* Handlers of PUT and GET /internal/v1/accounts/{id}. */
void tenants_put(request_t *request, void *service);
void tenants_get(request_t *request, void *service);
