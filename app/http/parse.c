/* SPDX-License-Identifier: Apache-2.0 */
#include "app/http/parse.h"

#include <jansson.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "app/http/request.h"
#include "common/process/crash.h"
#include "common/base/error.h"

enum { PARSE_NICE = 10 };

typedef enum step { STEP_PARSE, STEP_WORK, STEP_FREE, STEP_TRIM } step_t;

struct parsed {
  turns_item_t turn; /* first: while it waits; then out, until its values are freed */
  parsed_t *next;    /* in one of the lists */
  request_t *request;
  enum { BODY_WAITS, BODY_AWAY, BODY_HERE } where;
  step_t step;
  uint8_t *bytes; /* its text, from the hand-over until it is parsed */
  size_t len;
  json_t *json;
  int err;
  diag_t diag;
  void (*work)(void *ctx); /* request_work */
  void (*done)(void *ctx);
  void *ctx;
};

typedef struct parsed_list {
  parsed_t *first, **last;
} parsed_list_t;

struct parse {
  void (*taken)(request_t *request);
  void (*done)(request_t *request, int err, const char *why);
  uv_async_t async; /* says: something is in `finished` */
  turns_t *turns;
  parsed_list_t work, dead; /* parsed ones that wait for a thread: to be looked at, to be freed */
  size_t away;              /* handed over and not back */
  parsed_t trim;            /* no body: has a thread give memory back */
  bool trimming, freed;     /* bodies were freed since the last time that memory was given back */
  uint64_t here, there;

  uv_mutex_t lock;
  uv_cond_t wake;
  parsed_list_t ready, finished; /* under the lock */
  bool ending;                   /* the same */
  uv_thread_t threads[LIMIT_PARSE_THREADS];
  size_t thread_count;

  void (*closed)(void *ctx);
  void *closed_ctx;
};

static void list_clear(parsed_list_t *list)
{
  *list = (parsed_list_t){.last = &list->first};
}

static void push(parsed_list_t *list, parsed_t *b)
{
  b->next = NULL;
  *list->last = b;
  list->last = &b->next;
}

static parsed_t *pop(parsed_list_t *list)
{
  parsed_t *b = list->first;
  if (b == NULL)
    return NULL;
  list->first = b->next;
  if (list->first == NULL)
    list->last = &list->first;
  return b;
}

/* The threads */

static void run_step(parsed_t *b)
{
  switch (b->step) {
  case STEP_PARSE:
    b->err = request_json(b->bytes, b->len, &b->json, &b->diag);
    free(b->bytes);
    b->bytes = NULL;
    break;
  case STEP_WORK:
    b->work(b->ctx);
    break;
  case STEP_FREE:
    json_decref(b->json);
    b->json = NULL;
    break;
  case STEP_TRIM:
    malloc_trim(0);
    break;
  }
}

/* What is ready; NULL at the end. */
static parsed_t *wait_for_one(parse_t *p)
{
  uv_mutex_lock(&p->lock);
  while (p->ready.first == NULL && !p->ending)
    uv_cond_wait(&p->wake, &p->lock);
  parsed_t *b = pop(&p->ready);
  uv_mutex_unlock(&p->lock);
  return b;
}

/* Gives way to the loop where there is not a processor for each thread. */
static void thread_main(void *arg)
{
  parse_t *p = arg;
  parsed_t *b;
  crash_thread();
  setpriority(PRIO_PROCESS, (id_t)gettid(), PARSE_NICE);
  while ((b = wait_for_one(p)) != NULL) {
    run_step(b);
    uv_mutex_lock(&p->lock);
    push(&p->finished, b);
    uv_mutex_unlock(&p->lock);
    uv_async_send(&p->async);
  }
}

/* Handing over and taking back */

static void hand_over(parse_t *p, parsed_t *b)
{
  b->where = BODY_AWAY;
  p->away++;
  uv_mutex_lock(&p->lock);
  push(&p->ready, b);
  uv_cond_signal(&p->wake);
  uv_mutex_unlock(&p->lock);
}

/* The next body in turn, its text taken from the request. */
static parsed_t *next_body(parse_t *p)
{
  parsed_t *b = (parsed_t *)(void *)turns_take(p->turns);
  if (b == NULL)
    return NULL;
  b->bytes = b->request->body_bytes;
  b->len = b->request->body_have;
  b->request->body_bytes = NULL;
  p->taken(b->request);
  return b;
}

/* No more than the threads can begin at once, so that what comes is not behind what is here. What is parsed
 * goes first: the sooner its memory is free. */
static void feed(parse_t *p)
{
  while (p->away < LIMIT_PARSE_THREADS) {
    parsed_t *b = pop(&p->dead);
    if (b == NULL)
      b = pop(&p->work);
    if (b == NULL)
      b = next_body(p);
    if (b == NULL)
      return;
    hand_over(p, b);
  }
}

static void take_back(parse_t *p, parsed_t *b)
{
  b->where = BODY_HERE;
  p->away--;
  switch (b->step) {
  case STEP_PARSE:
    p->there++;
    b->request->body = b->json;
    p->done(b->request, b->err, b->diag.text);
    break;
  case STEP_WORK:
    b->done(b->ctx);
    break;
  case STEP_FREE:
    turns_give_back(p->turns, &b->turn, 0);
    free(b);
    p->freed = true;
    break;
  case STEP_TRIM:
    p->trimming = false;
    break;
  }
}

