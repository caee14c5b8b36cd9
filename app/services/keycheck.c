/* SPDX-License-Identifier: Apache-2.0 */
#include "app/services/keycheck.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "app/services/reply.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/log.h"

enum { BUCKETS = 4096 }; /* a power of two */

typedef enum state {
  STATE_QUEUED, /* for its question */
  STATE_ASKING,
  STATE_ACTIVE,
  STATE_REFUSED
} state_t;

typedef struct entry entry_t;

/* A request. It lives in the request's memory. */
typedef struct waiter {
  crowd_member_t place; /* first; by account if the key is known, else among strangers */
  bool known;
  struct waiter *next, **at;
  entry_t *entry;
  request_t *request;
  caller_cb cb;
  void *service;
} waiter_t;

struct entry {
  entry_t *chain;         /* of the bucket */
  entry_t *newer, *older; /* of its list: an age list if active, a queue if queued and known */
  keycheck_t *owner;
  uint8_t hash[KEY_HASH_LEN]; /* the key itself is not kept */
  state_t state;
  bool known;           /* caller was right when the account service was asked last */
  uint64_t until;       /* monotonic ms: of the answer; while queued, of the wait */
  uint64_t stale_until; /* if known: when it is not believed any more, whatever happens */
  caller_t caller;
  waiter_t *waiters;    /* while queued or asking; never empty while queued */
  ip_t source;          /* of the request that brought it */
  crowd_member_t place; /* if refused, by source; if active, by account */
  stranger_t question;  /* if not known, while queued or asking */
};

typedef struct entry_list {
  entry_t *newest, *oldest;
  size_t count;
} entry_list_t;

struct keycheck {
  keycheck_ask ask;
  rates_t *rates;
  void *ask_ctx;
  crowd_t *waiting; /* requests with known keys, by account */
  size_t asked;     /* about any */
  bool unanswered;  /* the last question found no usable answer: said once */
  entry_list_t active;
  entry_list_t queued;    /* known keys */
  strangers_t *strangers; /* new ones */
  crowd_t *refused;       /* by source */
  crowd_t *accounts;      /* that active keys are of */
  entry_t *buckets[BUCKETS];
};

static void unlink_entry(entry_list_t *list, entry_t *e)
{
  *(e->newer != NULL ? &e->newer->older : &list->newest) = e->older;
  *(e->older != NULL ? &e->older->newer : &list->oldest) = e->newer;
  e->newer = e->older = NULL;
  list->count--;
}

static void push_newest(entry_list_t *list, entry_t *e)
{
  e->newer = NULL;
  e->older = list->newest;
  *(e->older != NULL ? &e->older->newer : &list->oldest) = e;
  list->newest = e;
  list->count++;
}

/* The hash is SHA-256 of a secret: any of its bytes are evenly spread, and none can be chosen to collide
 * cheaply. */
static entry_t **bucket_of(keycheck_t *k, const uint8_t *hash)
{
  uint32_t h;
  memcpy(&h, hash, sizeof h);
  return &k->buckets[h & (BUCKETS - 1)];
}

static entry_t *find(keycheck_t *k, const uint8_t *hash)
{
  for (entry_t *e = *bucket_of(k, hash); e != NULL; e = e->chain)
    if (key_hash_equal(e->hash, hash))
      return e;
  return NULL;
}

/* Out of whatever it is in: it is in none then, as while it is asked about. */
static void take_out(keycheck_t *k, entry_t *e)
{
  if (e->state == STATE_ACTIVE)
    unlink_entry(&k->active, e);
  else if (e->state == STATE_QUEUED && e->known)
    unlink_entry(&k->queued, e);
  crowd_leave(e->state == STATE_ACTIVE ? k->accounts : k->refused, &e->place);
  strangers_end(k->strangers, &e->question);
  e->state = STATE_ASKING;
}

