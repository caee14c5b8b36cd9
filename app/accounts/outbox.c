/* SPDX-License-Identifier: Apache-2.0 */
#include "app/accounts/outbox.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/accounts/account_store.h"
#include "app/accounts/sister_store.h"
#include "app/services/ident.h"
#include "app/services/jsonapi.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"

_Static_assert((int)OUTBOX_TIMEOUT_MS > (int)LOOKUP_TIMEOUT_MS_DEFAULT,
               "a lookup says what is wrong before its caller gives up");

enum { REPORT_MAX = 320 };

/* One account on its way to one sister, from the call to the commit of what came of it. */
typedef struct flight {
  storage_job_t job; /* first */
  struct peer *peer;
  bool busy;
  bool again;   /* it was told before, to another database of the sister */
  bool deletes; /* told is that the account was deleted */
  char account[UUID_TEXT_MAX];
  sister_note_t then; /* what was noted of the sister when the call was made */
  bool acknowledged;
  bool reported; /* the sister said which database it has: */
  identity_t report;
  sister_news_t news; /* what followed from that */
  char error[REPORT_MAX];
} flight_t;

typedef struct peer {
  struct peer *next; /* of those that left */
  outbox_t *owner;
  char url[SISTER_URL_MAX]; /* also its name in the table */
  char host[SISTER_HOST_MAX];
  unsigned failures;  /* in a row */
  uint64_t next_at;   /* monotonic ms: not before, while failing */
  sister_note_t note; /* of the last look */
  uint64_t say_at;    /* monotonic ms: when the log may hear of another database again */
  flight_t flights[OUTBOX_PARALLEL];
} peer_t;

typedef struct waiter {
  struct waiter *next;
  char account[UUID_TEXT_MAX];
  uint64_t until;
  void (*done)(void *ctx);
  void *ctx;
} waiter_t;

/* Whom rows are written for. The writer's thread holds the list that is in force while it writes; another
 * list takes its place, and rows that it is too late for are sown afterwards. */
typedef struct told {
  size_t holders;
  size_t count;
  char urls[OUTBOX_SISTERS_MAX][SISTER_URL_MAX];
} told_t;

struct outbox {
  storage_t *storage;
  sisters_t *sisters;
  uv_timer_t timer;
  storage_job_t sow; /* rows for sisters that are new in the configuration */
  bool sowing, sow_again;
  bool stopping;
  size_t peer_count, waiter_count;
  peer_t *peers[OUTBOX_SISTERS_MAX];
  peer_t *left; /* not in the configuration any more: until what is under way to them is noted */
  uv_mutex_t lock;
  told_t *told; /* under lock, as its holders */
  waiter_t *waiters;
  void (*stopped)(void *ctx);
  void *stopped_ctx;
};

static void look(outbox_t *o);

/* ---- writing ---- */

static told_t *hold_told(outbox_t *o)
{
  uv_mutex_lock(&o->lock);
  told_t *told = o->told;
  told->holders++;
  uv_mutex_unlock(&o->lock);
  return told;
}

static void drop_told(outbox_t *o, told_t *told)
{
  uv_mutex_lock(&o->lock);
  bool last = --told->holders == 0;
  uv_mutex_unlock(&o->lock);
  if (last)
    free(told);
}

int outbox_add(storage_db_t *db, outbox_t *o, const char *account)
{
  told_t *told = hold_told(o);
  int err = SMPL_OK;
  for (size_t i = 0; i < told->count && !err; i++)
    err = storage_exec(db, "INSERT OR IGNORE INTO outbox (account, sister) VALUES (?1, ?2)",
                       STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(told->urls[i])), NULL);
  drop_told(o, told);
  return err;
}

static int run_sow(storage_db_t *db, storage_job_t *job)
{
  outbox_t *o = (outbox_t *)((char *)job - offsetof(outbox_t, sow));
  told_t *told = hold_told(o);
  int err = SMPL_OK;
  for (size_t i = 0; i < told->count && !err; i++)
    err = storage_exec(db, "INSERT OR IGNORE INTO outbox (account, sister) SELECT id, ?1 FROM accounts",
                       STORAGE_ARGS(STORAGE_TEXT(told->urls[i])), NULL);
  drop_told(o, told);
  if (!err)
    err = sister_forget_strays(db);
  return err ? err : account_bury(db, (int64_t)clock_wall_ms());
}

static void on_sown(storage_job_t *job, int err)
{
  outbox_t *o = (outbox_t *)((char *)job - offsetof(outbox_t, sow));
  o->sowing = false;
  if (err)
    log_error("outbox: cannot look for accounts that sisters do not know: %s", smpl_strerror(err));
  look(o);
}

