/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/app/svc_outbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/store/sqlite/accounts_sqlite.h"
#include "common/base/error.h"
#include "tests/unit/app/svc_fake.h"

struct played calls[CALLS_MAX];
size_t call_count;
uv_loop_t loop;
store_t *store;
outbox_t *outbox;
const char *const two[] = {"http://config.internal", "http://flags.internal:8000", NULL};
const char *const one[] = {"http://config.internal", NULL};
const char *const none[] = {NULL};

/* Threads of the store ask it too. */
atomic_uint_least64_t now_ms = 1000;
uint64_t __wrap_clock_mono_ms(void);
uint64_t __wrap_clock_mono_ms(void)
{
  return atomic_load(&now_ms);
}

/* Stands in for sister.c: calls are answered by the test. */
int sisters_call(sisters_t *sisters, const sister_request_t *request, sister_cb cb, void *ctx)
{
  (void)sisters;
  assert_true(call_count < CALLS_MAX);
  struct played *c = &calls[call_count++];
  snprintf(c->method, sizeof c->method, "%s", request->method);
  snprintf(c->path, sizeof c->path, "%s", request->path);
  snprintf(c->host, sizeof c->host, "%s", request->base_url);
  c->cb = cb;
  c->ctx = ctx;
  return SMPL_OK;
}

void reply(size_t i, int err, int status)
{
  calls[i].cb(calls[i].ctx, &(sister_reply_t){.err = err, .status = status, .why = err ? "down" : NULL});
}

void reply_as(size_t i, const char *epoch, int heard, json_t *ids)
{
  json_t *body = json_pack("{s:o?, s:{s:s, s:s, s:i}}", "data", ids, "meta", "database", ACCOUNT, "epoch",
                           epoch, "heard", heard);
  calls[i].cb(calls[i].ctx, &(sister_reply_t){.status = 200, .body = body});
  json_decref(body);
}

void mark(void *ctx)
{
  *(bool *)ctx = true;
}

void open_outbox(const char *const *urls)
{
  diag_t diag = {""};
  call_count = 0;
  uv_loop_init(&loop);
  assert_int_equal(sqlite_open(&loop, fake_path("t.db"), NULL, &accounts_sqlite, &store, &diag), SMPL_OK);
  assert_int_equal(outbox_new(&loop, store, NULL, urls, &outbox, &diag), SMPL_OK);
}

void close_outbox(void)
{
  bool stopped = false, closed = false;
  outbox_stop(outbox, mark, &stopped);
  while (!stopped)
    uv_run(&loop, UV_RUN_ONCE);
  store_close(store, mark, &closed);
  while (!closed)
    uv_run(&loop, UV_RUN_ONCE);
  outbox_free(outbox);
  uv_run(&loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&loop), 0);
}

int set_up_folder(void **state)
{
  (void)state;
  fake_folder();
  return 0;
}

int tear_down_folder(void **state)
{
  (void)state;
  fake_folder_remove();
  return 0;
}

static void on_creation(store_call_t *call, int err)
{
  creation_t *c = (creation_t *)call;
  assert_int_equal(err, SMPL_OK);
  outbox_release(outbox, c->sisters);
  free(c->edit.text);
  c->done = true;
}

void start_creation(creation_t *c)
{
  static json_t *attributes; /* lives as long as the test */
  if (attributes == NULL)
    attributes = json_pack("{s:s}", "name", "Acme");
  *c = (creation_t){.edit = {.call = {.op = STORE_ACCOUNT_CREATE, .done = on_creation},
                             .attributes = attributes,
                             .now = 5}};
  assert_int_equal(uuid_generate(c->id), SMPL_OK);
  assert_int_equal(key_make(&c->key), SMPL_OK);
  c->key.expires_at = -1;
  c->sisters = outbox_hold(outbox);
  c->edit.id = c->id;
  c->edit.key = &c->key;
  c->edit.sisters = outbox_urls(c->sisters);
  store_ask(store, &c->edit.call);
}

void create_account(char *id)
{
  creation_t c;
  start_creation(&c);
  while (!c.done)
    uv_run(&loop, UV_RUN_ONCE);
  memcpy(id, c.id, sizeof c.id);
}

static void on_deleted(store_call_t *call, int err)
{
  assert_int_equal(err, SMPL_OK);
  ((creation_t *)call)->done = true;
}

void delete_account(const char *id)
{
  creation_t c = {.edit = {.call = {.op = STORE_ACCOUNT_DELETE, .done = on_deleted}, .id = id, .now = 10}};
  store_ask(store, &c.edit.call);
  while (!c.done)
    uv_run(&loop, UV_RUN_ONCE);
}

static void on_time(uv_timer_t *timer)
{
  *(bool *)timer->data = true;
}

void run_for(uint64_t ms)
{
  uv_timer_t timer;
  bool over = false;
  uv_timer_init(&loop, &timer);
  timer.data = &over;
  uv_timer_start(&timer, on_time, ms, 0);
  while (!over)
    uv_run(&loop, UV_RUN_ONCE);
  uv_close((uv_handle_t *)&timer, NULL);
  uv_run(&loop, UV_RUN_NOWAIT);
}

typedef struct nothing {
  storage_job_t job; /* first */
  bool done;
} nothing_t;

static int run_nothing(storage_db_t *db, storage_job_t *job)
{
  (void)db;
  (void)job;
  return SMPL_OK;
}

static void on_nothing(storage_job_t *job, int err)
{
  assert_int_equal(err, SMPL_OK);
  ((nothing_t *)job)->done = true;
}

void settle(void)
{
  nothing_t n = {.job = {.run = run_nothing, .done = on_nothing}};
  assert_int_equal(storage_write(sqlite_storage(store), &n.job), SMPL_OK);
  while (!n.done)
    uv_run(&loop, UV_RUN_ONCE);
}

void look_again(void)
{
  settle();
  run_for(OUTBOX_TICK_MS + 1);
}

void await_calls(size_t count)
{
  while (call_count < count)
    uv_run(&loop, UV_RUN_ONCE);
  assert_int_equal(call_count, count);
}

static void keep_report(void *ctx, json_t *report)
{
  *(json_t **)ctx = report;
}

size_t listed(const char *id, const char *list)
{
  json_t *report = NULL;
  outbox_report(outbox, id, keep_report, &report);
  assert_non_null(report); /* a SQLite file answers at once */
  size_t n = json_array_size(json_object_get(report, list));
  json_decref(report);
  return n;
}
