/* SPDX-License-Identifier: Apache-2.0 */
#include "app/services/reply.h"

#include <stdarg.h>
#include <stdio.h>

#include "app/store/store.h"
#include "common/base/error.h"
#include "common/base/log.h"

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
    log_warn("request %s: storage: given up after %d ms", request_id(request), STORE_CALL_MS);
    reply_unavailable(request, "this change took too long and was given up; nothing was changed");
  } else {
    problem_t problem;
    log_error("request %s: storage: %s", request_id(request), smpl_strerror(err));
    problem_at(&problem, 500, NULL, "the request failed here; nothing was changed");
    problem_reply(request, &problem);
  }
}

void reply_read_error(request_t *request, int err)
{
  if (err == SMPL_ELIMIT)
    reply_unavailable(request, "too many reads are waiting; try again");
  else if (err == SMPL_ETIMEOUT)
    reply_unavailable(request, "this read took too long and was given up; try again");
  else
    reply_storage_error(request, err);
}

void jsonapi_reply(request_t *request, int status, json_t *document)
{
  if (document != NULL)
    request_reply(request, status, document);
  else
    reply_storage_error(request, SMPL_ENOMEM);
}