/* What does not find a place among the writes now is tried again at the next look. */
static int sow(outbox_t *o)
{
  o->sow_again = true;
  if (o->sowing)
    return SMPL_OK;
  o->sow.run = run_sow;
  o->sow.done = on_sown;
  int err = storage_write(o->storage, &o->sow);
  o->sowing = err == SMPL_OK;
  o->sow_again = err != SMPL_OK;
  return err;
}

/* Told counts only what is still so: the account may have been deleted since the call was made. */
static int note_told(storage_db_t *db, const flight_t *f, int64_t generation)
{
  return storage_exec(db,
                      "UPDATE outbox SET done_at = ?3, attempts = 0, last_error = NULL, generation = ?4"
                      " WHERE account = ?1 AND sister = ?2 AND EXISTS"
                      " (SELECT 1 FROM accounts WHERE id = ?1 AND (deleted_at IS NOT NULL) = ?5)",
                      STORAGE_ARGS(STORAGE_TEXT(f->account), STORAGE_TEXT(f->peer->url),
                                   STORAGE_INT((int64_t)clock_wall_ms()), STORAGE_INT(generation),
                                   STORAGE_INT(f->deletes)),
                      NULL);
}

/* Of what was told before to other databases, what fails goes behind all that was not tried yet. */
static int note_untold(storage_db_t *db, const flight_t *f, int64_t generation)
{
  return storage_exec(db,
                      "UPDATE outbox SET attempts = attempts + 1, last_error = ?3, generation = CASE WHEN"
                      " done_at IS NOT NULL AND generation < ?4 THEN ?4 - 1 ELSE generation END"
                      " WHERE account = ?1 AND sister = ?2",
                      STORAGE_ARGS(STORAGE_TEXT(f->account), STORAGE_TEXT(f->peer->url),
                                   STORAGE_TEXT(f->error), STORAGE_INT(generation)),
                      NULL);
}

/* An answer to a call from before the sister's database changed tells nothing: the row stays as it is, and is
 * tried again. */
static int run_result(storage_db_t *db, storage_job_t *job)
{
  flight_t *f = (flight_t *)job;
  sister_note_t now;
  int err = sister_note_read(db, f->peer->url, &now);
  f->news = now.generation != f->then.generation ? SISTER_LATE : SISTER_SAME;
  if (!err && f->reported)
    err = sister_note_report(db, f->peer->url, &f->then, &f->report, &f->news, &now.generation);
  if (err || f->news == SISTER_LATE)
    return err;
  return f->acknowledged ? note_told(db, f, now.generation) : note_untold(db, f, now.generation);
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
    if (busy_count(peer) > 0) {
      at = &peer->next;
      continue;
    }
    *at = peer->next;
    free(peer);
  }
}

static void on_result(storage_job_t *job, int err)
{
  flight_t *f = (flight_t *)job;
  outbox_t *o = f->peer->owner;
  f->busy = false;
  if (err)
    log_warn("outbox: cannot note what became of account %s at %s: %s", f->account, f->peer->host,
             smpl_strerror(err));
  else
    say_news(f->peer, f->news);
  free_left(o);
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
  f->acknowledged = acknowledged;
  snprintf(f->error, sizeof f->error, "%s", why);
  if (!acknowledged) {
    note_failure(peer, why);
  } else if (peer->failures > 0) {
    log_info("outbox: %s answers again", peer->host);
    peer->failures = 0;
  }
  f->job.run = run_result;
  f->job.done = on_result;
  if (storage_write(peer->owner->storage, &f->job) == SMPL_OK)
    return;
  f->busy = false; /* told again later: the call is idempotent */
  free_left(peer->owner);
}

static void on_reply(void *ctx, const sister_reply_t *reply)
{
  char why[REPORT_MAX];
  flight_t *f = ctx;
  f->reported = !reply->err && identity_of_report(reply->body, &f->report);
  if (reply->err)
    snprintf(why, sizeof why, "%s", reply->why);
  else
    snprintf(why, sizeof why, "%s: status %d%s", f->peer->host, reply->status,
             reply->status == 401 || reply->status == 403 ? ": it does not accept this service's internal key"
                                                          : "");
  conclude(f, !reply->err && reply->status >= 200 && reply->status < 300, why);
}

