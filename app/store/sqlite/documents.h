/* SPDX-License-Identifier: Apache-2.0 */
/* What configs and flags share in a SQLite file: the operations of a product, with what differs in a row of
 * its own. */
#pragma once

#include "app/store/sqlite/rows.h"
#include "app/store/sqlite/sqlite.h"

typedef struct document_kind {
  const char *type; /* "config": in sentences */
  /* Lists give ids. ?1 account, ?2 group, ?3 search, ?4 managed, ?5 how many, ?6 after how many. */
  const char *const (*list_sql)[2]; /* by sort, then direction */
  const char *count_sql;            /* the same up to ?4 */
  const char *one_sql;              /* ?1 account, ?2 id */
  row_resource resource;
  int search; /* the list's filter that searches */
  /* Writer thread. */
  int (*create)(storage_db_t *db, edit_t *edit);
  int (*replace)(storage_db_t *db, edit_t *edit);
  int (*remove)(storage_db_t *db, edit_t *edit);
  int (*provision)(storage_db_t *db, const char *account,
                   int64_t now);                        /* what an account begins with; or NULL */
  int (*forget)(storage_db_t *db, const char *account); /* all that it has */
  /* Of all ids those on the page that filter's context leaves, and their total; NULL: there are no contexts.
   */
  int (*narrow)(storage_db_t *db, const char *account, const jsonapi_list_t *list,
                const fetch_filter_t *filter, json_t **ids, int64_t *total);
} document_kind_t;

/* The service's table, with the kind as its state (sqlite_service_t.fixed). */
extern const sqlite_op_t document_ops[STORE_OPS];

/* The document as a resource. SMPL_ENOENT. */
int document_get(storage_db_t *db, const document_kind_t *kind, const char *account, const char *id,
                 json_t **resource);
/* A page of resources and, if asked for, the total; a page that ends early changes *list. SMPL_ELIMIT: more
 * had to be looked through for a context than is allowed. */
int document_list(storage_db_t *db, const document_kind_t *kind, const char *account, jsonapi_list_t *list,
                  const fetch_filter_t *filter, json_t **data, int64_t *total);
