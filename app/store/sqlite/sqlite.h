/* SPDX-License-Identifier: Apache-2.0 */
/* The store (app/store/store.h) in one SQLite file, for one machine: storage.h has its threads and queues.
 * Each service has a table with a row for each operation that it asks for. */
#pragma once

#include "app/store/edit.h"
#include "app/store/fetch.h"
#include "app/store/sqlite/storage.h"

/* Where an operation runs. */
typedef enum sqlite_how {
  OP_NONE,   /* not one of this service's */
  OP_WRITE,  /* writer thread, in a transaction */
  OP_LOOKUP, /* a few rows by their keys: on the loop, unless that takes more than STORAGE_LOOP_MS */
  OP_READ, /* a fetch_t of unknown length: reading thread, or on the loop where store_ask_at_once allows it */
} sqlite_how_t;

/* One of the three functions. A read that ends with SMPL_EAGAIN is run again on the reading thread. */
typedef struct sqlite_op {
  sqlite_how_t how;
  int (*edit)(storage_db_t *db, edit_t *edit);
  int (*fetch)(storage_db_t *db, fetch_t *fetch);
  int (*run)(storage_db_t *db, void *state, store_call_t *call);
} sqlite_op_t;

typedef struct sqlite_service {
  const storage_schema_t *schema;
  const sqlite_op_t *ops; /* by store_op_t */
  /* What run is given besides: this, or what state_new makes. revocations: a path, may be NULL. */
  const void *fixed;
  int (*state_new)(const char *revocations, void **state);
  int (*at_start)(storage_db_t *db, void *state, diag_t *diag); /* as of storage_open_at */
  void (*state_free)(void *state);
} sqlite_service_t;

/* As storage_open. */
int sqlite_open(uv_loop_t *loop, const char *path, const char *revocations, const sqlite_service_t *service,
                store_t **out, diag_t *diag);

/* STORE_CHECK. */
int sqlite_check(storage_db_t *db, void *state, store_call_t *call);

/* Below the store: for its tests. */
storage_t *sqlite_storage(store_t *store);
