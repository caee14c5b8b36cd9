/* SPDX-License-Identifier: Apache-2.0 */
/* What the product services (config, flags) share: the store, the check of API keys at the account service,
 * and the accounts that it told us of ("tenants"). */
#pragma once

#include "app/limits.h"
#include "app/services/answers.h"
#include "app/services/caller.h"
#include "app/services/change.h"
#include "app/services/keycheck.h"
#include "app/services/sister.h"
#include "app/store/fetch.h"

struct read;
struct resource_kind;

typedef struct product {
  store_t *store;
  sisters_t *sisters;
  keycheck_t *keycheck;
  rates_t *rates;
  answers_t *answers;
  turns_t *reads; /* that wait for the store, which has one at a time */
  char accounts_url[SISTER_URL_MAX];
  const struct resource_kind *kind;
  void (*closed)(void *ctx);
  void *closed_ctx;
} product_t;

/* service_t.open and close: *state is a product_t, and the service pointer of every handler. */
int product_open(const service_env_t *env, const char *owner, const struct resource_kind *kind, void **state,
                 diag_t *diag);
/* service_t.reload. */
int product_reload(void *state, const service_env_t *env, diag_t *diag);
void product_close(void *state, void (*done)(void *ctx), void *ctx);
/* service_t.check. */
void product_check(void *state, void (*done)(void *ctx, int err, const char *why), void *ctx);

/* service_t.guard. */
void product_judge(request_t *request, void *state);

/* service_t.gauges. */
void product_gauges(void *state, void (*say)(void *ctx, const char *name, const char *help, double value),
                    void (*done)(void *ctx), void *ctx);

/* Goes on with the caller, or replies. */
void product_guard(product_t *product, request_t *request, caller_cb cb);

/* One request that reads. Embed it at the beginning of your own struct. */
typedef struct read read_t;

/* A kind of read. Its answer is made of the data and of the request's account, path and query, and of nothing
 * else, so that it can be kept for as long as the data stays as it is. */
typedef struct read_kind {
  size_t size; /* of the struct that a read_t begins */
  store_op_t op;
  /* Reads the query into the fetch. False: it has replied. May be NULL. */
  bool (*prepare)(read_t *read);
} read_kind_t;

struct read {
  fetch_t fetch; /* first */
  request_t *request;
  product_t *product;    /* product.c's own, as what follows */
  store_change_t change; /* of the data before the read began */
  shared_t *kept;        /* while it waited, another one has made its answer */
  turns_item_t turn;     /* while it waits, or is out at the store */
};

/* Answers a read whose key is good: by a kept answer, at once, or after the store had it in its turn. */
void product_read(product_t *product, request_t *request, const read_kind_t *kind);

/* Handlers of PUT, GET and DELETE /internal/v1/accounts/{id}, and of GET /internal/v1/accounts. Their answers
 * say in `meta` which database it is, and how much it has heard of (identity.h). */
void tenants_put(request_t *request, void *service);
void tenants_get(request_t *request, void *service);
void tenants_delete(request_t *request, void *service);
void tenants_list(request_t *request, void *service);
