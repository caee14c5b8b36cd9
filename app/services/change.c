/* SPDX-License-Identifier: Apache-2.0 */
#include "app/services/change.h"

#include <stdlib.h>

#include "app/http/json_text.h"
#include "app/services/jsonapi.h"
#include "common/base/clock.h"
#include "common/base/error.h"

void *change_new(request_t *request, size_t size, void *service, const caller_t *caller)
{
  change_t *c = request_alloc(request, size);
  if (c == NULL) {
    reply_storage_error(request, SMPL_ENOMEM);
    return NULL;
  }
  c->request = request;
  c->service = service;
  c->now = (int64_t)clock_wall_ms();
  if (caller != NULL) {
    c->caller = *caller;
    request_is_of(request, caller->account);
  }
  return c;
}

static void on_check(void *ctx)
{
  change_t *c = ctx;
  c->job.err = c->check(c);
}

static void on_checked(void *ctx)
{
  change_t *c = ctx;
  if (!c->job.err)
    change_start(c->storage, c);
  else if (c->problem.status != 0)
    problem_reply(c->request, &c->problem);
  else
    reply_storage_error(c->request, c->job.err);
}

void change_check(storage_t *storage, change_t *c, int (*check)(change_t *c))
{
  c->storage = storage;
  c->check = check;
  request_work(c->request, on_check, on_checked, c);
}

/* Big documents are made and freed here, not on the loop. */
static int run(storage_db_t *db, storage_job_t *job)
{
  change_t *c = (change_t *)job;
  int err = c->run(db, c);
  /* No commit without a reply to tell of it. */
  if (!err && c->status != 204 && c->document == NULL)
    err = SMPL_ENOMEM;
  if (c->committed != NULL && !err)
    return SMPL_OK;
  if (!err && c->document != NULL && (c->text = json_text(c->document)) == NULL)
    err = SMPL_ENOMEM;
  json_decref(c->document);
  c->document = NULL;
  return err;
}

static void done(storage_job_t *job, int err)
{
  change_t *c = (change_t *)job;
  char *text = c->text;
  if (!err && c->committed != NULL) {
    c->committed(c);
  } else if (!err && text != NULL) {
    request_reply_text(c->request, c->status, text);
  } else if (!err) {
    request_reply_empty(c->request, c->status);
  } else {
    free(text);
    json_decref(c->document);
    if (c->problem.status != 0)
      problem_reply(c->request, &c->problem);
    else
      reply_storage_error(c->request, err);
  }
}

void change_start(storage_t *storage, change_t *c)
{
  c->job.run = run;
  c->job.done = done;
  c->job.key = request_share(c->request);
  int err = storage_write(storage, &c->job);
  if (err)
    reply_storage_error(c->request, err);
}
