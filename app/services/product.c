/* SPDX-License-Identifier: Apache-2.0 */
#include "app/services/product.h"

#include <stdlib.h>
#include <string.h>

#include "app/services/reply.h"
#include "app/services/stores.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/text.h"

static int ask_account_service(void *ctx, const json_t *question, const char *id, sister_cb cb, void *cb_ctx)
{
  product_t *p = ctx;
  sister_request_t request = {.method = "POST",
                              .base_url = p->accounts_url,
                              .path = "/internal/v1/keys/introspect",
                              .body = question,
                              .request_id = id,
                              .timeout_ms = KEYCHECK_TIMEOUT_MS};
  return sisters_call(p->sisters, &request, cb, cb_ctx);
}

static void ignore_closed(void *ctx)
{
  (void)ctx;
}

static void free_product(product_t *p)
{
  turns_free(p->reads);
  answers_free(p->answers);
  keycheck_free(p->keycheck);
  rates_free(p->rates);
  free(p);
}

static int open_parts(product_t *p, const service_env_t *env, const char *owner, diag_t *diag)
{
  sister_url_t url;
  if (env->accounts_url == NULL)
    return diag_fail(diag, SMPL_EINVAL, "the %s service needs accounts: {url: ...}", owner);
  int err = sister_url_parse(env->accounts_url, &url, diag);
  if (!err && text_copy(p->accounts_url, sizeof p->accounts_url, env->accounts_url))
    err = diag_fail(diag, SMPL_ELIMIT, "the account service's URL is too long");
  if (!err && (p->rates = rates_new(env->rate_requests, env->rate_burst)) == NULL)
    err = diag_fail(diag, SMPL_ENOMEM, "out of memory");
  if (!err && keycheck_new(ask_account_service, p, p->rates, &p->keycheck))
    err = diag_fail(diag, SMPL_ENOMEM, "out of memory");
  if (!err && (p->answers = answers_new()) == NULL)
    err = diag_fail(diag, SMPL_ENOMEM, "out of memory");
  if (!err && (p->reads = turns_new(&(turns_conf_t){.places = PRODUCT_READS_MAX, .out = 1})) == NULL)
    err = diag_fail(diag, SMPL_ENOMEM, "out of memory");
  if (!err)
    err = stores_open(env, owner, &p->store, diag);
  if (!err) {
    err = sisters_new(env->loop, env->lookup, env->source, env->internal_key, &p->sisters, diag);
    if (err)
      store_close(p->store, ignore_closed, NULL);
  }
  return err;
}

