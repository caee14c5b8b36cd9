#include "app/services/keycheck.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "app/services/problem.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"

enum { BUCKETS = 4096 }; /* a power of two */

typedef enum state { STATE_ASKING, STATE_ACTIVE, STATE_REFUSED } state_t;

typedef struct waiter {
  struct waiter *next;
  request_t *request;
  caller_cb cb;
  void *service;
} waiter_t;

typedef struct entry {
  struct entry *chain;         /* of the bucket */
  struct entry *newer, *older; /* of its age list, if active or refused */
  keycheck_t *owner;
  uint8_t hash[KEY_HASH_LEN]; /* the key itself is not kept */
  state_t state;
  uint64_t until; /* monotonic ms */
  caller_t caller;
  waiter_t *waiters; /* while asking */
} entry_t;

typedef struct age_list {
  entry_t *newest, *oldest;
  size_t count, max;
} age_list_t;

struct keycheck {
  keycheck_ask ask;
  void *ask_ctx;
  size_t waiting;
  bool unanswered; /* the last question found no usable answer: said once */
  age_list_t active, refused;
  entry_t *buckets[BUCKETS];
};

static age_list_t *list_of(keycheck_t *k, state_t state)
{
  return state == STATE_ACTIVE ? &k->active : &k->refused;
}

static void unlink_age(age_list_t *list, entry_t *e)
{
  *(e->newer != NULL ? &e->newer->older : &list->newest) = e->older;
  *(e->older != NULL ? &e->older->newer : &list->oldest) = e->newer;
  e->newer = e->older = NULL;
  list->count--;
}

static void push_newest(age_list_t *list, entry_t *e)
{
  e->newer = NULL;
  e->older = list->newest;
  *(e->older != NULL ? &e->older->newer : &list->oldest) = e;
  list->newest = e;
  list->count++;
}

/* The hash is SHA-256 of a secret: any of its bytes are evenly spread, and none can be chosen to collide cheaply. */
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

static void drop(keycheck_t *k, entry_t *e)
{
  entry_t **at = bucket_of(k, e->hash);
  while (*at != e)
    at = &(*at)->chain;
  *at = e->chain;
  if (e->state != STATE_ASKING)
    unlink_age(list_of(k, e->state), e);
  free(e);
}

static entry_t *add(keycheck_t *k, const uint8_t *hash)
{
  entry_t *e = calloc(1, sizeof *e);
  if (e == NULL)
    return NULL;
  entry_t **at = bucket_of(k, hash);
  memcpy(e->hash, hash, sizeof e->hash);
  e->owner = k;
  e->chain = *at;
  *at = e;
  return e;
}

static void keep(keycheck_t *k, entry_t *e, state_t state, uint64_t for_ms)
{
  age_list_t *list = list_of(k, state);
  if (list->count == list->max)
    drop(k, list->oldest);
  e->state = state;
  e->until = clock_mono_ms() + for_ms;
  push_newest(list, e);
}

/* The account service's answer. False if it is not one of the kind agreed on. */
static bool read_answer(const sister_reply_t *reply, bool *active, caller_t *caller, uint64_t *for_ms)
{
  const json_t *flag = json_object_get(reply->body, "active");
  if (reply->err || reply->status != 200 || !json_is_boolean(flag))
    return false;
  *active = json_is_true(flag);
  *for_ms = *active ? KEYCHECK_ACTIVE_MS : KEYCHECK_REFUSED_MS;
  if (!*active)
    return true;
  const char *account = json_string_value(json_object_get(reply->body, "account"));
  const char *key_id = json_string_value(json_object_get(reply->body, "key_id"));
  if (account == NULL || key_id == NULL || !uuid_valid(account) || !uuid_valid(key_id))
    return false;
  memcpy(caller->account, account, sizeof caller->account);
  memcpy(caller->key_id, key_id, sizeof caller->key_id);
  const json_t *expires_in = json_object_get(reply->body, "expires_in_ms");
  if (json_is_integer(expires_in)) {
    json_int_t left = json_integer_value(expires_in);
    if (left < KEYCHECK_ACTIVE_MS)
      *for_ms = left > 0 ? (uint64_t)left : 0;
  }
  return true;
}

static void refuse_unanswered(request_t *request)
{
  reply_unavailable(request, "the API key cannot be checked now: the account service does not answer");
}