static void drop(keycheck_t *k, entry_t *e)
{
  entry_t **at = bucket_of(k, e->hash);
  while (*at != e)
    at = &(*at)->chain;
  *at = e->chain;
  take_out(k, e);
  free(e);
}

static entry_t *add(keycheck_t *k, const uint8_t *hash, const ip_t *source)
{
  entry_t *e = calloc(1, sizeof *e);
  if (e == NULL)
    return NULL;
  entry_t **at = bucket_of(k, hash);
  memcpy(e->hash, hash, sizeof e->hash);
  e->owner = k;
  e->source = *source;
  e->state = STATE_ASKING;
  e->chain = *at;
  *at = e;
  return e;
}

static entry_t *oldest_active(const keycheck_t *k)
{
  crowd_member_t *most = crowd_heaviest(k->accounts);
  if (most != NULL && crowd_of_network(most) > KEYCHECK_ACTIVE_MAX / KEYCHECK_ACTIVE_SHARE)
    return (entry_t *)(void *)((char *)most - offsetof(entry_t, place));
  return k->active.oldest;
}

/* Of an entry that is in no list. */
static void keep_active(keycheck_t *k, entry_t *e, uint64_t until)
{
  ip_t account = uuid_place(e->caller.account);
  e->state = STATE_ACTIVE;
  e->until = until;
  if (k->active.count == KEYCHECK_ACTIVE_MAX)
    drop(k, oldest_active(k));
  push_newest(&k->active, e);
  crowd_add(k->accounts, &e->place, &account, 1); /* without memory it is only not counted */
}

/* The same; the oldest of whichever source has most of them is forgotten for it. */
static void keep_refused(keycheck_t *k, entry_t *e, uint64_t until)
{
  e->state = STATE_REFUSED;
  e->until = until;
  if (crowd_add(k->refused, &e->place, &e->source, 1)) {
    drop(k, e);
    return;
  }
  if (crowd_total(k->refused) > KEYCHECK_REFUSED_MAX)
    drop(k, (entry_t *)(void *)((char *)crowd_heaviest(k->refused) - offsetof(entry_t, place)));
}

typedef struct answer {
  bool active;
  caller_t caller;
  uint64_t for_ms, stale_ms; /* from now: believed without a question; believed at all */
} answer_t;

/* The account service's answer. False if it is not one of the kind agreed on. */
static bool read_answer(const sister_reply_t *reply, answer_t *out)
{
  const json_t *flag = json_object_get(reply->body, "active");
  *out = (answer_t){.for_ms = KEYCHECK_REFUSED_MS};
  if (reply->err || reply->status != 200 || !json_is_boolean(flag))
    return false;
  out->active = json_is_true(flag);
  if (!out->active)
    return true;
  const char *account = json_string_value(json_object_get(reply->body, "account"));
  const char *key_id = json_string_value(json_object_get(reply->body, "key_id"));
  if (account == NULL || key_id == NULL || !uuid_valid(account) || !uuid_valid(key_id))
    return false;
  memcpy(out->caller.account, account, sizeof out->caller.account);
  memcpy(out->caller.key_id, key_id, sizeof out->caller.key_id);
  out->for_ms = KEYCHECK_ACTIVE_MS;
  out->stale_ms = KEYCHECK_ACTIVE_MS + KEYCHECK_STALE_MS;
  const json_t *expires_in = json_object_get(reply->body, "expires_in_ms");
  if (json_is_integer(expires_in)) {
    json_int_t given = json_integer_value(expires_in);
    uint64_t left = given > 0 ? (uint64_t)given : 0;
    out->for_ms = left < out->for_ms ? left : out->for_ms;
    out->stale_ms = left < out->stale_ms ? left : out->stale_ms;
  }
  return true;
}

/* Nobody could be asked, or it said itself that it cannot answer. Another answer that makes no sense is
 * none to build on. */
static bool cannot_be_asked(const sister_reply_t *reply)
{
  return reply->err != 0 || reply->status >= 500;
}

