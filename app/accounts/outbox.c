/* SPDX-License-Identifier: Apache-2.0 */
#include "app/accounts/outbox.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/accounts/sister_news.h"
#include "app/store/ident.h"
#include "app/store/jsonapi.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"

_Static_assert((int)OUTBOX_TIMEOUT_MS > (int)LOOKUP_TIMEOUT_MS_DEFAULT,
               "a lookup says what is wrong before its caller gives up");

enum { REPORT_MAX = 320 };

/* One account on its way to one sister, from the call to the commit of what came of it. */
typedef struct flight {
  outbox_done_t done; /* first */
  struct peer *peer;
  bool busy;
  bool again; /* it was told before, to another database of the sister */
  char account[UUID_TEXT_MAX];
  char error[REPORT_MAX];
} flight_t;

typedef struct peer {
  struct peer *next; /* of those that left */
  outbox_t *owner;
  bool left;
  char url[SISTER_URL_MAX]; /* also its name in the store */
  char host[SISTER_HOST_MAX];
  unsigned failures; /* in a row */
  uint64_t next_at;  /* monotonic ms: not before, while failing */
  uint64_t say_at;   /* monotonic ms: when the log may hear of another database again */
  bool asking;       /* the store, what is due */
  bool ask_again;    /* something has come meanwhile that the answer may not know of */
  outbox_due_t due;
  flight_t flights[OUTBOX_PARALLEL];
} peer_t;

typedef struct waiter {
  outbox_told_t told; /* first */
  struct waiter *next;
  outbox_t *owner;
  outbox_list_t *list; /* while the store is asked whom of it was told */
  bool over;
  char account[UUID_TEXT_MAX];
  uint64_t until;
  void (*done)(void *ctx);
  void *ctx;
} waiter_t;

/* Rows are written for those on the list that was in force when they were asked for. Another list takes its
 * place, and rows that it is too late for are sown afterwards. */
struct outbox_list {
  size_t holders;
  size_t count;
  const char *urls[OUTBOX_SISTERS_MAX + 1]; /* of texts; ends with NULL */
  char texts[OUTBOX_SISTERS_MAX][SISTER_URL_MAX];
  char hosts[OUTBOX_SISTERS_MAX][SISTER_HOST_MAX];
};

struct outbox {
  store_t *store;
  sisters_t *sisters;
  uv_timer_t timer;
  outbox_sow_t sow; /* rows for sisters that are new in the configuration */
  outbox_list_t *sown;
  bool sowing, sow_again;
  bool stopping;
  bool any;       /* there is something to do, now or later, as far as is known */
  size_t looking; /* questions to the store what is due */
  bool asking;    /* in the middle of asking for waiters */
  size_t peer_count, waiter_count;
  peer_t *peers[OUTBOX_SISTERS_MAX];
  peer_t *left; /* not in the configuration any more: until what is under way to them is noted */
  outbox_list_t *list;
  waiter_t *waiters;
  void (*stopped)(void *ctx);
  void *stopped_ctx;
};

static void look(outbox_t *o);

static void on_timer(uv_timer_t *timer);

/* ---- writing ---- */

outbox_list_t *outbox_hold(outbox_t *o)
{
  o->list->holders++;
  return o->list;
}

const char *const *outbox_urls(const outbox_list_t *list)
{
  return list->urls;
}

static void drop_list(outbox_list_t *list)
{
  if (list != NULL && --list->holders == 0)
    free(list);
}

static void on_sown(store_call_t *call, int err)
{
  outbox_t *o = (outbox_t *)((char *)call - offsetof(outbox_t, sow));
  o->sowing = false;
  drop_list(o->sown);
  if (err == SMPL_ELIMIT) {
    o->sow_again = true; /* what does not find a place among the writes now is tried again */
    if (!o->stopping)
      uv_timer_start(&o->timer, on_timer, OUTBOX_TICK_MS, 0);
    return;
  }
  if (err)
    log_error("outbox: cannot look for accounts that sisters do not know: %s", smpl_strerror(err));
  look(o);
}

static void sow(outbox_t *o)
{
  o->sow_again = o->sowing;
  if (o->sowing)
    return;
  o->sowing = true;
  o->sown = outbox_hold(o);
  o->sow.call = (store_call_t){.op = STORE_OUTBOX_SOW, .done = on_sown};
  o->sow.sisters = o->sown->urls;
  o->sow.now = (int64_t)clock_wall_ms();
  store_ask(o->store, &o->sow.call);
}

void outbox_release(outbox_t *o, outbox_list_t *list)
{
  bool late = list != o->list;
  drop_list(list);
  if (late && !o->stopping)
    sow(o);
}