/* One line when the account service stops answering, however many requests ask, and one when it answers again. */
static void say_unanswered(keycheck_t *k, const char *why, int status)
{
  if (!k->unanswered)
    log_warn("keys cannot be checked: %s%s (status %d)",
             why != NULL ? "" : "no usable answer of the account service", why != NULL ? why : "", status);
  k->unanswered = true;
}

static void say_answered(keycheck_t *k)
{
  if (k->unanswered)
    log_info("keys can be checked again");
  k->unanswered = false;
}

static void on_answer(void *ctx, const sister_reply_t *reply)
{
  entry_t *e = ctx;
  keycheck_t *k = e->owner;
  waiter_t *waiters = e->waiters;
  caller_t caller = {.account = ""};
  bool active = false;
  uint64_t for_ms = 0;
  bool known = read_answer(reply, &active, &caller, &for_ms);
  e->waiters = NULL;
  e->caller = caller;
  if (known) {
    say_answered(k);
    keep(k, e, active ? STATE_ACTIVE : STATE_REFUSED, for_ms);
  } else {
    say_unanswered(k, reply->why, reply->status);
    drop(k, e);
  }
  while (waiters != NULL) {
    waiter_t *w = waiters; /* lives in its request: read it before the reply */
    request_t *request = w->request;
    waiters = w->next;
    k->waiting--;
    if (!known)
      refuse_unanswered(request);
    else if (!active)
      caller_refuse(request);
    else
      w->cb(request, w->service, &caller);
  }
}

static int ask(keycheck_t *k, entry_t *e, const char *token, const char *id)
{
  json_t *question = json_pack("{s:s}", "key", token);
  if (question == NULL)
    return SMPL_ENOMEM;
  int err = k->ask(k->ask_ctx, question, id, on_answer, e);
  json_decref(question);
  return err;
}

/* Puts the request behind the entry's question. */
static bool wait_for(keycheck_t *k, entry_t *e, request_t *request, caller_cb cb, void *service)
{
  waiter_t *w = k->waiting < KEYCHECK_WAITING_MAX ? request_alloc(request, sizeof *w) : NULL;
  if (w == NULL)
    return false;
  *w = (waiter_t){e->waiters, request, cb, service};
  e->waiters = w;
  k->waiting++;
  return true;
}

static void ask_anew(keycheck_t *k, const uint8_t *hash, const char *token, request_t *request, caller_cb cb,
                     void *service)
{
  entry_t *e = add(k, hash);
  if (e == NULL || !wait_for(k, e, request, cb, service)) {
    if (e != NULL)
      drop(k, e);
    reply_unavailable(request, "too many API keys are being checked; try again");
    return;
  }
  int err = ask(k, e, token, request_id(request));
  if (err) {
    k->waiting--;
    drop(k, e);
    say_unanswered(k, smpl_strerror(err), 0);
    refuse_unanswered(request);
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
  if (e != NULL && e->state != STATE_ASKING && e->until <= clock_mono_ms()) {
    drop(k, e);
    e = NULL;
  }
  if (e == NULL) {
    ask_anew(k, hash, token, request, cb, service);
  } else if (e->state == STATE_ASKING) {
    if (!wait_for(k, e, request, cb, service))
      reply_unavailable(request, "too many API keys are being checked; try again");
  } else if (e->state == STATE_REFUSED) {
    caller_refuse(request);
  } else {
    caller_t caller = e->caller;
    unlink_age(&k->active, e);
    push_newest(&k->active, e);
    cb(request, service, &caller);
  }
}

int keycheck_new(keycheck_ask ask_fn, void *ask_ctx, keycheck_t **out)
{
  keycheck_t *k = calloc(1, sizeof *k);
  *out = k;
  if (k == NULL)
    return SMPL_ENOMEM;
  k->ask = ask_fn;
  k->ask_ctx = ask_ctx;
  k->active.max = KEYCHECK_ACTIVE_MAX;
  k->refused.max = KEYCHECK_REFUSED_MAX;
  return SMPL_OK;
}

void keycheck_free(keycheck_t *k)
{
  if (k == NULL)
    return;
  for (size_t i = 0; i < BUCKETS; i++) {
    for (entry_t *e = k->buckets[i], *next; e != NULL; e = next) {
      next = e->chain;
      free(e);
    }
  }
  free(k);
}

void keycheck_counts(const keycheck_t *k, size_t *active, size_t *refused, size_t *waiting)
{
  *active = k->active.count;
  *refused = k->refused.count;
  *waiting = k->waiting;
}