static void refuse_unanswered(request_t *request)
{
  reply_unavailable(request, "the API key cannot be checked now: the account service does not answer");
}

/* One line when the account service stops answering, however many requests ask, and one when it answers
 * again. */
static void say_unanswered(keycheck_t *k, const char *why, int status)
{
  if (why == NULL)
    why = status == 401 || status == 403 ? "the account service does not accept this service's internal key"
                                         : "no usable answer of the account service";
  if (!k->unanswered)
    log_warn("keys cannot be checked: %s (status %d)", why, status);
  k->unanswered = true;
}

static void say_answered(keycheck_t *k)
{
  if (k->unanswered)
    log_info("keys can be checked again");
  k->unanswered = false;
}

/* The key is good. */
static void pass(keycheck_t *k, request_t *request, caller_cb cb, void *service, const caller_t *caller)
{
  if (caller_within_rate(k->rates, request, caller))
    cb(request, service, caller);
}

/* What becomes of requests that waited. */
typedef enum verdict { VERDICT_GO_ON, VERDICT_REFUSED, VERDICT_UNANSWERED, VERDICT_TOO_MANY } verdict_t;

static void refuse_too_many(request_t *request)
{
  reply_unavailable(request, "too many API keys are being checked; try again");
}

/* Their entry may be dropped by now, or by what they lead to. */
static void release(keycheck_t *k, waiter_t *waiters, verdict_t verdict, const caller_t *caller)
{
  caller_t copy = caller != NULL ? *caller : (caller_t){.account = ""};
  for (waiter_t *w = waiters; w != NULL; w = w->next) {
    if (w->known)
      crowd_leave(k->waiting, &w->place);
    else
      strangers_go(k->strangers, &w->place);
  }
  while (waiters != NULL) {
    waiter_t *w = waiters; /* lives in its request: read it before the reply */
    request_t *request = w->request;
    waiters = w->next;
    if (verdict == VERDICT_GO_ON)
      pass(k, request, w->cb, w->service, &copy);
    else if (verdict == VERDICT_REFUSED)
      caller_refuse(request);
    else if (verdict == VERDICT_UNANSWERED)
      refuse_unanswered(request);
    else
      refuse_too_many(request);
  }
}

static bool is_believed(const entry_t *e)
{
  return e->known && clock_mono_ms() < e->stale_until;
}

/* The entry gets no answer for now: it stays as it was if it is still believed, else it goes. */
static void give_up(keycheck_t *k, entry_t *e, bool believe, verdict_t otherwise)
{
  waiter_t *waiters = e->waiters;
  caller_t caller = e->caller;
  e->waiters = NULL;
  take_out(k, e);
  if (believe && is_believed(e)) {
    uint64_t again = clock_mono_ms() + KEYCHECK_STALE_RETRY_MS;
    keep_active(k, e, again < e->stale_until ? again : e->stale_until);
    release(k, waiters, VERDICT_GO_ON, &caller);
  } else {
    drop(k, e);
    release(k, waiters, otherwise, NULL);
  }
}

static void take_answer(keycheck_t *k, entry_t *e, const answer_t *answer)
{
  uint64_t now = clock_mono_ms();
  waiter_t *waiters = e->waiters;
  e->waiters = NULL;
  take_out(k, e);
  e->known = answer->active;
  e->caller = answer->caller;
  e->stale_until = now + answer->stale_ms;
  if (answer->active)
    keep_active(k, e, now + answer->for_ms);
  else
    keep_refused(k, e, now + answer->for_ms);
  release(k, waiters, answer->active ? VERDICT_GO_ON : VERDICT_REFUSED, &answer->caller);
}

static void ask_queued(keycheck_t *k);

static void on_answer(void *ctx, const sister_reply_t *reply)
{
  entry_t *e = ctx;
  keycheck_t *k = e->owner;
  answer_t answer;
  k->asked--;
  if (read_answer(reply, &answer)) {
    say_answered(k);
    take_answer(k, e, &answer);
  } else {
    say_unanswered(k, reply->why, reply->status);
    give_up(k, e, cannot_be_asked(reply), VERDICT_UNANSWERED);
  }
  ask_queued(k);
}