int product_open(const service_env_t *env, const char *owner, const struct resource_kind *kind, void **state,
                 diag_t *diag)
{
  *state = NULL;
  product_t *p = calloc(1, sizeof *p);
  if (p == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  p->kind = kind;
  int err = open_parts(p, env, owner, diag);
  if (err) {
    free_product(p);
  } else {
    *state = p;
  }
  return err;
}

int product_reload(void *state, const service_env_t *env, diag_t *diag)
{
  product_t *p = state;
  sister_url_t url;
  sisters_way_t *way = NULL;
  int err = sister_url_parse(env->accounts_url, &url, diag);
  if (!err && strlen(env->accounts_url) >= sizeof p->accounts_url)
    err = diag_fail(diag, SMPL_ELIMIT, "the account service's URL is too long");
  if (!err && sisters_way_new(env->lookup, env->source, env->internal_key, &way))
    err = diag_fail(diag, SMPL_ENOMEM, "out of memory");
  if (err)
    return err;
  text_copy(p->accounts_url, sizeof p->accounts_url, env->accounts_url);
  sisters_use(p->sisters, way);
  rates_set(p->rates, env->rate_requests, env->rate_burst, clock_mono_us());
  return SMPL_OK;
}

static void on_store_closed(void *ctx)
{
  product_t *p = ctx;
  void (*closed)(void *) = p->closed;
  void *closed_ctx = p->closed_ctx;
  free_product(p);
  closed(closed_ctx);
}

static void on_sisters_closed(void *ctx)
{
  product_t *p = ctx;
  store_close(p->store, on_store_closed, p);
}

void product_close(void *state, void (*done)(void *ctx), void *ctx)
{
  product_t *p = state;
  p->closed = done;
  p->closed_ctx = ctx;
  sisters_close(p->sisters, on_sisters_closed, p);
}

void product_check(void *state, void (*done)(void *ctx, int err, const char *why), void *ctx)
{
  product_t *p = state;
  stores_check(p->store, done, ctx);
}

void product_gauges(void *state, void (*say)(void *ctx, const char *name, const char *help, double value),
                    void (*done)(void *ctx), void *ctx)
{
  const product_t *p = state;
  size_t active, refused, waiting;
  keycheck_counts(p->keycheck, &active, &refused, &waiting);
  say(ctx, "smpl_app_keys_active", "API keys cached as active.", (double)active);
  say(ctx, "smpl_app_keys_refused", "API keys cached as refused.", (double)refused);
  say(ctx, "smpl_app_keys_waiting", "Requests that wait for the account service's word on a key.",
      (double)waiting);
  answers_counts_t answers = answers_counts(p->answers);
  say(ctx, "smpl_app_answers_kept", "Answers to reads that are kept ready.", (double)answers.kept);
  say(ctx, "smpl_app_answers_kept_bytes", "Bytes of their bodies.", (double)answers.bytes);
  say(ctx, "smpl_app_answers_used_total", "Reads that were answered by a kept answer, since the start.",
      (double)answers.used);
  say(ctx, "smpl_app_reads_waiting", "Long reads queued and not answered.",
      (double)(turns_waiting(p->reads) + turns_out(p->reads)));
  say(ctx, "smpl_app_writes_waiting", "Writes queued and not committed.", (double)store_writes(p->store));
  done(ctx);
}

static void go_on(request_t *request, void *state, const caller_t *caller)
{
  (void)state;
  request_is_of(request, caller->account); /* the handler asks again: by then the answer is in the cache */
  request_go_on(request);
}

void product_judge(request_t *request, void *state)
{
  product_t *p = state;
  keycheck_guard(p->keycheck, request, go_on, p);
}

void product_guard(product_t *p, request_t *request, caller_cb cb)
{
  keycheck_guard(p->keycheck, request, cb, p);
}

static answers_key_t key_of(const request_t *request, const char *account)
{
  answers_key_t key = {.account = account};
  key.target = request_target(request, &key.target_len);
  return key;
}

/* Keeps an answer if the data has stayed as it was all the while. */
static void keep_answer(void *ctx, shared_t *body)
{
  const read_t *r = ctx;
  answers_key_t key = key_of(r->request, r->fetch.account);
  store_change_t now;
  if (store_change(r->product->store, &now) && store_change_equal(&now, &r->change))
    answers_keep(r->product->answers, &now, &key, body);
}

static void reply_problem(request_t *request, const char *parameter, problem_t *problem)
{
  if (parameter != NULL)
    request_reply_error(request, problem->status, problem->title, NULL, parameter, "%s", problem->detail);
  else
    problem_reply(request, problem);
  free(problem);
}

/* The read is over, wherever it ran. */
static void answer(read_t *r, int err)
{
  shared_t *kept = r->kept;
  if (kept != NULL) {
    request_reply_kept(r->request, kept);
    shared_drop(kept);
  } else if (!err) {
    request_keep_body(r->request, keep_answer, r);
    request_reply_text(r->request, 200, r->fetch.text);
  } else if (r->fetch.problem != NULL) {
    reply_problem(r->request, r->fetch.parameter, r->fetch.problem);
  } else {
    reply_read_error(r->request, err);
  }
}

/* The kept answer to that in the present state, if there is one, and that state. */
static shared_t *find_kept(const product_t *p, const request_t *request, const char *account,
                           store_change_t *change)
{
  answers_key_t key = key_of(request, account);
  return store_change(p->store, change) ? answers_find(p->answers, change, &key) : NULL;
}

static read_t *read_of(turns_item_t *turn)
{
  return (read_t *)((char *)turn - offsetof(read_t, turn));
}

/* Those that the first of them has answered go to the store and back too, so that the loop answers one a
 * turn. */
static void start_next(product_t *p)
{
  turns_item_t *turn = turns_take(p->reads);
  if (turn == NULL)
    return;
  read_t *r = read_of(turn);
  shared_t *kept = find_kept(p, r->request, r->fetch.account, &r->change);
  r->kept = kept != NULL ? shared_take(kept) : NULL;
  if (kept != NULL)
    store_pass(p->store, &r->fetch.call, SMPL_OK);
  else
    store_ask(p->store, &r->fetch.call);
}

static void done_in_turn(store_call_t *call, int err)
{
  read_t *r = (read_t *)call; /* gone once it is answered */
  product_t *p = r->product;
  turns_give_back(p->reads, &r->turn, call->took_ms / PRODUCT_READ_TURN_MS);
  answer(r, err);
  start_next(p);
}

/* It was answered at once, or gave its place to another account's. */
static void done_alone(store_call_t *call, int err)
{
  answer((read_t *)call, err);
}

static void queue_read(read_t *r)
{
  product_t *p = r->product;
  turns_item_t *displaced;
  r->fetch.call.done = done_in_turn;
  if (turns_join(p->reads, &r->fetch.call.job.key, 1, &r->turn, &displaced)) {
    reply_read_error(r->request, SMPL_ELIMIT);
    return;
  }
  if (displaced != NULL) {
    read_t *other = read_of(displaced);
    other->fetch.call.done = done_alone;
    store_pass(p->store, &other->fetch.call, SMPL_ELIMIT);
  }
  start_next(p);
}

/* What a request that waits for its key to be checked remembers. */
typedef struct intent {
  product_t *product;
  const read_kind_t *kind;
} intent_t;

static void start_read(request_t *request, void *ctx, const caller_t *caller)
{
  const intent_t *intent = ctx;
  product_t *p = intent->product;
  store_change_t change = {{0}};
  shared_t *body = find_kept(p, request, caller->account, &change);
  if (body != NULL) {
    request_reply_kept(request, body);
    return;
  }
  read_t *r = request_alloc(request, intent->kind->size);
  if (r == NULL) {
    reply_storage_error(request, SMPL_ENOMEM);
    return;
  }
  request_is_of(request, caller->account);
  r->request = request;
  r->product = p;
  r->change = change;
  memcpy(r->fetch.account, caller->account, sizeof r->fetch.account);
  r->fetch.id = request_parameter(request, "id");
  r->fetch.call =
      (store_call_t){.op = intent->kind->op, .done = done_alone, .job.key = request_share(request)};
  if (intent->kind->prepare != NULL && !intent->kind->prepare(r))
    return;
  if (!store_ask_at_once(p->store, &r->fetch.call))
    queue_read(r);
}

void product_read(product_t *p, request_t *request, const read_kind_t *kind)
{
  intent_t *intent = request_alloc(request, sizeof *intent);
  if (intent == NULL) {
    reply_storage_error(request, SMPL_ENOMEM);
    return;
  }
  *intent = (intent_t){p, kind};
  keycheck_guard(p->keycheck, request, start_read, intent);
}
