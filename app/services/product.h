/* SPDX-License-Identifier: Apache-2.0 */
/* What the product services (config, flags) share: storage, the check of API keys at the account service, and
 * the accounts that it told us of ("tenants"). */
#pragma once

#include "app/services/answers.h"
#include "app/services/caller.h"
#include "app/services/change.h"
#include "app/services/keycheck.h"
#include "app/services/shares.h"
#include "app/services/sister.h"
#include "app/services/storage.h"

/* Writer thread: rows that every new account begins with. */
typedef int (*product_provision)(storage_db_t *db, const char *account, int64_t now);
/* Writer thread: all rows of an account that is deleted, but for the tenant's own. */
typedef int (*product_forget)(storage_db_t *db, const char *account);

enum {
  PRODUCT_READS_MAX = 1024, /* long reads that wait for the reading thread, in turns by account; whoever has
                               most of them gives way */
  PRODUCT_READ_TURN_MS =
      10, /* of the reading thread's time: one that took longer is paid for with as many turns */
  TENANTS_PAGE_MAX = 1000, /* ids in one page of those that are known here */
  TENANT_BYTES_MAX =
      64 << 20 /* that an account may have stored in one product; writes that would add to more are 409 */
};

struct read;
struct resource_kind;

typedef struct product {
  storage_t *storage;
  sisters_t *sisters;
  keycheck_t *keycheck;
  rates_t *rates;
  shares_t *shares;
  answers_t *answers;
  turns_t *reads; /* that wait for the reading thread, which has one at a time */
  char accounts_url[SISTER_URL_MAX];
  product_provision provision; /* NULL for none */
  product_forget forget;
  const struct resource_kind *kind;
  void (*closed)(void *ctx);
  void *closed_ctx;
} product_t;

/* Where the tenants are kept: to be part of the product's first migration. */
#define TENANTS_SQL                                                                                          \
  "CREATE TABLE tenants (id TEXT PRIMARY KEY, name TEXT NOT NULL, key TEXT, created_at INTEGER NOT NULL,"    \
  " updated_at INTEGER NOT NULL) WITHOUT ROWID;"

/* How many bytes each tenant has stored in a table, kept by triggers: to be part of a migration that comes
 * after TENANTS_SQL's. table has a column account; size(row) is an SQL expression of a row's bytes, row being
 * "NEW.", "OLD." or "". */
#define TENANTS_BYTES_SQL(table, size)                                                                       \
  "ALTER TABLE tenants ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;"                                         \
  "UPDATE tenants SET bytes = (SELECT coalesce(sum(" size(                                                   \
      "") "), 0) FROM " table " WHERE account = tenants.id);"                                                \
          "CREATE TRIGGER " table "_bytes_insert AFTER INSERT ON " table                                     \
          " BEGIN UPDATE tenants SET bytes = bytes + " size(                                                 \
              "NEW.") " WHERE id = NEW.account; END;"                                                        \
                      "CREATE TRIGGER " table "_bytes_update AFTER UPDATE ON " table                         \
                      " BEGIN UPDATE tenants SET bytes = bytes + " size("NEW.") " - " size(                  \
                          "OLD.") " WHERE id = NEW.account; END;"                                            \
                                  "CREATE TRIGGER " table "_bytes_delete AFTER DELETE ON " table             \
                                  " BEGIN UPDATE tenants SET bytes = bytes - " size(                         \
                                      "OLD.") " WHERE id = OLD.account; END;"
/* Bytes of a text column. */
#define TENANTS_TEXT_BYTES(column) "coalesce(length(CAST(" column " AS BLOB)), 0)"

/* service_t.open and close: *state is a product_t, and the service pointer of every handler. */
int product_open(const service_env_t *env, const storage_schema_t *schema, product_provision provision,
                 product_forget forget, const struct resource_kind *kind, void **state, diag_t *diag);
/* service_t.reload. */
int product_reload(void *state, const service_env_t *env, diag_t *diag);
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

/* One request that reads. Embed it at the beginning of your own struct. */
typedef struct read read_t;

/* A kind of read. Its answer is made of the database and of the request's account, path and query, and of
 * nothing else, so that it can be kept for as long as the database stays as it is. */
typedef struct read_kind {
  size_t size; /* of the struct that a read_t begins */
  /* Loop's thread: reads the query. False: it has replied. May be NULL. */
  bool (*prepare)(read_t *read);
  /* Loop's or reading thread, with its connection; may be called twice, first there, then here. 0 with
   * *document, or negative: with problem.status set that is the reply, without it the reply follows from the
   * error. SMPL_EAGAIN and SMPL_ETIMEOUT are the storage's. */
  int (*run)(storage_db_t *db, read_t *read);
} read_kind_t;

struct read {
  storage_job_t job; /* first: product.c's own, as what follows up to caller */
  const read_kind_t *kind;
  product_t *product;
  storage_stamp_t stamp; /* of the database before the read began */
  char *text;            /* of the document */
  shared_t *kept;        /* while it waited, another one has made its answer */
  turns_item_t turn;     /* while it waits, or is out on the reading thread */
  uint64_t took_ms;      /* there */
  caller_t caller;
  request_t *request;
  json_t *document;
  problem_t problem;
  const char *parameter; /* of the query, that the problem is about; NULL for none */
};

/* Answers a read whose key is good: by a kept answer, at once, or after the reading thread had it. */
void product_read(product_t *product, request_t *request, const read_kind_t *kind);

/* 1 if the account service told of this account, 0 if not (yet), negative on error. Any thread, with its
 * connection. */
int tenants_known(storage_db_t *db, const char *account);
/* For jobs, and for reads that found nothing: SMPL_OK, or an error with the problem filled. */
int tenants_require(storage_db_t *db, const char *account, problem_t *problem);

/* Of a job, before it writes: how many bytes the account has stored. */
int tenants_bytes(storage_db_t *db, const char *account, int64_t *bytes);
/* After it wrote: problem, if it has added to what is more than TENANT_BYTES_MAX now. */
int tenants_check_bytes(storage_db_t *db, const char *account, int64_t before, problem_t *problem);

/* Handlers of PUT, GET and DELETE /internal/v1/accounts/{id}, and of GET /internal/v1/accounts. Their answers
 * say in `meta` which database it is, and how much it has heard of (identity.h). */
void tenants_put(request_t *request, void *service);
void tenants_get(request_t *request, void *service);
void tenants_delete(request_t *request, void *service);
void tenants_list(request_t *request, void *service);