/* Asks about the key that the entry's requests bear; the entry is in no list. */
static void ask(keycheck_t *k, entry_t *e)
{
  request_t *request = e->waiters->request;
  json_t *question = json_pack("{s:s}", "key", request_bearer(request));
  int err = question == NULL ? SMPL_ENOMEM : SMPL_OK;
  e->state = STATE_ASKING;
  if (!err)
    err = k->ask(k->ask_ctx, question, request_id(request), on_answer, e);
  json_decref(question);
  if (err) {
    say_unanswered(k, smpl_strerror(err), 0);
    give_up(k, e, true, VERDICT_UNANSWERED);
  } else {
    k->asked++;
  }
}

/* Known keys first. */
static entry_t *next_queued(keycheck_t *k)
{
  if (k->asked == KEYCHECK_ASKED_MAX)
    return NULL;
  if (k->queued.oldest != NULL)
    return k->queued.oldest;
  stranger_t *question = strangers_take(k->strangers);
  return question != NULL ? (entry_t *)(void *)((char *)question - offsetof(entry_t, question)) : NULL;
}

/* Asks as much as may be asked now. Who has waited too long is given up. No timer is needed: while
 * something is queued, questions are under way, and each ends in KEYCHECK_TIMEOUT_MS. */
static void ask_queued(keycheck_t *k)
{
  entry_t *e;
  while ((e = next_queued(k)) != NULL) {
    if (e->known)
      take_out(k, e);
    if (clock_mono_ms() < e->until)
      ask(k, e);
    else
      give_up(k, e, true, VERDICT_TOO_MANY);
  }
}

/* A request that had to leave for another one. */
static void displace(keycheck_t *k, waiter_t *w)
{
  entry_t *e = w->entry;
  waiter_t left = *w; /* it lives in its request */
  caller_t caller = e->caller;
  bool believed = is_believed(e);
  *w->at = w->next;
  if (w->next != NULL)
    w->next->at = w->at;
  if (e->waiters == NULL && e->state == STATE_QUEUED)
    give_up(k, e, true, VERDICT_TOO_MANY); /* nobody waits for it */
  if (believed)
    pass(k, left.request, left.cb, left.service, &caller);
  else
    refuse_too_many(left.request);
}

/* A place by account, as strangers have them by source. */
static int take_known_place(keycheck_t *k, waiter_t *w, crowd_member_t **displaced)
{
  ip_t account = uuid_place(w->entry->caller.account);
  return crowd_add_within(k->waiting, &w->place, &account, KEYCHECK_WAITING_MAX, displaced);
}

/* Puts the request behind the entry's question. */
static bool wait_for(keycheck_t *k, entry_t *e, request_t *request, caller_cb cb, void *service)
{
  crowd_member_t *displaced = NULL;
  waiter_t *w = request_alloc(request, sizeof *w);
  if (w == NULL)
    return false;
  *w = (waiter_t){.next = e->waiters,
                  .at = &e->waiters,
                  .entry = e,
                  .known = e->known,
                  .request = request,
                  .cb = cb,
                  .service = service};
  if (e->known ? take_known_place(k, w, &displaced)
               : strangers_wait(k->strangers, &w->place, request_source(request), &displaced))
    return false;
  if (w->next != NULL)
    w->next->at = &w->next;
  e->waiters = w;
  if (displaced != NULL)
    displace(k, (waiter_t *)displaced);
  return true;
}

static bool queue(keycheck_t *k, entry_t *e)
{
  if (!e->known && strangers_queue(k->strangers, &e->question, &e->source))
    return false;
  e->state = STATE_QUEUED;
  e->until = clock_mono_ms() + KEYCHECK_QUEUE_MS;
  if (e->known)
    push_newest(&k->queued, e);
  return true;
}

