/* SPDX-License-Identifier: Apache-2.0 */
/* Rows as JSON: what the stores of the services share. */
#pragma once

#include <jansson.h>

#include "app/store/jsonapi.h"
#include "app/store/sqlite/storage.h"

/* Columns as attributes (new references). Null for NULL; row_json gives NULL for text that is no JSON. */
json_t *row_json(storage_stmt_t *stmt, int column);
json_t *row_text(storage_stmt_t *stmt, int column);
json_t *row_time(storage_stmt_t *stmt, int column);

/* Bytes of a text column; 0 for NULL. */
size_t row_bytes(storage_stmt_t *stmt, int column);

/* A present row as a resource; adds the size of its texts to *bytes. NULL when out of memory. */
typedef json_t *(*row_resource)(storage_stmt_t *stmt, size_t *bytes);

/* All rows of the statement into *data: for lists whose rows are small. */
int rows_read(storage_stmt_t *stmt, row_resource resource, json_t **data);

/* A list of the statement's first column: strings. */
int rows_ids(storage_stmt_t *stmt, json_t **ids);

/* Rows that may be big, one by one by their ids, until there are no more or JSONAPI_LIST_BYTES_MAX of text is
 * reached; at least one. A page that ends early becomes a page of a smaller size that begins at the same row
 * (jsonapi_list_shorten), so *list changes. */
typedef struct rows_by_id {
  storage_db_t *db;
  const char *account;
  const char *one_sql; /* ?1 account, ?2 id */
  row_resource resource;
} rows_by_id_t;

int rows_read_page(const rows_by_id_t *rows, const json_t *ids, jsonapi_list_t *list, json_t **data);
/* The one row, as a resource. SMPL_ENOENT. */
int row_read(storage_stmt_t *stmt, row_resource resource, json_t **out);

/* filter[search] as the lists match it: lower-case ASCII. buf of JSONAPI_SEARCH_MAX + 1 bytes; NULL stays
 * NULL. */
const char *rows_search(const char *text, char *buf);
