#include "app/services/rows.h"

#include <string.h>

#include "common/error.h"
#include "common/text.h"

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

int rows_read(storage_stmt_t *stmt, row_resource resource, json_t **data)
{
  size_t bytes = 0;
  int row, err = SMPL_OK;
  *data = json_array();
  while ((row = storage_step(stmt)) == 1) {
    if (json_array_append_new(*data, resource(stmt, &bytes)) != 0)
      err = SMPL_ENOMEM;
    else if (bytes > JSONAPI_LIST_BYTES_MAX)
      err = SMPL_ELIMIT;
    if (err) {
      storage_finish(stmt);
      break;
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

bool rows_bool_filter(request_t *request, const char *name, const char *text, int *out)
{
  bool value = false;
  *out = -1;
  if (text == NULL)
    return true;
  if (jsonapi_bool(text, &value)) {
    request_reply_error(request, 400, "Invalid query parameter", NULL, name, "expected true or false");
    return false;
  }
  *out = value;
  return true;
}

void rows_reply(request_t *request, int err, json_t *data, const jsonapi_list_t *list, int64_t total)
{
  if (err == SMPL_ELIMIT)
    request_reply_error(request, 400, "Page too large", NULL, "page[size]", "this page would be above %d MiB",
                        JSONAPI_LIST_BYTES_MAX >> 20);
  else if (err)
    reply_storage_error(request, err);
  else
    jsonapi_reply(request, 200, jsonapi_list_document(data, list, total));
}