/* Instances of a sister that do not share one database would bring such news with every answer. */
static void say_news(peer_t *peer, sister_news_t news)
{
  uint64_t now = clock_mono_ms();
  if ((news != SISTER_ANOTHER && news != SISTER_OLDER) || now < peer->say_at)
    return;
  sister_log_news(peer->host, news);
  peer->say_at = now + OUTBOX_NEWS_MS;
}

static size_t busy_count(const peer_t *peer)
{
  size_t n = 0;
  for (size_t i = 0; i < OUTBOX_PARALLEL; i++)
    n += peer->flights[i].busy;
  return n;
}

/* Of those that left, whoever has nothing under way. */
static void free_left(outbox_t *o)
{
  for (peer_t **at = &o->left; *at != NULL;) {
    peer_t *peer = *at;
    if (busy_count(peer) > 0 || peer->asking) {
      at = &peer->next;
      continue;
    }
    *at = peer->next;
    free(peer);
  }
}

static void on_result(store_call_t *call, int err)
{
  flight_t *f = (flight_t *)call;
  outbox_t *o = f->peer->owner;
  f->busy = false;
  f->peer->ask_again = f->peer->asking;
  if (err)
    log_warn("outbox: cannot note what became of account %s at %s: %s", f->account, f->peer->host,
             smpl_strerror(err));
  else
    say_news(f->peer, f->done.news);
  free_left(o);
  if (err != SMPL_ELIMIT) /* else it is told again later: the call is idempotent */
    look(o);
}

/* ---- calling ---- */

static void note_failure(peer_t *peer, const char *why)
{
  if (peer->failures == 0)
    log_warn("outbox: %s; accounts for %s wait", why, peer->host);
  unsigned doublings = peer->failures < 8 ? peer->failures : 8;
  uint64_t pause = (uint64_t)OUTBOX_PAUSE_MIN_MS << doublings;
  if (pause > OUTBOX_PAUSE_MAX_MS)
    pause = OUTBOX_PAUSE_MAX_MS;
  peer->failures++;
  peer->next_at = clock_mono_ms() + pause;
}

static void conclude(flight_t *f, bool acknowledged, const char *why)
{
  peer_t *peer = f->peer;
  snprintf(f->error, sizeof f->error, "%s", why);
  if (!acknowledged) {
    note_failure(peer, why);
  } else if (peer->failures > 0) {
    log_info("outbox: %s answers again", peer->host);
    peer->failures = 0;
  }
  f->done.call = (store_call_t){.op = STORE_OUTBOX_DONE, .done = on_result};
  f->done.acknowledged = acknowledged;
  f->done.now = (int64_t)clock_wall_ms();
  store_ask(peer->owner->store, &f->done.call);
}

static void on_reply(void *ctx, const sister_reply_t *reply)
{
  char why[REPORT_MAX];
  flight_t *f = ctx;
  f->done.reported = !reply->err && identity_of_report(reply->body, &f->done.report);
  if (reply->err)
    snprintf(why, sizeof why, "%s", reply->why);
  else
    snprintf(why, sizeof why, "%s: status %d%s", f->peer->host, reply->status,
             reply->status == 401 || reply->status == 403 ? ": it does not accept this service's internal key"
                                                          : "");
  conclude(f, !reply->err && reply->status >= 200 && reply->status < 300, why);
}

static void launch(flight_t *f, const outbox_row_t *row)
{
  char path[64];
  peer_t *peer = f->peer;
  json_t *body = json_pack("{s:{s:s, s:s, s:{s:s, s:s}}}", "data", "type", "account", "id", row->account,
                           "attributes", "name", row->name, "key", row->key);
  if (body == NULL)
    return;
  memcpy(f->account, row->account, sizeof f->account);
  snprintf(path, sizeof path, "/internal/v1/accounts/%.*s", UUID_TEXT_MAX - 1, row->account);
  sister_request_t request = {.method = row->deleted ? "DELETE" : "PUT",
                              .base_url = peer->url,
                              .path = path,
                              .body = row->deleted ? NULL : body,
                              .timeout_ms = OUTBOX_TIMEOUT_MS};
  f->busy = true;
  f->done = (outbox_done_t){.sister = peer->url,
                            .account = f->account,
                            .error = f->error,
                            .deletes = row->deleted,
                            .then = peer->due.note};
  int err = sisters_call(peer->owner->sisters, &request, on_reply, f);
  json_decref(body);
  if (err) {
    f->busy = false;
    note_failure(peer, smpl_strerror(err));
  }
}

