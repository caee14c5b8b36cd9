/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/error.h"
#include "common/base/text.h"

const place_t place_data = {NULL, "data", 0};
const place_t place_attributes = {&place_data, "attributes", 0};

static const char *title_of(int status)
{
  switch (status) {
  case 400:
    return "Validation error";
  case 401:
    return "Unauthorized";
  case 403:
    return "Forbidden";
  case 404:
    return "Not found";
  case 409:
    return "Conflict";
  case 503:
    return "Service unavailable";
  default:
    return "Internal error";
  }
}

/* One reference token (RFC 6901 §3): "~" and "/" of a member are written ~0 and ~1. */
static size_t write_token(char *out, size_t cap, const place_t *place)
{
  size_t used = 0;
  if (place->member == NULL)
    return (size_t)snprintf(out, cap, "/%zu", place->index);
  out[used++] = '/';
  for (const char *s = place->member; *s != '\0' && used + 3 < cap; s++) {
    if (*s == '~' || *s == '/') {
      out[used++] = '~';
      out[used++] = *s == '~' ? '0' : '1';
    } else {
      out[used++] = *s;
    }
  }
  out[used] = '\0';
  return used;
}

static size_t write_pointer(char *out, size_t cap, const place_t *place)
{
  size_t used = place->parent != NULL ? write_pointer(out, cap, place->parent) : 0;
  char token[2 * PROBLEM_DETAIL_MAX];
  size_t len = write_token(token, sizeof token, place);
  if (len >= cap - used)
    return used;
  memcpy(out + used, token, len + 1);
  return used + len;
}

int problem_at(problem_t *problem, int status, const place_t *place, const char *fmt, ...)
{
  char raw[PROBLEM_DETAIL_MAX];
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(raw, sizeof raw, fmt, ap);
  va_end(ap);
  problem->status = status;
  problem->title = title_of(status);
  problem->pointer[0] = '\0';
  if (place != NULL)
    write_pointer(problem->pointer, sizeof problem->pointer, place);
  size_t len = n < 0 ? 0 : (size_t)n < sizeof raw ? (size_t)n : sizeof raw - 1;
  text_printable(problem->detail, sizeof problem->detail, raw, len);
  return SMPL_EINVAL;
}
