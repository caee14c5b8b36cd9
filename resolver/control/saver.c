/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/control/saver.h"

#include <stdlib.h>

struct saver {
  uv_loop_t *loop;
  uv_work_t work;
  uv_timer_t retry;
  keeper_t *keeper;
  const snapshot_t *served;  /* NULL: none yet */
  const snapshot_t *reading; /* the thread's; NULL: none runs */
  snapshot_t *retired;       /* reading, when somebody else is served meanwhile */
  bool closing;
};

saver_t *saver_new(uv_loop_t *loop, keeper_t *keeper)
{
  saver_t *s = calloc(1, sizeof *s);
  if (s == NULL) {
    keeper_free(keeper);
    return NULL;
  }
  s->loop = loop;
  s->keeper = keeper;
  uv_timer_init(loop, &s->retry);
  s->retry.data = s;
  s->work.data = s;
  return s;
}

static void save_in_thread(uv_work_t *work)
{
  saver_t *s = work->data;
  keeper_save(s->keeper, s->reading);
}

static void begin(saver_t *s);

static void on_retry(uv_timer_t *timer)
{
  saver_t *s = timer->data;
  if (s->reading == NULL)
    begin(s);
}

static void on_saved(uv_work_t *work, int status)
{
  saver_t *s = work->data;
  bool newer = s->reading != s->served;
  (void)status;
  snapshot_free(s->retired);
  s->retired = NULL;
  s->reading = NULL;
  if (s->closing)
    return;
  if (newer)
    begin(s);
  else if (keeper_can(s->keeper) && !keeper_works(s->keeper))
    uv_timer_start(&s->retry, on_retry, KEEPER_RETRY_MS, 0);
}

static void begin(saver_t *s)
{
  s->reading = s->served;
  if (uv_queue_work(s->loop, &s->work, save_in_thread, on_saved) != 0)
    s->reading = NULL;
}

void saver_save(saver_t *s, const snapshot_t *snapshot)
{
  s->served = snapshot;
  if (s->keeper != NULL && s->reading == NULL && !s->closing)
    begin(s);
}

void saver_retire(saver_t *s, snapshot_t *old)
{
  if (s->reading == old)
    s->retired = old;
  else
    snapshot_free(old);
}

bool saver_works(const saver_t *s)
{
  return keeper_works(s->keeper);
}

int saver_socket(const saver_t *s)
{
  return keeper_socket(s->keeper);
}

void saver_close(saver_t *s)
{
  if (s == NULL || s->closing)
    return;
  s->closing = true;
  keeper_give_up(s->keeper);
  uv_close((uv_handle_t *)&s->retry, NULL);
}

void saver_free(saver_t *s)
{
  if (s == NULL)
    return;
  keeper_free(s->keeper);
  free(s);
}
