/* SPDX-License-Identifier: Apache-2.0 */
#include "app/services/reading.h"

#include <stdlib.h>

#include "app/services/reply.h"
#include "common/base/error.h"
#include "common/base/text.h"

reading_t *reading_new(request_t *request, void *service, store_op_t op, const char *account)
{
  reading_t *r = request_alloc(request, sizeof *r);
  if (r == NULL) {
    reply_storage_error(request, SMPL_ENOMEM);
    return NULL;
  }
  r->request = request;
  r->service = service;
  r->fetch.call.op = op;
  r->fetch.id = request_parameter(request, "id");
  if (account != NULL) {
    text_copy(r->fetch.account, sizeof r->fetch.account, account);
    request_is_of(request, account);
  }
  return r;
}

static void refuse(request_t *request, problem_t *problem)
{
  problem_reply(request, problem);
  free(problem);
}

static void done(store_call_t *call, int err)
{
  reading_t *r = (reading_t *)call; /* gone once it is answered */
  if (!err && r->found != NULL)
    r->found(r);
  else if (!err)
    request_reply_text(r->request, 200, r->fetch.text);
  else if (r->fetch.problem != NULL)
    refuse(r->request, r->fetch.problem);
  else if (err == SMPL_ENOENT && r->missing != NULL)
    r->missing(r);
  else
    reply_read_error(r->request, err);
}

void reading_start(store_t *store, reading_t *r)
{
  r->fetch.call.done = done;
  r->fetch.call.job.key = request_share(r->request);
  store_ask(store, &r->fetch.call);
}

void reading_list(store_t *store, request_t *request, store_op_t op, const char *account,
                  const jsonapi_list_t *asked)
{
  reading_t *r = reading_new(request, NULL, op, account);
  if (r == NULL)
    return;
  r->fetch.list = *asked;
  reading_start(store, r);
}
