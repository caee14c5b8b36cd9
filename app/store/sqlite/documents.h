/* SPDX-License-Identifier: Apache-2.0 */
/* What configs and flags share in a SQLite file: how they are given, and the operations that are the same. */
#pragma once

#include "app/store/sqlite/sqlite.h"

/* Rows of both tables of operations. */
#define DOCUMENT_OPS                                                                                         \
  [STORE_CHECK] = {OP_LOOKUP, .run = sqlite_check},                                                          \
  [STORE_TENANT_GET] = {OP_LOOKUP, .fetch = document_tenant},                                                \
  [STORE_TENANT_LIST] = {OP_LOOKUP, .fetch = document_tenants}

typedef int (*document_read)(storage_db_t *db, const char *account, const char *id, json_t **resource);

/* The one of that id, as a document; type is for the sentence that says it is not there. */
int document_get(storage_db_t *db, fetch_t *fetch, const char *type, document_read get);
/* The end of a list: the page as a document, unless err. data's reference is taken over. */
int document_page(storage_db_t *db, fetch_t *fetch, int err, json_t *data, const jsonapi_list_t *list,
                  int64_t total);

int document_tenant(storage_db_t *db, fetch_t *fetch);
int document_tenants(storage_db_t *db, fetch_t *fetch);