static size_t again_count(const peer_t *peer)
{
  size_t n = 0;
  for (size_t i = 0; i < OUTBOX_PARALLEL; i++)
    n += peer->flights[i].busy && peer->flights[i].again;
  return n;
}

static bool in_flight(const peer_t *peer, const char *account)
{
  for (size_t i = 0; i < OUTBOX_PARALLEL; i++)
    if (peer->flights[i].busy && strcmp(peer->flights[i].account, account) == 0)
      return true;
  return false;
}

static flight_t *free_flight(peer_t *peer)
{
  for (size_t i = 0; i < OUTBOX_PARALLEL; i++)
    if (!peer->flights[i].busy)
      return &peer->flights[i];
  return NULL;
}

/* Starts what is due of the one kind, until `most` of it or `all` of both are under way. True if there is
 * any. */
static bool start(peer_t *peer, bool again, size_t most, size_t all)
{
  const outbox_row_t *rows = again ? peer->due.again : peer->due.fresh;
  size_t count = again ? peer->due.again_count : peer->due.fresh_count;
  for (size_t i = 0; i < count; i++) {
    size_t busy = busy_count(peer), others = again_count(peer);
    if (busy >= all || (again ? others : busy - others) >= most)
      break;
    if (in_flight(peer, rows[i].account))
      continue;
    flight_t *f = free_flight(peer);
    f->again = again;
    launch(f, &rows[i]);
  }
  return count > 0;
}

/* A failing sister is tried with one account at a time, of either kind in turn. */
static bool try_failing(peer_t *peer)
{
  size_t all = clock_mono_ms() >= peer->next_at ? 1 : 0;
  bool first = peer->failures % 2 == 0;
  bool any = start(peer, first, all, all);
  return start(peer, !first, all, all) || any;
}

/* Starts what is due at this sister; true if there is anything to do, now or later. */
static bool serve(peer_t *peer)
{
  if (peer->failures > 0)
    return try_failing(peer) || busy_count(peer) > 0;
  bool again = start(peer, true, 1, OUTBOX_PARALLEL);
  bool fresh = start(peer, false, OUTBOX_PARALLEL, OUTBOX_PARALLEL);
  if (again)
    start(peer, true, OUTBOX_AGAIN, OUTBOX_PARALLEL);
  return again || fresh || busy_count(peer) > 0;
}

/* ---- looking ---- */

static void ask_due(peer_t *peer);

/* The time of the next look, once it is known from all whether there is anything to do. */
static void end_look(outbox_t *o)
{
  if (--o->looking == 0 && !o->stopping)
    uv_timer_start(&o->timer, on_timer, o->any || o->waiters != NULL ? OUTBOX_TICK_MS : OUTBOX_POLL_MS, 0);
}

static void on_due(store_call_t *call, int err)
{
  peer_t *peer = (peer_t *)((char *)call - offsetof(peer_t, due));
  outbox_t *o = peer->owner;
  bool stale = peer->ask_again;
  peer->asking = peer->ask_again = false;
  if (peer->left || o->stopping)
    free_left(o);
  else if (stale)
    ask_due(peer);
  else
    o->any = (err || serve(peer)) || o->any;
  end_look(o);
}

static void ask_due(peer_t *peer)
{
  outbox_t *o = peer->owner;
  if (peer->asking) {
    peer->ask_again = true;
    return;
  }
  peer->asking = true;
  o->looking++;
  peer->due.call = (store_call_t){.op = STORE_OUTBOX_DUE, .done = on_due};
  peer->due.sister = peer->url;
  store_ask(o->store, &peer->due.call);
}

/* ---- waiting ---- */

static void release_waiters(outbox_t *o)
{
  waiter_t **at = &o->waiters;
  waiter_t *ready = NULL;
  while (*at != NULL) {
    waiter_t *w = *at;
    if (!w->over) {
      at = &w->next;
      continue;
    }
    *at = w->next;
    w->next = ready;
    ready = w;
    o->waiter_count--;
  }
  while (ready != NULL) {
    waiter_t *w = ready;
    ready = w->next;
    w->done(w->ctx);
    free(w);
  }
}

static bool all_told(const outbox_told_t *told, const outbox_list_t *list)
{
  for (size_t i = 0; i < list->count; i++)
    if (!told->told[i])
      return false;
  return true;
}

static void on_told(store_call_t *call, int err)
{
  waiter_t *w = (waiter_t *)call;
  outbox_t *o = w->owner;
  w->over = (!err && all_told(&w->told, w->list)) || w->until <= clock_mono_ms();
  drop_list(w->list);
  w->list = NULL;
  if (!o->asking && !o->stopping)
    release_waiters(o);
}

