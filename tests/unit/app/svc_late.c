/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/app/svc_late.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "common/base/error.h"

/* One call on its way. */
typedef struct way {
  struct way *next;
  struct late *late;
  store_call_t *call;
  void (*done)(store_call_t *call, int err); /* the caller's */
  bool answered;
  int err;
} way_t;

typedef struct late {
  store_t store; /* first */
  store_t *inner;
  uv_async_t turn;
  bool held, closing;
  way_t *out;           /* with the inner store */
  way_t *first, **last; /* to be handed on, or back; in order */
  void (*closed)(void *ctx);
  void *closed_ctx;
} late_t;

static void push(late_t *l, way_t *way)
{
  way->next = NULL;
  *l->last = way;
  l->last = &way->next;
  uv_async_send(&l->turn);
}

/* The inner store knows the call by its address alone. */
static way_t *take_out(late_t *l, const store_call_t *call)
{
  way_t **at = &l->out;
  while ((*at)->call != call)
    at = &(*at)->next;
  way_t *way = *at;
  *at = way->next;
  return way;
}

/* The inner store's calls find their late store here: there is one at a time. */
static late_t *the_late;

static void on_inner(store_call_t *call, int err)
{
  way_t *way = take_out(the_late, call);
  way->answered = true;
  way->err = err;
  push(way->late, way);
}

static void hand_on(late_t *l, way_t *way)
{
  way->next = l->out;
  l->out = way;
  way->done = way->call->done;
  way->call->done = on_inner;
  store_ask(l->inner, way->call);
}

static void hand_back(late_t *l, way_t *way)
{
  way->call->done = way->done;
  way->call->store = &l->store;
  store_answer(way->call, way->err);
  free(way);
}

static void on_inner_closed(void *ctx)
{
  late_t *l = ctx;
  void (*closed)(void *) = l->closed;
  void *closed_ctx = l->closed_ctx;
  the_late = NULL;
  free(l);
  closed(closed_ctx);
}

static void on_turn_closed(uv_handle_t *handle)
{
  late_t *l = handle->data;
  store_close(l->inner, on_inner_closed, l);
}

/* What was there when the turn began: nothing is handed on and back in one. */
static void on_turn(uv_async_t *turn)
{
  late_t *l = turn->data;
  way_t *now = l->first, *next;
  l->first = NULL;
  l->last = &l->first;
  for (; now != NULL; now = next) {
    next = now->next;
    if (now->answered)
      hand_back(l, now);
    else if (l->held)
      push(l, now);
    else
      hand_on(l, now);
  }
  if (l->closing && l->store.calls == 0)
    uv_close((uv_handle_t *)&l->turn, on_turn_closed);
}

static void add(late_t *l, store_call_t *call, bool answered, int err)
{
  way_t *way = calloc(1, sizeof *way);
  assert_non_null(way);
  *way = (way_t){.late = l, .call = call, .done = call->done, .answered = answered, .err = err};
  push(l, way);
}

static void ask(store_t *store, store_call_t *call)
{
  add((late_t *)store, call, false, SMPL_OK);
}

static bool ask_at_once(store_t *store, store_call_t *call)
{
  (void)store;
  (void)call;
  return false;
}

static void pass(store_t *store, store_call_t *call, int err)
{
  add((late_t *)store, call, true, err);
}

static bool change(store_t *store, store_change_t *out)
{
  return store_change(((late_t *)store)->inner, out);
}

static size_t writes(const store_t *store)
{
  return store_writes(((const late_t *)store)->inner);
}

static void close_late(store_t *store, void (*done)(void *ctx), void *ctx)
{
  late_t *l = (late_t *)store;
  l->closed = done;
  l->closed_ctx = ctx;
  l->closing = true;
  l->held = false;
  uv_async_send(&l->turn);
}

static const store_kind_t kind = {.ask = ask,
                                  .ask_at_once = ask_at_once,
                                  .pass = pass,
                                  .change = change,
                                  .writes = writes,
                                  .close = close_late};

store_t *late_new(uv_loop_t *loop, store_t *inner)
{
  late_t *l = calloc(1, sizeof *l);
  assert_true(l != NULL && the_late == NULL);
  l->store.kind = &kind;
  l->inner = inner;
  l->last = &l->first;
  assert_int_equal(uv_async_init(loop, &l->turn, on_turn), 0);
  l->turn.data = l;
  the_late = l;
  return &l->store;
}

void late_hold(store_t *late, bool held)
{
  ((late_t *)late)->held = held;
}

size_t late_waiting(const store_t *late)
{
  size_t n = 0;
  for (const way_t *way = ((const late_t *)late)->first; way != NULL; way = way->next)
    n += !way->answered;
  return n;
}
