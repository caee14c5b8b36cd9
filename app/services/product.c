#include "app/services/product.h"

#include <stdlib.h>

#include "app/services/jsonapi.h"
#include "common/error.h"
#include "common/text.h"

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

static int open_parts(product_t *p, const service_env_t *env, const storage_schema_t *schema, diag_t *diag)
{
  sister_url_t url;
  if (env->accounts_url == NULL)
    return diag_fail(diag, SMPL_EINVAL, "the %s service needs accounts: {url: ...}", schema->owner);
  int err = sister_url_parse(env->accounts_url, &url, diag);
  if (!err && text_copy(p->accounts_url, sizeof p->accounts_url, env->accounts_url))
    err = diag_fail(diag, SMPL_ELIMIT, "the account service's URL is too long");
  if (!err && keycheck_new(ask_account_service, p, &p->keycheck))
    err = diag_fail(diag, SMPL_ENOMEM, "out of memory");
  if (!err && (p->answers = answers_new()) == NULL)
    err = diag_fail(diag, SMPL_ENOMEM, "out of memory");
  if (!err && turns_new(env->loop, &p->turns))
    err = diag_fail(diag, SMPL_ENOMEM, "out of memory");
  if (!err)
    err = storage_open(env->loop, env->database, schema, &p->storage, diag);
  if (!err) {
    err = sisters_new(env->loop, env->lookup, env->source, &p->sisters, diag);
    if (err)
      storage_close(p->storage, ignore_closed, NULL);
  }
  return err;
}

int product_open(const service_env_t *env, const storage_schema_t *schema, product_provision provision,
                 void **state, diag_t *diag)
{
  *state = NULL;
  product_t *p = calloc(1, sizeof *p);
  if (p == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  p->provision = provision;
  int err = open_parts(p, env, schema, diag);
  if (err) {
    if (p->turns != NULL)
      turns_close(p->turns, ignore_closed, NULL);
    answers_free(p->answers);
    keycheck_free(p->keycheck);
    free(p);
  } else {
    *state = p;
  }
  return err;
}

static void on_turns_closed(void *ctx)
{
  product_t *p = ctx;
  void (*closed)(void *) = p->closed;
  void *closed_ctx = p->closed_ctx;
  answers_free(p->answers);
  keycheck_free(p->keycheck);
  free(p);
  closed(closed_ctx);
}

static void on_storage_closed(void *ctx)
{
  product_t *p = ctx;
  turns_close(p->turns, on_turns_closed, p);
}

static void on_sisters_closed(void *ctx)
{
  product_t *p = ctx;
  storage_close(p->storage, on_storage_closed, p);
}

void product_close(void *state, void (*done)(void *ctx), void *ctx)
{
  product_t *p = state;
  p->closed = done;
  p->closed_ctx = ctx;
  sisters_close(p->sisters, on_sisters_closed, p);
}

int product_check(void *state, diag_t *diag)
{
  product_t *p = state;
  return storage_check(p->storage, diag);
}

void product_gauges(void *state, void (*say)(void *ctx, const char *name, const char *help, double value),
                    void *ctx)
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
  say(ctx, "smpl_app_writes_waiting", "Writes queued and not committed.",
      (double)storage_pending(p->storage));
}

static void go_on(request_t *request, void *state, const caller_t *caller)
{
  (void)state;
  (void)caller; /* the handler asks again: by then the answer is in the cache */
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

/* A read under way: lives in its request until that is replied to. */
typedef struct read {
  turn_t turn; /* first */
  product_t *product;
  request_t *request;
  caller_t caller;
  caller_cb cb;
  storage_stamp_t stamp; /* of the database before the read began */
} read_t;

static answers_key_t key_of(const read_t *r)
{
  answers_key_t key = {.account = r->caller.account};
  key.target = request_target(r->request, &key.target_len);
  return key;
}

/* Answers by what is kept: true if it has. */
static bool reply_kept(read_t *r)
{
  answers_key_t key = key_of(r);
  shared_t *body = NULL;
  if (storage_stamp(r->product->storage, &r->stamp))
    body = answers_find(r->product->answers, &r->stamp, &key);
  if (body != NULL)
    request_reply_kept(r->request, body);
  return body != NULL;
}

/* Keeps an answer if the database has stayed as it was all the while. */
static void keep_answer(void *ctx, shared_t *body)
{
  const read_t *r = ctx;
  answers_key_t key = key_of(r);
  storage_stamp_t now;
  if (storage_stamp(r->product->storage, &now) && storage_stamp_equal(&now, &r->stamp))
    answers_keep(r->product->answers, &now, &key, body);
}

static void run_read(turn_t *turn)
{
  read_t *r = (read_t *)turn;
  if (reply_kept(r)) /* while it waited for its turn, another one has made it */
    return;
  request_keep_body(r->request, keep_answer, r);
  r->cb(r->request, r->product, &r->caller);
}

static void queue_read(request_t *request, void *ctx, const caller_t *caller)
{
  read_t *r = ctx;
  r->caller = *caller;
  if (!reply_kept(r) && turns_take(r->product->turns, &r->turn, caller->account))
    reply_unavailable(request, "too many reads are waiting; try again");
}

void product_guard_read(product_t *p, request_t *request, caller_cb cb)
{
  read_t *r = request_alloc(request, sizeof *r);
  if (r == NULL) {
    reply_storage_error(request, SMPL_ENOMEM);
    return;
  }
  *r = (read_t){.turn = {.run = run_read}, .product = p, .request = request, .cb = cb};
  keycheck_guard(p->keycheck, request, queue_read, r);
}
