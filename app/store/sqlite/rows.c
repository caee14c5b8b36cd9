/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/sqlite/rows.h"

#include <string.h>

#include "common/base/error.h"
#include "common/base/text.h"

enum { ROW_OVERHEAD = 256 }; /* bytes of a resource besides its texts: names of members, times */

json_t *row_json(storage_stmt_t *stmt, int column)
{
  const char *text = storage_text(stmt, column);
  return text != NULL ? json_loads(text, JSON_DECODE_ANY, NULL) : json_null();
}

json_t *row_text(storage_stmt_t *stmt, int column)
{
  return jsonapi_text(storage_text(stmt, column));
}

json_t *row_time(storage_stmt_t *stmt, int column)
{
  return jsonapi_time(storage_is_null(stmt, column) ? -1 : storage_int(stmt, column));
}

size_t row_bytes(storage_stmt_t *stmt, int column)
{
  const char *text = storage_text(stmt, column);
  return text != NULL ? strlen(text) : 0;
}

int rows_read(storage_stmt_t *stmt, row_resource resource, json_t **data)
{
  size_t bytes = 0;
  int row = 0, err = SMPL_OK;
  *data = json_array();
  while (!err && (row = storage_step(stmt)) == 1) {
    if (json_array_append_new(*data, resource(stmt, &bytes)) != 0) {
      err = SMPL_ENOMEM;
      storage_finish(stmt);
    }
  }
  if (row < 0)
    err = row;
  if (err) {
    json_decref(*data);
    *data = NULL;
  }
  return err;
}

static json_t *id_of(storage_stmt_t *stmt, size_t *bytes)
{
  (void)bytes;
  return json_string(storage_text(stmt, 0));
}

int rows_ids(storage_stmt_t *stmt, json_t **ids)
{
  return rows_read(stmt, id_of, ids);
}

/* One row more, if it is still there: another process may have removed it since its id was read. */
static int append_row(const rows_by_id_t *rows, const char *id, json_t *data, size_t *bytes)
{
  storage_stmt_t *stmt =
      storage_query(rows->db, rows->one_sql, STORAGE_ARGS(STORAGE_TEXT(rows->account), STORAGE_TEXT(id)));
  int row = storage_step(stmt);
  if (row != 1)
    return row;
  *bytes += ROW_OVERHEAD;
  int err = json_array_append_new(data, rows->resource(stmt, bytes)) == 0 ? SMPL_OK : SMPL_ENOMEM;
  storage_finish(stmt);
  return err;
}

/* Ends the page before its last row. */
static void shorten(jsonapi_list_t *list, json_t *data)
{
  jsonapi_list_shorten(list, (int64_t)json_array_size(data) - 1);
  while (json_array_size(data) > (size_t)list->size)
    json_array_remove(data, json_array_size(data) - 1);
}

int rows_read_page(const rows_by_id_t *rows, const json_t *ids, jsonapi_list_t *list, json_t **data)
{
  size_t bytes = 0;
  int err = SMPL_OK;
  *data = json_array();
  for (size_t i = 0; !err && i < json_array_size(ids); i++) {
    err = append_row(rows, json_string_value(json_array_get(ids, i)), *data, &bytes);
    if (!err && bytes > JSONAPI_LIST_BYTES_MAX && json_array_size(*data) > 1) {
      shorten(list, *data);
      break;
    }
  }
  if (err) {
    json_decref(*data);
    *data = NULL;
  }
  return err;
}

int row_read(storage_stmt_t *stmt, row_resource resource, json_t **out)
{
  size_t bytes = 0;
  *out = NULL;
  int row = storage_step(stmt);
  if (row != 1)
    return row == 0 ? SMPL_ENOENT : row;
  *out = resource(stmt, &bytes);
  storage_finish(stmt);
  return *out != NULL ? SMPL_OK : SMPL_ENOMEM;
}

const char *rows_search(const char *text, char *buf)
{
  if (text == NULL)
    return NULL;
  size_t len = strnlen(text, JSONAPI_SEARCH_MAX);
  for (size_t i = 0; i < len; i++)
    buf[i] = text_lower(text[i]);
  buf[len] = '\0';
  return buf;
}
