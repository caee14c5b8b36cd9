/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/store.h"

#include "common/base/error.h"

void store_answer(store_call_t *call, int err)
{
  call->store->calls--;
  call->done(call, err);
}

/* The reason why it cannot be taken now, if there is one. */
static int take(store_t *store, store_call_t *call)
{
  if (store->closing)
    return SMPL_ECLOSED;
  if (store->calls == STORE_CALLS_MAX)
    return SMPL_ELIMIT;
  call->store = store;
  call->took_ms = 0;
  store->calls++;
  return SMPL_OK;
}

void store_ask(store_t *store, store_call_t *call)
{
  int err = take(store, call);
  if (err)
    call->done(call, err);
  else
    store->kind->ask(store, call);
}

bool store_ask_at_once(store_t *store, store_call_t *call)
{
  if (take(store, call))
    return false;
  bool answered = store->kind->ask_at_once(store, call);
  if (!answered)
    store->calls--;
  return answered;
}

void store_pass(store_t *store, store_call_t *call, int err)
{
  call->store = store;
  store->calls++;
  store->kind->pass(store, call, err);
}

bool store_change(store_t *store, store_change_t *out)
{
  return store->kind->change(store, out);
}

size_t store_writes(const store_t *store)
{
  return store->kind->writes(store);
}

void store_close(store_t *store, void (*done)(void *ctx), void *ctx)
{
  store->closing = true;
  store->kind->close(store, done, ctx);
}