static void ask_told(waiter_t *w)
{
  outbox_t *o = w->owner;
  w->list = outbox_hold(o);
  w->told = (outbox_told_t){.call = {.op = STORE_OUTBOX_TOLD, .done = on_told},
                            .account = w->account,
                            .sisters = w->list->urls};
  store_ask(o->store, &w->told.call);
}

/* Whoever was told enough, or waited long enough, goes on. */
static void look_after_waiters(outbox_t *o)
{
  if (o->asking)
    return;
  o->asking = true;
  for (waiter_t *w = o->waiters; w != NULL; w = w->next)
    if (w->list == NULL && !w->over)
      ask_told(w);
  o->asking = false;
  release_waiters(o);
}

static void on_timer(uv_timer_t *timer)
{
  look(timer->data);
}

/* Does what is due and sets the time of the next look. */
static void look(outbox_t *o)
{
  if (o->stopping)
    return;
  if (o->sow_again)
    sow(o);
  o->any = o->sow_again || (o->any && o->looking > 0);
  o->looking++;
  for (size_t i = 0; i < o->peer_count; i++)
    ask_due(o->peers[i]);
  look_after_waiters(o);
  end_look(o);
}

void outbox_look(outbox_t *o)
{
  look(o);
}

void outbox_tell(outbox_t *o, const char *account, uint64_t wait_ms, void (*done)(void *ctx), void *ctx)
{
  waiter_t *w = o->waiter_count < OUTBOX_WAITERS_MAX ? calloc(1, sizeof *w) : NULL;
  if (w == NULL || text_copy(w->account, sizeof w->account, account) != SMPL_OK) {
    free(w);
    done(ctx);
    return;
  }
  w->owner = o;
  w->until = clock_mono_ms() + wait_ms;
  w->done = done;
  w->ctx = ctx;
  w->next = o->waiters;
  o->waiters = w;
  o->waiter_count++;
  /* A sister in its pause is tried again for a new account, which somebody waits for. */
  for (size_t i = 0; i < o->peer_count; i++)
    o->peers[i]->next_at = 0;
  look(o);
}

typedef struct reporting {
  outbox_told_t told; /* first */
  outbox_list_t *list;
  void (*done)(void *ctx, json_t *report);
  void *ctx;
} reporting_t;

static json_t *report_of(const outbox_told_t *told, const outbox_list_t *list)
{
  json_t *report = json_pack("{s:[], s:[]}", "provisioned", "pending");
  for (size_t i = 0; i < list->count; i++) {
    json_t *names = json_object_get(report, told->told[i] ? "provisioned" : "pending");
    if (json_array_append_new(names, json_string(list->hosts[i])) != 0) {
      json_decref(report);
      return NULL;
    }
  }
  return report;
}

static void on_reported(store_call_t *call, int err)
{
  reporting_t *r = (reporting_t *)call;
  r->done(r->ctx, err ? NULL : report_of(&r->told, r->list));
  drop_list(r->list);
  free(r);
}

void outbox_report(outbox_t *o, const char *account, void (*done)(void *ctx, json_t *report), void *ctx)
{
  reporting_t *r = calloc(1, sizeof *r);
  if (r == NULL) {
    done(ctx, NULL);
    return;
  }
  r->done = done;
  r->ctx = ctx;
  r->list = outbox_hold(o);
  r->told = (outbox_told_t){.call = {.op = STORE_OUTBOX_TOLD, .done = on_reported},
                            .account = account,
                            .sisters = r->list->urls};
  store_ask(o->store, &r->told.call);
}

/* ---- who is told ---- */

static peer_t *peer_named(const outbox_t *o, const char *url)
{
  for (size_t i = 0; i < o->peer_count; i++)
    if (strcmp(o->peers[i]->url, url) == 0)
      return o->peers[i];
  return NULL;
}

