/* SPDX-License-Identifier: Apache-2.0 */
#include "app/accounts/sister_watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/accounts/sister_news.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"

/* One sister, and the one question to it that may be under way. */
typedef struct watched {
  sister_look_t look;     /* first: what is noted of it, before it is asked */
  sister_answer_t answer; /* what came of that */
  struct watched *next;
  sister_watch_t *owner;
  bool left; /* not in the configuration any more: gone once it is not busy */
  char url[SISTER_URL_MAX];
  bool busy;
  json_t *ids;               /* of the answer; NULL: none were asked for */
  uint64_t walk_at;          /* monotonic ms: the next comparison */
  bool walking;              /* a comparison is under way: */
  int64_t round;             /* wall clock ms: its beginning */
  int64_t strays, said;      /* found in it so far; said in the log last */
  char after[UUID_TEXT_MAX]; /* the last id compared */
} watched_t;

struct sister_watch {
  store_t *store;
  sisters_t *sisters;
  outbox_t *outbox;
  uv_timer_t timer;
  bool stopping;
  watched_t *all;
  void (*stopped)(void *ctx);
  void *stopped_ctx;
};

static void ask(watched_t *w);

/* ---- the answer ---- */

static void say_strays(watched_t *w)
{
  if (w->strays > 0 && w->strays != w->said)
    log_warn("%s knows %lld accounts that this database does not: smpl-app check lists them", w->url,
             (long long)w->strays);
  w->said = w->strays;
}

/* The page was compared; another one follows, or the comparison is over. */
static void go_on(watched_t *w)
{
  w->strays = w->answer.strays;
  const json_t *last = json_array_get(w->ids, json_array_size(w->ids) - 1);
  w->walking =
      !w->answer.compared && text_copy(w->after, sizeof w->after, json_string_value(last)) == SMPL_OK;
}

static void follow(watched_t *w, bool walked)
{
  sister_log_news(w->url, w->answer.news);
  if (w->answer.news != SISTER_SAME) { /* another list than the one that was gone through */
    w->walking = false;
    w->walk_at = 0;
    outbox_look(w->owner->outbox);
    if (w->answer.news == SISTER_FIRST)
      ask(w);
  } else if (walked && !w->walking) {
    say_strays(w);
    w->walk_at = clock_mono_ms() + WATCH_WALK_MS;
    outbox_look(w->owner->outbox); /* what was deleted here may have to be told again */
  } else if (walked) {
    ask(w);
  }
}

static void on_answer(store_call_t *call, int err)
{
  watched_t *w = (watched_t *)((char *)call - offsetof(watched_t, answer));
  bool walked = w->ids != NULL;
  if (!err && walked && w->answer.news == SISTER_SAME)
    go_on(w);
  json_decref(w->ids);
  w->ids = NULL;
  w->busy = false;
  if (!err) {
    follow(w, walked);
    return;
  }
  log_warn("cannot note which database %s has: %s", w->url, smpl_strerror(err));
  w->walking = false;
}

/* Each id is greater than the one before it, so a list that is gone through comes to its end. */
static bool is_page(const json_t *ids, const char *after)
{
  size_t count = json_array_size(ids);
  for (size_t i = 0; i < count; i++) {
    const char *id = json_string_value(json_array_get(ids, i));
    if (id == NULL || !uuid_valid(id) || strcmp(id, after) <= 0)
      return false;
    after = id;
  }
  return json_is_array(ids) && count <= WATCH_PAGE;
}

static void give_walk_up(watched_t *w)
{
  log_warn("%s gives a list of accounts that is out of order: it is not compared", w->url);
  w->busy = false;
  w->walking = false;
  w->walk_at = clock_mono_ms() + WATCH_WALK_MS;
}

static void on_reply(void *ctx, const sister_reply_t *reply)
{
  watched_t *w = ctx;
  sister_answer_t *a = &w->answer;
  json_t *ids = json_object_get(reply->body, "data");
  if (reply->err || reply->status != 200 || !identity_of_report(reply->body, &a->report)) {
    w->busy = false; /* down, or older than this question: asked again later */
    w->walking = false;
    return;
  }
  if (w->walking && !is_page(ids, w->after)) {
    give_walk_up(w);
    return;
  }
  w->ids = w->walking ? json_incref(ids) : NULL;
  a->call = (store_call_t){.op = STORE_SISTER_ANSWER, .done = on_answer};
  a->sister = w->url;
  a->then = w->look.note;
  a->ids = w->ids;
  a->last = json_array_size(ids) < WATCH_PAGE;
  a->round = w->round;
  a->strays_most = WATCH_STRAYS_MAX;
  a->strays = w->strays;
  store_ask(w->owner->store, &a->call);
}

/* ---- the question ---- */

static void begin_walk(watched_t *w)
{
  w->walking = true;
  w->round = (int64_t)clock_wall_ms();
  w->strays = 0;
  w->after[0] = '\0';
}