/* stmt: a row of fresh_sql or again_sql. */
static void launch(flight_t *f, storage_stmt_t *stmt)
{
  char path[64];
  peer_t *peer = f->peer;
  const char *account = storage_text(stmt, 0);
  f->deletes = !storage_is_null(stmt, 3);
  json_t *body = json_pack("{s:{s:s, s:s, s:{s:s, s:s}}}", "data", "type", "account", "id", account,
                           "attributes", "name", storage_text(stmt, 1), "key", storage_text(stmt, 2));
  if (body == NULL || text_copy(f->account, sizeof f->account, account) != SMPL_OK) {
    json_decref(body);
    return;
  }
  snprintf(path, sizeof path, "/internal/v1/accounts/%s", account);
  sister_request_t request = {.method = f->deletes ? "DELETE" : "PUT",
                              .base_url = peer->url,
                              .path = path,
                              .body = f->deletes ? NULL : body,
                              .timeout_ms = OUTBOX_TIMEOUT_MS};
  f->busy = true;
  f->then = peer->note;
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

#define ROWS                                                                                                 \
  "SELECT o.account, a.name, a.key, a.deleted_at FROM outbox o JOIN accounts a ON a.id = o.account"          \
  " WHERE o.sister = ?1"

/* Least tried first, so that an account which the sister refuses does not hold up the others. */
static const char fresh_sql[] = ROWS " AND o.done_at IS NULL ORDER BY o.attempts, o.rowid LIMIT ?2";
/* The same of what an earlier database of the sister was told, oldest first. */
static const char again_sql[] =
    ROWS " AND o.done_at IS NOT NULL AND o.generation < ?3 AND o.generation ="
         " (SELECT min(generation) FROM outbox WHERE sister = ?1 AND done_at IS NOT NULL)"
         " ORDER BY o.attempts, o.rowid LIMIT ?2";

/* Starts what is due of the one kind, until `most` of it or `all` of both are under way. True if there is
 * any. */
static bool start(peer_t *peer, bool again, size_t most, size_t all)
{
  storage_db_t *db = storage_reader(peer->owner->storage);
  const storage_arg_t args[] = {STORAGE_TEXT(peer->url), STORAGE_INT(2 * OUTBOX_PARALLEL),
                                STORAGE_INT(peer->note.generation)};
  bool any = false;
  storage_stmt_t *stmt = storage_query(db, again ? again_sql : fresh_sql, args, again ? 3 : 2);
  while (storage_step(stmt) == 1) {
    size_t busy = busy_count(peer), others = again_count(peer);
    any = true;
    if (busy >= all || (again ? others : busy - others) >= most) {
      storage_finish(stmt);
      break;
    }
    if (in_flight(peer, storage_text(stmt, 0)))
      continue;
    flight_t *f = free_flight(peer);
    f->again = again;
    launch(f, stmt);
  }
  return any;
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
  if (sister_note_read(storage_reader(peer->owner->storage), peer->url, &peer->note))
    return true;
  if (peer->failures > 0)
    return try_failing(peer) || busy_count(peer) > 0;
  bool again = start(peer, true, 1, OUTBOX_PARALLEL);
  bool fresh = start(peer, false, OUTBOX_PARALLEL, OUTBOX_PARALLEL);
  if (again)
    start(peer, true, OUTBOX_AGAIN, OUTBOX_PARALLEL);
  return again || fresh || busy_count(peer) > 0;
}

/* ---- waiting ---- */

/* 1 if the database that the sister has now was told of the account. */
static int told_count(outbox_t *o, const peer_t *peer, const char *account, int64_t *told)
{
  sister_note_t note;
  storage_db_t *db = storage_reader(o->storage);
  int err = sister_note_read(db, peer->url, &note);
  return err ? err
             : storage_number(db,
                              "SELECT count(*) FROM outbox WHERE account = ?1 AND sister = ?2"
                              " AND done_at IS NOT NULL AND generation >= ?3",
                              STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(peer->url),
                                           STORAGE_INT(note.generation)),
                              told);
}

static int64_t pending_count(outbox_t *o, const char *account)
{
  int64_t all = 0;
  for (size_t i = 0; i < o->peer_count; i++) {
    int64_t told = 0;
    told_count(o, o->peers[i], account, &told);
    all += told == 0;
  }
  return all;
}

