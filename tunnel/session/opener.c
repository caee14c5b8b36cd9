/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/session/opener.h"

#include <pthread.h>
#include <stdlib.h>

struct opener {
  uv_async_t done;
  pthread_t thread;
  const session_how_t *how;
  memory_t *memory;
  opener_cb cb;
  void *ctx;
  opened_t opened;
};

static void *run(void *arg)
{
  opener_t *o = arg;
  o->opened.code = session_open(o->how, o->memory, &o->opened.session, &o->opened.diag);
  uv_async_send(&o->done);
  return NULL;
}

static void on_closed(uv_handle_t *handle)
{
  free(handle->data);
}

static void on_done(uv_async_t *async)
{
  opener_t *o = async->data;
  pthread_join(o->thread, NULL);
  o->cb(o->ctx, &o->opened);
  uv_close((uv_handle_t *)&o->done, on_closed);
}

opener_t *opener_start(uv_loop_t *loop, const session_how_t *how, memory_t *memory, opener_cb cb, void *ctx)
{
  opener_t *o = calloc(1, sizeof *o);
  if (!o)
    return NULL;
  o->how = how;
  o->memory = memory;
  o->cb = cb;
  o->ctx = ctx;
  o->done.data = o;
  if (uv_async_init(loop, &o->done, on_done) != 0) {
    free(o);
    return NULL;
  }
  o->done.data = o;
  if (pthread_create(&o->thread, NULL, run, o) != 0) {
    uv_close((uv_handle_t *)&o->done, on_closed);
    return NULL;
  }
  return o;
}