static void on_noted(store_call_t *call, int err)
{
  char path[128];
  watched_t *w = (watched_t *)call;
  sister_watch_t *watch = w->owner;
  w->busy = false;
  if (watch->stopping || w->left || err)
    return;
  if (!w->walking && w->look.note.epoch[0] != '\0' && clock_mono_ms() >= w->walk_at)
    begin_walk(w);
  int size = w->walking ? WATCH_PAGE : 0;
  if (w->walking && w->after[0] != '\0')
    snprintf(path, sizeof path, "/internal/v1/accounts?size=%d&after=%s", size, w->after);
  else
    snprintf(path, sizeof path, "/internal/v1/accounts?size=%d", size);
  sister_request_t request = {.method = "GET", .base_url = w->url, .path = path, .timeout_ms = WATCH_ASK_MS};
  w->busy = sisters_call(watch->sisters, &request, on_reply, w) == SMPL_OK;
  w->walking = w->walking && w->busy;
}

static void ask(watched_t *w)
{
  sister_watch_t *watch = w->owner;
  if (watch->stopping || w->left)
    return;
  w->busy = true;
  w->look.call = (store_call_t){.op = STORE_SISTER_NOTE, .done = on_noted};
  w->look.sister = w->url;
  store_ask(watch->store, &w->look.call);
}

static void free_left(sister_watch_t *watch)
{
  for (watched_t **at = &watch->all; *at != NULL;) {
    watched_t *w = *at;
    if (!w->left || w->busy) {
      at = &w->next;
      continue;
    }
    *at = w->next;
    free(w);
  }
}

static void on_timer(uv_timer_t *timer)
{
  sister_watch_t *watch = timer->data;
  free_left(watch);
  for (watched_t *w = watch->all; w != NULL; w = w->next)
    if (!w->busy)
      ask(w);
}

static watched_t *find(sister_watch_t *watch, const char *url)
{
  for (watched_t *w = watch->all; w != NULL; w = w->next)
    if (strcmp(w->url, url) == 0)
      return w;
  return NULL;
}

/* Not asked before it is used. */
static int add(sister_watch_t *watch, const char *url, diag_t *diag)
{
  watched_t *w = calloc(1, sizeof *w);
  if (w == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  if (text_copy(w->url, sizeof w->url, url)) {
    free(w);
    return diag_fail(diag, SMPL_ELIMIT, "'%.64s...': too long a URL", url);
  }
  w->owner = watch;
  w->left = true;
  w->next = watch->all;
  watch->all = w;
  return SMPL_OK;
}

int sister_watch_prepare(sister_watch_t *watch, const char *const *urls, diag_t *diag)
{
  int err = SMPL_OK;
  for (; urls != NULL && *urls != NULL && !err; urls++)
    if (find(watch, *urls) == NULL)
      err = add(watch, *urls, diag);
  return err;
}

void sister_watch_use(sister_watch_t *watch, const char *const *urls)
{
  for (watched_t *w = watch->all; w != NULL; w = w->next) {
    w->left = true;
    w->walk_at = 0; /* the outbox has forgotten what they found */
  }
  for (; urls != NULL && *urls != NULL; urls++) {
    watched_t *w = find(watch, *urls);
    if (w != NULL)
      w->left = false;
  }
}

int sister_watch_new(uv_loop_t *loop, store_t *store, sisters_t *sisters, outbox_t *outbox,
                     const char *const *urls, sister_watch_t **out, diag_t *diag)
{
  sister_watch_t *watch = calloc(1, sizeof *watch);
  *out = NULL;
  if (watch == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  watch->store = store;
  watch->sisters = sisters;
  watch->outbox = outbox;
  int err = sister_watch_prepare(watch, urls, diag);
  if (err) {
    sister_watch_free(watch);
    return err;
  }
  sister_watch_use(watch, urls);
  uv_timer_init(loop, &watch->timer);
  watch->timer.data = watch;
  uv_timer_start(&watch->timer, on_timer, 0, WATCH_ASK_MS);
  *out = watch;
  return SMPL_OK;
}

static void on_timer_closed(uv_handle_t *handle)
{
  sister_watch_t *watch = handle->data;
  watch->stopped(watch->stopped_ctx);
}

void sister_watch_stop(sister_watch_t *watch, void (*done)(void *ctx), void *ctx)
{
  watch->stopping = true;
  watch->stopped = done;
  watch->stopped_ctx = ctx;
  uv_close((uv_handle_t *)&watch->timer, on_timer_closed);
}

void sister_watch_free(sister_watch_t *watch)
{
  if (watch == NULL)
    return;
  for (watched_t *w = watch->all; w != NULL; w = w->next) {
    w->left = true;
    w->busy = false;
    json_decref(w->ids);
  }
  free_left(watch);
  free(watch);
}
