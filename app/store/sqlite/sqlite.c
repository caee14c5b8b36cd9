/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/sqlite/sqlite.h"

#include <stdlib.h>

#include "app/store/sqlite/shares.h"
#include "app/store/sqlite/storage_db.h"
#include "common/base/clock.h"
#include "common/base/error.h"

typedef struct sqlite_store {
  store_t store; /* first */
  const sqlite_service_t *service;
  storage_t *storage;
  shares_t *shares; /* of the loop's time, by account */
  void *state;
  void (*closed)(void *ctx);
  void *closed_ctx;
} sqlite_store_t;

static sqlite_store_t *of(const store_t *store)
{
  return (sqlite_store_t *)(uintptr_t)store;
}

static store_call_t *call_of(store_job_t *job)
{
  return (store_call_t *)((char *)job - offsetof(store_call_t, job));
}

static const sqlite_op_t *op_of(const sqlite_store_t *s, const store_call_t *call)
{
  return &s->service->ops[call->op];
}

/* With whichever connection. */
static int perform(const sqlite_store_t *s, storage_db_t *db, store_call_t *call)
{
  const sqlite_op_t *op = op_of(s, call);
  if (op->edit != NULL) {
    edit_t *e = (edit_t *)call;
    return edit_end(e, op->edit(db, e));
  }
  if (op->fetch != NULL) {
    fetch_t *f = (fetch_t *)call;
    fetch_begin(f);
    return fetch_end(f, op->fetch(db, f));
  }
  return op->run(db, s->state, call);
}

/* Writer or reading thread. */
static int run_there(storage_db_t *db, storage_job_t *job)
{
  store_call_t *call = call_of(job);
  return perform(of(call->store), db, call);
}

static void done_there(storage_job_t *job, int err)
{
  store_call_t *call = call_of(job);
  call->took_ms = job->took_ms;
  store_answer(call, err);
}

static void queue(sqlite_store_t *s, store_call_t *call, bool writes)
{
  call->job.run = run_there;
  call->job.done = done_there;
  int err = writes ? storage_write(s->storage, &call->job) : storage_read(s->storage, &call->job);
  if (err)
    store_answer(call, err);
}

/* False: it takes too long for the loop. */
static bool answer_here(sqlite_store_t *s, store_call_t *call)
{
  int err = perform(s, storage_reader_timed(s->storage), call);
  if (err == SMPL_EAGAIN)
    return false;
  store_answer(call, err);
  return true;
}

static void ask(store_t *store, store_call_t *call)
{
  sqlite_store_t *s = of(store);
  sqlite_how_t how = op_of(s, call)->how;
  if (how == OP_NONE)
    store_answer(call, SMPL_EINVAL);
  else if (how != OP_LOOKUP || !answer_here(s, call))
    queue(s, call, how == OP_WRITE);
}

/* Reads that took the loop's time are counted against their account. */
static bool ask_at_once(store_t *store, store_call_t *call)
{
  sqlite_store_t *s = of(store);
  const sqlite_op_t *op = op_of(s, call);
  const fetch_t *f = (const fetch_t *)call;
  if (op->how != OP_READ || shares_used_up(s->shares, f->account))
    return false;
  char account[UUID_TEXT_MAX];
  memcpy(account, f->account, sizeof account);
  uint64_t started = clock_mono_us();
  int err = perform(s, storage_reader_bounded(s->storage), call);
  shares_count(s->shares, account, clock_mono_us() - started);
  if (err == SMPL_EAGAIN)
    return false;
  store_answer(call, err);
  return true;
}

static void pass(store_t *store, store_call_t *call, int err)
{
  call->job.done = done_there;
  call->job.reads = true;
  storage_refuse(of(store)->storage, &call->job, err);
}

static bool change(store_t *store, store_change_t *out)
{
  return storage_change(of(store)->storage, out);
}

static size_t writes(const store_t *store)
{
  return storage_pending(of(store)->storage);
}

static void free_store(sqlite_store_t *s)
{
  if (s->service->state_free != NULL)
    s->service->state_free(s->state);
  shares_free(s->shares);
  free(s);
}

static void on_closed(void *ctx)
{
  sqlite_store_t *s = ctx;
  void (*closed)(void *) = s->closed;
  void *closed_ctx = s->closed_ctx;
  free_store(s);
  closed(closed_ctx);
}

static void close_store(store_t *store, void (*done)(void *ctx), void *ctx)
{
  sqlite_store_t *s = of(store);
  s->closed = done;
  s->closed_ctx = ctx;
  storage_close(s->storage, on_closed, s);
}

static const store_kind_t kind = {.ask = ask,
                                  .ask_at_once = ask_at_once,
                                  .pass = pass,
                                  .change = change,
                                  .writes = writes,
                                  .close = close_store};

int sqlite_open(uv_loop_t *loop, const char *path, const char *revocations, const sqlite_service_t *service,
                store_t **out, diag_t *diag)
{
  *out = NULL;
  sqlite_store_t *s = calloc(1, sizeof *s);
  if (s == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  s->store.kind = &kind;
  s->service = service;
  s->state = (void *)(uintptr_t)service->fixed;
  int err = SMPL_OK;
  if ((s->shares = shares_new()) == NULL ||
      (service->state_new != NULL && service->state_new(revocations, &s->state)))
    err = diag_fail(diag, SMPL_ENOMEM, "out of memory");
  if (!err)
    err = storage_open_at(loop, path, service->schema, service->at_start, s->state, &s->storage, diag);
  if (err)
    free_store(s);
  else
    *out = &s->store;
  return err;
}

int sqlite_check(storage_db_t *db, void *state, store_call_t *call)
{
  (void)state;
  (void)call;
  return storage_db_check(db);
}

storage_t *sqlite_storage(store_t *store)
{
  return of(store)->storage;
}