static int peer_new(outbox_t *o, const char *text, peer_t **out, diag_t *diag)
{
  sister_url_t url;
  int err = sister_url_parse(text, &url, diag);
  if (err)
    return err;
  peer_t *peer = calloc(1, sizeof *peer);
  if (peer == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  if (text_copy(peer->url, sizeof peer->url, text) != SMPL_OK) {
    free(peer);
    return diag_fail(diag, SMPL_ELIMIT, "'%.64s...': too long a URL", text);
  }
  memcpy(peer->host, url.host, sizeof peer->host);
  peer->owner = o;
  for (size_t i = 0; i < OUTBOX_PARALLEL; i++)
    peer->flights[i].peer = peer;
  *out = peer;
  return SMPL_OK;
}

/* The peers of these URLs, known ones and new ones, and their list. */
typedef struct circle {
  peer_t *peers[OUTBOX_SISTERS_MAX];
  outbox_list_t *list;
} circle_t;

static int add_peer(outbox_t *o, circle_t *c, const char *url, diag_t *diag)
{
  outbox_list_t *list = c->list;
  if (list->count == OUTBOX_SISTERS_MAX)
    return diag_fail(diag, SMPL_ELIMIT, "more than %d sisters", OUTBOX_SISTERS_MAX);
  for (size_t i = 0; i < list->count; i++)
    if (strcmp(list->urls[i], url) == 0)
      return SMPL_OK;
  peer_t *peer = peer_named(o, url);
  int err = peer == NULL ? peer_new(o, url, &peer, diag) : SMPL_OK;
  if (err)
    return err;
  memcpy(list->texts[list->count], peer->url, sizeof peer->url);
  memcpy(list->hosts[list->count], peer->host, sizeof peer->host);
  list->urls[list->count] = list->texts[list->count];
  c->peers[list->count++] = peer;
  return SMPL_OK;
}

static bool is_in(peer_t *const *peers, size_t count, const peer_t *peer)
{
  for (size_t i = 0; i < count; i++)
    if (peers[i] == peer)
      return true;
  return false;
}

static void undo(const outbox_t *o, circle_t *c)
{
  for (size_t i = 0; c->list != NULL && i < c->list->count; i++)
    if (!is_in(o->peers, o->peer_count, c->peers[i]))
      free(c->peers[i]);
  free(c->list);
}

static int gather(outbox_t *o, const char *const *urls, circle_t *c, diag_t *diag)
{
  int err = SMPL_OK;
  c->list = calloc(1, sizeof *c->list);
  if (c->list == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  c->list->holders = 1;
  for (; urls != NULL && *urls != NULL && !err; urls++)
    err = add_peer(o, c, *urls, diag);
  if (err)
    undo(o, c);
  return err;
}

static void put_in_force(outbox_t *o, const circle_t *c)
{
  outbox_list_t *old = o->list;
  for (size_t i = 0; i < o->peer_count; i++) {
    if (is_in(c->peers, c->list->count, o->peers[i]))
      continue;
    o->peers[i]->left = true;
    o->peers[i]->next = o->left;
    o->left = o->peers[i];
  }
  free_left(o);
  memcpy(o->peers, c->peers, sizeof o->peers);
  o->peer_count = c->list->count;
  o->list = c->list;
  drop_list(old);
}

int outbox_set(outbox_t *o, const char *const *urls, diag_t *diag)
{
  circle_t c = {.list = NULL};
  int err = gather(o, urls, &c, diag);
  if (err)
    return err;
  put_in_force(o, &c);
  sow(o);
  if (!o->stopping)
    uv_timer_start(&o->timer, on_timer, 0, 0);
  return SMPL_OK;
}

/* ---- beginning and end ---- */

int outbox_new(uv_loop_t *loop, store_t *store, sisters_t *sisters, const char *const *urls, outbox_t **out,
               diag_t *diag)
{
  *out = NULL;
  circle_t c = {.list = NULL};
  outbox_t *o = calloc(1, sizeof *o);
  if (o == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  o->store = store;
  o->sisters = sisters;
  int err = gather(o, urls, &c, diag);
  if (err) {
    outbox_free(o);
    return err;
  }
  uv_timer_init(loop, &o->timer);
  o->timer.data = o;
  put_in_force(o, &c);
  sow(o);
  *out = o;
  return SMPL_OK;
}

static void on_timer_closed(uv_handle_t *handle)
{
  outbox_t *o = handle->data;
  o->stopped(o->stopped_ctx);
}

void outbox_stop(outbox_t *o, void (*done)(void *ctx), void *ctx)
{
  o->stopping = true;
  o->stopped = done;
  o->stopped_ctx = ctx;
  uv_close((uv_handle_t *)&o->timer, on_timer_closed);
}

void outbox_free(outbox_t *o)
{
  if (o == NULL)
    return;
  while (o->waiters != NULL) {
    waiter_t *w = o->waiters;
    o->waiters = w->next;
    drop_list(w->list);
    free(w);
  }
  for (size_t i = 0; i < o->peer_count; i++)
    free(o->peers[i]);
  for (peer_t *peer = o->left, *next; peer != NULL; peer = next) {
    next = peer->next;
    free(peer);
  }
  drop_list(o->list);
  free(o);
}
