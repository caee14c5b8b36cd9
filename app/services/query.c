/* SPDX-License-Identifier: Apache-2.0 */
#include "app/services/query.h"

struct list_reading {
  request_t *request;
  const jsonapi_list_spec_t *spec;
  jsonapi_list_t *list;
};

static int on_parameter(void *ctx, const char *name, const char *value)
{
  struct list_reading *r = ctx;
  char detail[PROBLEM_DETAIL_MAX];
  int err = jsonapi_list_parameter(r->spec, r->list, name, value, detail);
  if (err)
    request_reply_error(r->request, 400, "Invalid query parameter", NULL, name, "%s", detail);
  return err;
}

bool query_list(request_t *request, const jsonapi_list_spec_t *spec, jsonapi_list_t *list)
{
  struct list_reading r = {request, spec, list};
  jsonapi_list_defaults(spec, list);
  return request_query_each(request, on_parameter, &r) == 0;
}

bool query_bool(request_t *request, const char *name, const char *text, int *out)
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