static void on_async(uv_async_t *async)
{
  parse_t *p = async->data;
  uv_mutex_lock(&p->lock);
  parsed_t *b = p->finished.first;
  list_clear(&p->finished);
  uv_mutex_unlock(&p->lock);
  while (b != NULL) {
    parsed_t *next = b->next;
    take_back(p, b);
    b = next;
  }
  feed(p);
}

int parse_queue(request_t *request, request_t **displaced)
{
  parse_t *p = request->parse;
  turns_key_t key = request_share(request);
  turns_item_t *other;
  *displaced = NULL;
  parsed_t *b = calloc(1, sizeof *b);
  if (b == NULL)
    return SMPL_ENOMEM;
  b->request = request;
  if (turns_join(p->turns, &key, request->body_have, &b->turn, &other)) {
    free(b);
    return SMPL_ELIMIT;
  }
  request->parsed = b;
  if (other != NULL) {
    *displaced = ((parsed_t *)(void *)other)->request;
    (*displaced)->parsed = NULL;
    free(other);
  }
  feed(p);
  return SMPL_OK;
}

bool parse_is_away(const request_t *request)
{
  return request->parsed != NULL && request->parsed->where == BODY_AWAY;
}

void parse_forget(request_t *request)
{
  parsed_t *b = request->parsed;
  if (b == NULL)
    return;
  parse_t *p = request->parse;
  request->parsed = NULL;
  request->body = NULL;
  b->request = NULL;
  if (b->where == BODY_WAITS) {
    turns_leave(p->turns, &b->turn);
    free(b);
    return;
  }
  b->step = STEP_FREE;
  push(&p->dead, b);
  feed(p);
}

void request_work(request_t *request, void (*work)(void *ctx), void (*done)(void *ctx), void *ctx)
{
  parsed_t *b = request->parsed;
  if (b == NULL) {
    work(ctx);
    done(ctx);
    return;
  }
  b->step = STEP_WORK;
  b->work = work;
  b->done = done;
  b->ctx = ctx;
  push(&request->parse->work, b);
  feed(request->parse);
}

bool parse_trim(parse_t *p)
{
  if (p->trimming || !p->freed)
    return false;
  p->trimming = true;
  p->freed = false;
  p->trim.step = STEP_TRIM;
  push(&p->dead, &p->trim);
  feed(p);
  return true;
}

parse_counts_t parse_counts(const parse_t *p)
{
  return (parse_counts_t){.waiting = turns_waiting(p->turns),
                          .parsed = turns_out(p->turns),
                          .here = p->here,
                          .there = p->there};
}

void parse_count_here(parse_t *p)
{
  p->here++;
}

/* Beginning and end */

static void end_threads(parse_t *p)
{
  uv_mutex_lock(&p->lock);
  p->ending = true;
  uv_cond_broadcast(&p->wake);
  uv_mutex_unlock(&p->lock);
  for (size_t i = 0; i < p->thread_count; i++)
    uv_thread_join(&p->threads[i]);
  uv_cond_destroy(&p->wake);
  uv_mutex_destroy(&p->lock);
}

static void on_closed(uv_handle_t *handle)
{
  parse_t *p = handle->data;
  void (*closed)(void *) = p->closed;
  void *ctx = p->closed_ctx;
  turns_free(p->turns);
  free(p);
  if (closed != NULL)
    closed(ctx);
}

static void bury(parsed_list_t *list, const parsed_t *but)
{
  for (parsed_t *b; (b = pop(list)) != NULL;) {
    json_decref(b->json);
    if (b != but)
      free(b);
  }
}

void parse_close(parse_t *p, void (*closed)(void *ctx), void *ctx)
{
  p->closed = closed;
  p->closed_ctx = ctx;
  end_threads(p);
  bury(&p->finished, &p->trim);
  bury(&p->dead, &p->trim);
  uv_close((uv_handle_t *)&p->async, on_closed);
}

static int start_threads(parse_t *p)
{
  if (uv_mutex_init(&p->lock) != 0)
    return SMPL_ESYS;
  if (uv_cond_init(&p->wake) != 0) {
    uv_mutex_destroy(&p->lock);
    return SMPL_ESYS;
  }
  while (p->thread_count < LIMIT_PARSE_THREADS &&
         uv_thread_create(&p->threads[p->thread_count], thread_main, p) == 0)
    p->thread_count++;
  if (p->thread_count == LIMIT_PARSE_THREADS)
    return SMPL_OK;
  end_threads(p);
  return SMPL_ESYS;
}

int parse_open(uv_loop_t *loop, const parse_conf_t *conf, parse_t **out)
{
  parse_t *p = calloc(1, sizeof *p);
  *out = NULL;
  if (p == NULL)
    return SMPL_ENOMEM;
  list_clear(&p->work);
  list_clear(&p->dead);
  list_clear(&p->ready);
  list_clear(&p->finished);
  p->taken = conf->taken;
  p->done = conf->done;
  p->turns = turns_new(&(turns_conf_t){.places = conf->waiting,
                                       .out = conf->parsed,
                                       .line_out = conf->parsed_share,
                                       .quantum = LIMIT_PARSE_TURN});
  int err = p->turns == NULL                                ? SMPL_ENOMEM
            : uv_async_init(loop, &p->async, on_async) != 0 ? SMPL_ESYS
                                                            : SMPL_OK;
  if (err) {
    turns_free(p->turns);
    free(p);
    return err;
  }
  p->async.data = p;
  err = start_threads(p);
  if (err)
    uv_close((uv_handle_t *)&p->async, on_closed);
  else
    *out = p;
  return err;
}