static void release_waiters(outbox_t *o)
{
  uint64_t now = clock_mono_ms();
  waiter_t **at = &o->waiters;
  waiter_t *ready = NULL;
  while (*at != NULL) {
    waiter_t *w = *at;
    if (w->until > now && pending_count(o, w->account) > 0) {
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

static void on_timer(uv_timer_t *timer)
{
  look(timer->data);
}

/* Does what is due and sets the time of the next look. */
static void look(outbox_t *o)
{
  bool any = false;
  if (o->stopping)
    return;
  if (o->sow_again)
    sow(o);
  any = o->sow_again;
  for (size_t i = 0; i < o->peer_count; i++)
    any = serve(o->peers[i]) || any;
  release_waiters(o);
  if (!o->stopping)
    uv_timer_start(&o->timer, on_timer, any || o->waiters != NULL ? OUTBOX_TICK_MS : OUTBOX_POLL_MS, 0);
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

json_t *outbox_report(outbox_t *o, const char *account)
{
  json_t *report = json_pack("{s:[], s:[]}", "provisioned", "pending");
  for (size_t i = 0; i < o->peer_count; i++) {
    int64_t told = 0;
    int err = told_count(o, o->peers[i], account, &told);
    json_t *list = json_object_get(report, told > 0 ? "provisioned" : "pending");
    if (err || json_array_append_new(list, json_string(o->peers[i]->host)) != 0) {
      json_decref(report);
      return NULL;
    }
  }
  return report;
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

/* The peers of these URLs, known ones and new ones, and their list for the writer. */
typedef struct circle {
  peer_t *peers[OUTBOX_SISTERS_MAX];
  told_t *told;
} circle_t;

static int add_peer(outbox_t *o, circle_t *c, const char *url, diag_t *diag)
{
  told_t *told = c->told;
  if (told->count == OUTBOX_SISTERS_MAX)
    return diag_fail(diag, SMPL_ELIMIT, "more than %d sisters", OUTBOX_SISTERS_MAX);
  for (size_t i = 0; i < told->count; i++)
    if (strcmp(told->urls[i], url) == 0)
      return SMPL_OK;
  peer_t *peer = peer_named(o, url);
  int err = peer == NULL ? peer_new(o, url, &peer, diag) : SMPL_OK;
  if (err)
    return err;
  memcpy(told->urls[told->count], peer->url, sizeof peer->url);
  c->peers[told->count++] = peer;
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
  for (size_t i = 0; c->told != NULL && i < c->told->count; i++)
    if (!is_in(o->peers, o->peer_count, c->peers[i]))
      free(c->peers[i]);
  free(c->told);
}

static int gather(outbox_t *o, const char *const *urls, circle_t *c, diag_t *diag)
{
  int err = SMPL_OK;
  c->told = calloc(1, sizeof *c->told);
  if (c->told == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  c->told->holders = 1;
  for (; urls != NULL && *urls != NULL && !err; urls++)
    err = add_peer(o, c, *urls, diag);
  if (err)
    undo(o, c);
  return err;
}

static void put_in_force(outbox_t *o, const circle_t *c)
{
  for (size_t i = 0; i < o->peer_count; i++) {
    if (is_in(c->peers, c->told->count, o->peers[i]))
      continue;
    o->peers[i]->next = o->left;
    o->left = o->peers[i];
  }
  free_left(o);
  memcpy(o->peers, c->peers, sizeof o->peers);
  o->peer_count = c->told->count;
  uv_mutex_lock(&o->lock);
  told_t *old = o->told;
  o->told = c->told;
  uv_mutex_unlock(&o->lock);
  if (old != NULL)
    drop_told(o, old);
}

int outbox_set(outbox_t *o, const char *const *urls, diag_t *diag)
{
  circle_t c = {.told = NULL};
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

int outbox_new(uv_loop_t *loop, storage_t *storage, sisters_t *sisters, const char *const *urls,
               outbox_t **out, diag_t *diag)
{
  *out = NULL;
  circle_t c = {.told = NULL};
  outbox_t *o = calloc(1, sizeof *o);
  if (o == NULL || uv_mutex_init(&o->lock) != 0) {
    free(o);
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  }
  o->storage = storage;
  o->sisters = sisters;
  int err = gather(o, urls, &c, diag);
  if (!err) {
    put_in_force(o, &c);
    err = sow(o);
  }
  if (err) {
    outbox_free(o);
    return diag_fail(diag, err, "%s", smpl_strerror(err));
  }
  uv_timer_init(loop, &o->timer);
  o->timer.data = o;
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
    free(w);
  }
  for (size_t i = 0; i < o->peer_count; i++)
    free(o->peers[i]);
  for (peer_t *peer = o->left, *next; peer != NULL; peer = next) {
    next = peer->next;
    free(peer);
  }
  free(o->told);
  uv_mutex_destroy(&o->lock);
  free(o);
}
