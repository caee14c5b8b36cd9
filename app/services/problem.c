/* SPDX-License-Identifier: Apache-2.0 */
#include "app/services/problem.h"

#include <stdio.h>
#include <string.h>

#include "app/services/storage.h"
#include "common/base/error.h"
#include "common/base/log.h"
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

void problem_reply(request_t *request, const problem_t *problem)
{
  if (problem->status == 503)
    request_set_header(request, "Retry-After", "1");
  if (problem->status == 401)
    request_set_header(request, "WWW-Authenticate", "Bearer");
  request_reply_error(request, problem->status, problem->title,
                      problem->pointer[0] != '\0' ? problem->pointer : NULL, NULL, "%s", problem->detail);
}

void reply_not_found(request_t *request, const char *what, const char *id)
{
  problem_t problem;
  problem_at(&problem, 404, NULL, "there is no %s '%s' in this account", what, id);
  problem_reply(request, &problem);
}

void reply_unavailable(request_t *request, const char *fmt, ...)
{
  char detail[PROBLEM_DETAIL_MAX];
  problem_t problem;
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(detail, sizeof detail, fmt, ap);
  va_end(ap);
  problem_at(&problem, 503, NULL, "%s", detail);
  problem_reply(request, &problem);
}

static void reply_full(request_t *request)
{
  char seconds[16];
  snprintf(seconds, sizeof seconds, "%d", RETRY_AFTER_FULL_SECONDS);
  request_set_header(request, "Retry-After", seconds);
  request_reply_error(request, 503, "Storage full", NULL, NULL,
                      "the service has no room left on its disk; nothing was changed");
}

void reply_storage_error(request_t *request, int err)
{
  if (err == SMPL_ELIMIT) {
    reply_unavailable(request, "too many writes are waiting; try again");
  } else if (err == SMPL_EBUSY || err == SMPL_ECLOSED) {
    reply_unavailable(request, "the database is busy; try again");
  } else if (err == SMPL_EFULL) {
    reply_full(request);
  } else if (err == SMPL_ETIMEOUT) {
    log_warn("request %s: storage: given up after %d ms", request_id(request), STORAGE_JOB_MS);
    reply_unavailable(request, "this change took too long and was given up; nothing was changed");
  } else {
    problem_t problem;
    log_error("request %s: storage: %s", request_id(request), smpl_strerror(err));
    problem_at(&problem, 500, NULL, "the request failed here; nothing was changed");
    problem_reply(request, &problem);
  }
}
