/* SPDX-License-Identifier: Apache-2.0 */
#include "app/accounts/revocation_writer.h"

#include <stdlib.h>

#include "app/store/accounts.h"
#include "common/base/error.h"

struct revocation_writer {
  store_t *store;
  uv_timer_t timer;
  revocations_look_t look;
  revocations_write_t write;
  bool busy, stopping;
  bool compared; /* the first of all writes has been made */
  void (*stopped)(void *ctx);
  void *stopped_ctx;
};

static void look(revocation_writer_t *w);

static void on_written(store_call_t *call, int err)
{
  revocation_writer_t *w = (revocation_writer_t *)((char *)call - offsetof(revocation_writer_t, write));
  w->busy = false;
  w->compared = w->compared || !err;
  if (!err && w->write.more)
    look(w);
}

static void on_looked(store_call_t *call, int err)
{
  revocation_writer_t *w = (revocation_writer_t *)((char *)call - offsetof(revocation_writer_t, look));
  w->busy = false;
  if (w->stopping || (w->compared && (err || !w->look.missing)))
    return;
  w->busy = true;
  w->write.first = !w->compared;
  w->write.call = (store_call_t){.op = STORE_REVOCATIONS_WRITE, .done = on_written};
  store_ask(w->store, &w->write.call);
}

static void look(revocation_writer_t *w)
{
  if (w->busy || w->stopping)
    return;
  w->busy = true;
  w->look.call = (store_call_t){.op = STORE_REVOCATIONS_LOOK, .done = on_looked};
  store_ask(w->store, &w->look.call);
}

static void on_timer(uv_timer_t *timer)
{
  look(timer->data);
}

int revocation_writer_new(uv_loop_t *loop, store_t *store, revocation_writer_t **out)
{
  revocation_writer_t *w = calloc(1, sizeof *w);
  *out = w;
  if (w == NULL)
    return SMPL_ENOMEM;
  w->store = store;
  uv_timer_init(loop, &w->timer);
  w->timer.data = w;
  uv_timer_start(&w->timer, on_timer, 0, REVOCATIONS_RETRY_MS);
  return SMPL_OK;
}

static void on_timer_closed(uv_handle_t *handle)
{
  revocation_writer_t *w = handle->data;
  w->stopped(w->stopped_ctx);
}

void revocation_writer_stop(revocation_writer_t *w, void (*done)(void *ctx), void *ctx)
{
  w->stopping = true;
  w->stopped = done;
  w->stopped_ctx = ctx;
  uv_close((uv_handle_t *)&w->timer, on_timer_closed);
}

void revocation_writer_free(revocation_writer_t *w)
{
  free(w);
}
