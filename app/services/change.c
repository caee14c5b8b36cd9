/* SPDX-License-Identifier: Apache-2.0 */
#include "app/services/change.h"

#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/error.h"

void *change_new(request_t *request, size_t size, void *service, store_op_t op, const caller_t *caller)
{
  change_t *c = request_alloc(request, size);
  if (c == NULL) {
    reply_storage_error(request, SMPL_ENOMEM);
    return NULL;
  }
  c->request = request;
  c->service = service;
  c->edit.call.op = op;
  c->edit.id = request_parameter(request, "id");
  c->edit.now = (int64_t)clock_wall_ms();
  if (caller != NULL) {
    memcpy(c->edit.account, caller->account, sizeof c->edit.account);
    request_is_of(request, caller->account);
  }
  return c;
}

static void on_check(void *ctx)
{
  change_t *c = ctx;
  c->checked = c->check(c);
}

static void refuse(change_t *c, int err)
{
  if (c->edit.problem.status != 0)
    problem_reply(c->request, &c->edit.problem);
  else
    reply_storage_error(c->request, err);
}

static void on_checked(void *ctx)
{
  change_t *c = ctx;
  if (!c->checked) {
    change_start(c->store, c);
    return;
  }
  if (c->ended != NULL)
    c->ended(c);
  refuse(c, c->checked);
}

void change_check(store_t *store, change_t *c, int (*check)(change_t *c))
{
  c->store = store;
  c->check = check;
  request_work(c->request, on_check, on_checked, c);
}

static void done(store_call_t *call, int err)
{
  change_t *c = (change_t *)call;
  edit_t *e = &c->edit;
  if (c->ended != NULL)
    c->ended(c);
  if (!err && c->committed != NULL) {
    c->committed(c);
  } else if (!err && e->text != NULL) {
    request_reply_text(c->request, e->status, e->text);
  } else if (!err) {
    request_reply_empty(c->request, e->status);
  } else {
    free(e->text);
    json_decref(e->document);
    refuse(c, err);
  }
}

void change_start(store_t *store, change_t *c)
{
  c->edit.call.done = done;
  c->edit.call.job.key = request_share(c->request);
  store_ask(store, &c->edit.call);
}