/* The entry, in no list, needs an answer for this request: asks now, or later. */
static void ask_for(keycheck_t *k, entry_t *e, request_t *request, caller_cb cb, void *service)
{
  if (!wait_for(k, e, request, cb, service)) {
    caller_t caller = e->caller;
    bool believed = is_believed(e);
    give_up(k, e, true, VERDICT_TOO_MANY); /* nobody waits for it */
    if (believed)
      pass(k, request, cb, service, &caller);
    else
      refuse_too_many(request);
  } else if (e->waiters != NULL && queue(k, e)) { /* unless it had to leave for what that led to */
    ask_queued(k);
  } else {
    give_up(k, e, true, VERDICT_TOO_MANY);
  }
}

/* The answer is there already, or on its way. */
static void use_entry(keycheck_t *k, entry_t *e, request_t *request, caller_cb cb, void *service)
{
  caller_t caller = e->caller;
  switch (e->state) {
  case STATE_REFUSED:
    caller_refuse(request);
    break;
  case STATE_ACTIVE:
    unlink_entry(&k->active, e);
    push_newest(&k->active, e);
    if (e->place.at != NULL)
      crowd_renew(&e->place);
    pass(k, request, cb, service, &caller);
    break;
  case STATE_QUEUED:
  case STATE_ASKING:
    if (wait_for(k, e, request, cb, service))
      break;
    if (is_believed(e))
      pass(k, request, cb, service, &caller);
    else
      refuse_too_many(request);
    break;
  }
}

void keycheck_guard(keycheck_t *k, request_t *request, caller_cb cb, void *service)
{
  uint8_t hash[KEY_HASH_LEN];
  const char *token = caller_token(request);
  if (token == NULL)
    return;
  if (key_hash(token, hash)) {
    reply_storage_error(request, SMPL_ESYS);
    return;
  }
  entry_t *e = find(k, hash);
  bool answered = e != NULL && (e->state == STATE_ACTIVE || e->state == STATE_REFUSED);
  if (answered && e->until <= clock_mono_ms()) {
    take_out(k, e);
    e->source = *request_source(request);
    ask_for(k, e, request, cb, service);
  } else if (e != NULL) {
    use_entry(k, e, request, cb, service);
  } else if ((e = add(k, hash, request_source(request))) != NULL) {
    ask_for(k, e, request, cb, service);
  } else {
    refuse_too_many(request);
  }
}

int keycheck_new(keycheck_ask ask_fn, void *ask_ctx, rates_t *rates, keycheck_t **out)
{
  keycheck_t *k = calloc(1, sizeof *k);
  *out = NULL;
  if (k == NULL)
    return SMPL_ENOMEM;
  k->ask = ask_fn;
  k->ask_ctx = ask_ctx;
  k->rates = rates;
  k->refused = crowd_new();
  k->accounts = crowd_new_flat();
  k->waiting = crowd_new_flat();
  k->strangers = strangers_new();
  if (k->refused == NULL || k->accounts == NULL || k->waiting == NULL || k->strangers == NULL) {
    keycheck_free(k);
    return SMPL_ENOMEM;
  }
  *out = k;
  return SMPL_OK;
}

void keycheck_free(keycheck_t *k)
{
  if (k == NULL)
    return;
  for (size_t i = 0; i < BUCKETS; i++) {
    for (entry_t *e = k->buckets[i], *next; e != NULL; e = next) {
      next = e->chain;
      e->waiters = NULL;
      take_out(k, e);
      free(e);
    }
  }
  crowd_free(k->refused);
  crowd_free(k->accounts);
  crowd_free(k->waiting);
  strangers_free(k->strangers);
  free(k);
}

void keycheck_counts(const keycheck_t *k, size_t *active, size_t *refused, size_t *waiting)
{
  *active = k->active.count;
  *refused = (size_t)crowd_total(k->refused);
  *waiting = (size_t)crowd_total(k->waiting) + strangers_waiting(k->strangers);
}
