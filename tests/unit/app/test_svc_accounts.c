/* SPDX-License-Identifier: Apache-2.0 */
/* API keys in storage, and the outbox against sisters that the test plays. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/accounts/account_store.h"
#include "app/accounts/key_store.h"
#include "app/accounts/outbox.h"
#include "app/accounts/sister_store.h"
#include "app/accounts/sister_watch.h"
#include "app/services/storage_db.h"
#include "common/base/error.h"
#include "tests/unit/app/svc_fake.h"

#define ACCOUNT "d290f1ee-6c54-4b01-90e6-d701748f0851"

/* ---- keys ---- */

static storage_db_t *db;

static int set_up_db(void **state)
{
  diag_t diag = {""};
  (void)state;
  fake_folder();
  assert_int_equal(storage_db_open(fake_path("t.db"), STORAGE_WRITES, &db, &diag), SMPL_OK);
  assert_int_equal(storage_db_prepare(db, fake_path("t.db"), &account_schema, &diag), SMPL_OK);
  return account_insert(db, ACCOUNT, "Acme", 5);
}

static int tear_down_db(void **state)
{
  (void)state;
  storage_db_close(db);
  fake_folder_remove();
  return 0;
}

/* Stores a new key; its text stays in text. */
static int insert(key_new_t *key, char *text, int64_t expires_at)
{
  json_t *resource = NULL;
  assert_int_equal(key_make(key), SMPL_OK);
  memcpy(text, key->text, KEY_TEXT_MAX);
  key->expires_at = expires_at;
  int err = key_insert(db, key, ACCOUNT, "name", 1000, &resource);
  const json_t *attributes = json_object_get(resource, "attributes");
  const char *made_by = json_string_value(json_object_get(attributes, "created_by"));
  if (!err) {
    assert_string_equal(json_string_value(json_object_get(attributes, "key")), text);
    assert_string_equal(made_by != NULL ? made_by : "", key->created_by != NULL ? key->created_by : "");
  }
  json_decref(resource);
  assert_int_equal(key->text[0], '\0'); /* wiped */
  return err;
}

static void a_key_is_found_until_it_is_revoked_deleted_or_expired(void **state)
{
  key_new_t plain = {.created_by = NULL}, expiring = {.created_by = "onboarding"};
  key_found_t found;
  char text[KEY_TEXT_MAX], late[KEY_TEXT_MAX];
  (void)state;
  assert_int_equal(insert(&plain, text, -1), SMPL_OK);
  assert_int_equal(insert(&expiring, late, 2000), SMPL_OK);
  assert_int_equal(key_find(db, text, INT64_MAX, &found), SMPL_OK);
  assert_string_equal(found.account, ACCOUNT);
  assert_string_equal(found.id, plain.id);
  assert_int_equal(key_find(db, late, 1999, &found), SMPL_OK);
  assert_int_equal(key_find(db, late, 2000, &found), SMPL_ENOENT);
  assert_int_equal(key_revoke(db, ACCOUNT, plain.id, 3000), SMPL_OK);
  assert_int_equal(key_revoke(db, ACCOUNT, plain.id, 4000), SMPL_OK);
  assert_int_equal(key_find(db, text, 1, &found), SMPL_ENOENT);
  assert_int_equal(key_delete(db, ACCOUNT, expiring.id), SMPL_OK);
  assert_int_equal(key_delete(db, ACCOUNT, expiring.id), SMPL_ENOENT);
  assert_int_equal(key_find(db, late, 1, &found), SMPL_ENOENT);
}

static void of_two_keys_with_one_tag_the_whole_hash_decides(void **state)
{
  key_new_t key = {.created_by = NULL};
  key_found_t found;
  char text[KEY_TEXT_MAX];
  uint8_t other[KEY_HASH_LEN];
  (void)state;
  assert_int_equal(insert(&key, text, -1), SMPL_OK);
  memcpy(other, key.hash, sizeof other);
  other[KEY_HASH_LEN - 1] ^= 1;
  assert_int_equal(
      storage_exec(db,
                   "INSERT INTO api_keys (id, account, name, tag, hash, status, created_at, updated_at)"
                   " VALUES ('00000000-0000-4000-8000-000000000000', ?1, 'x', ?2, ?3, 'ACTIVE', 0, 0)",
                   STORAGE_ARGS(STORAGE_TEXT(ACCOUNT), STORAGE_BLOB(other, KEY_TAG_LEN),
                                STORAGE_BLOB(other, KEY_HASH_LEN)),
                   NULL),
      SMPL_OK);
  assert_int_equal(key_find(db, text, 1, &found), SMPL_OK);
  assert_string_equal(found.id, key.id);
  assert_int_equal(key_delete(db, ACCOUNT, key.id), SMPL_OK);
  assert_int_equal(key_find(db, text, 1, &found), SMPL_ENOENT);
}

static void last_use_is_noted_once_a_minute(void **state)
{
  key_new_t key = {.created_by = NULL};
  key_found_t found;
  char text[KEY_TEXT_MAX];
  (void)state;
  assert_int_equal(insert(&key, text, -1), SMPL_OK);
  static const int64_t times[][2] = {{100000, 100000},
                                     {100000 + API_KEY_TOUCH_MS - 1, 100000},
                                     {100000 + API_KEY_TOUCH_MS, 100000 + API_KEY_TOUCH_MS}};
  for (size_t i = 0; i < 3; i++) {
    assert_int_equal(key_touch(db, key.id, times[i][0]), SMPL_OK);
    assert_int_equal(key_find(db, text, 1, &found), SMPL_OK);
    assert_int_equal(found.last_used_at, times[i][1]);
  }
}

static void an_account_has_at_most_1000_keys(void **state)
{
  key_new_t key = {.created_by = NULL};
  char text[KEY_TEXT_MAX];
  (void)state;
  for (int i = 0; i < API_KEYS_MAX; i++)
    assert_int_equal(insert(&key, text, -1), SMPL_OK);
  json_t *resource = NULL;
  assert_int_equal(key_make(&key), SMPL_OK);
  assert_int_equal(key_insert(db, &key, ACCOUNT, "name", 1, &resource), SMPL_ELIMIT);
}

static void any_number_of_accounts_may_have_one_name(void **state)
{
  char id[UUID_TEXT_MAX];
  int64_t keys = 0;
  (void)state;
  for (int i = 0; i < 250; i++) {
    assert_int_equal(uuid_generate(id), SMPL_OK);
    assert_int_equal(account_insert(db, id, "Acme", 5), SMPL_OK);
  }
  assert_int_equal(storage_number(db, "SELECT count(DISTINCT key) FROM accounts", STORAGE_NO_ARGS, &keys),
                   SMPL_OK);
  assert_int_equal(keys, 251);
}

/* ---- outbox ---- */

enum { CALLS_MAX = 4096 };

static struct played {
  char method[8], path[128], host[64];
  sister_cb cb;
  void *ctx;
} calls[CALLS_MAX];
static size_t call_count;

/* The clock that pauses and waits are measured by: it stands still but for the test. Threads of the storage
 * ask it too. */
static atomic_uint_least64_t now_ms = 1000;
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

static void reply(size_t i, int err, int status)
{
  calls[i].cb(calls[i].ctx, &(sister_reply_t){.err = err, .status = status, .why = err ? "down" : NULL});
}

#define EPOCH_1 "11111111-2222-4333-8444-555555555501"
#define EPOCH_2 "11111111-2222-4333-8444-555555555502"

/* 200 from a sister that says which database it has. ids: NULL, or what it knows. */
static void reply_as(size_t i, const char *epoch, int heard, json_t *ids)
{
  json_t *body = json_pack("{s:o?, s:{s:s, s:s, s:i}}", "data", ids, "meta", "database", ACCOUNT, "epoch",
                           epoch, "heard", heard);
  calls[i].cb(calls[i].ctx, &(sister_reply_t){.status = 200, .body = body});
  json_decref(body);
}

static uv_loop_t loop;
static storage_t *storage;
static outbox_t *outbox;

static void mark(void *ctx)
{
  *(bool *)ctx = true;
}

static void open_outbox(const char *const *urls)
{
  diag_t diag = {""};
  call_count = 0;
  uv_loop_init(&loop);
  assert_int_equal(storage_open(&loop, fake_path("t.db"), &account_schema, &storage, &diag), SMPL_OK);
  assert_int_equal(outbox_new(&loop, storage, NULL, urls, &outbox, &diag), SMPL_OK);
}

static void close_outbox(void)
{
  bool stopped = false, closed = false;
  outbox_stop(outbox, mark, &stopped);
  while (!stopped)
    uv_run(&loop, UV_RUN_ONCE);
  storage_close(storage, mark, &closed);
  while (!closed)
    uv_run(&loop, UV_RUN_ONCE);
  outbox_free(outbox);
  uv_run(&loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&loop), 0);
}

static int set_up_folder(void **state)
{
  (void)state;
  fake_folder();
  return 0;
}

static int tear_down_folder(void **state)
{
  (void)state;
  fake_folder_remove();
  return 0;
}

typedef struct creation {
  storage_job_t job; /* first */
  char id[UUID_TEXT_MAX];
  bool done;
} creation_t;

static int run_creation(storage_db_t *at, storage_job_t *job)
{
  creation_t *c = (creation_t *)job;
  int err = account_insert(at, c->id, "Acme", 5);
  return err ? err : outbox_add(at, outbox, c->id);
}

static void on_creation(storage_job_t *job, int err)
{
  assert_int_equal(err, SMPL_OK);
  ((creation_t *)job)->done = true;
}

static void create_account(char *id)
{
  creation_t c = {.job = {.run = run_creation, .done = on_creation}};
  assert_int_equal(uuid_generate(c.id), SMPL_OK);
  assert_int_equal(storage_write(storage, &c.job), SMPL_OK);
  while (!c.done)
    uv_run(&loop, UV_RUN_ONCE);
  memcpy(id, c.id, sizeof c.id);
}

static void on_time(uv_timer_t *timer)
{
  *(bool *)timer->data = true;
}

static void run_for(uint64_t ms)
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

static int run_nothing(storage_db_t *at, storage_job_t *job)
{
  (void)at;
  (void)job;
  return SMPL_OK;
}

/* Until all that was to be written so far has been. */
static void settle(void)
{
  creation_t c = {.job = {.run = run_nothing, .done = on_creation}};
  assert_int_equal(storage_write(storage, &c.job), SMPL_OK);
  while (!c.done)
    uv_run(&loop, UV_RUN_ONCE);
}

/* Until the outbox has looked for due work once more at least. */
static void look_again(void)
{
  settle();
  run_for(OUTBOX_TICK_MS + 1);
}

static void await_calls(size_t count)
{
  while (call_count < count)
    uv_run(&loop, UV_RUN_ONCE);
  assert_int_equal(call_count, count);
}

static size_t listed(const char *id, const char *list)
{
  json_t *report = outbox_report(outbox, id);
  size_t n = json_array_size(json_object_get(report, list));
  json_decref(report);
  return n;
}

static const char *const two[] = {"http://config.internal", "http://flags.internal:8000", NULL};
static const char *const one[] = {"http://config.internal", NULL};
static const char *const none[] = {NULL};

static void an_account_is_told_once_to_each_sister(void **state)
{
  char id[UUID_TEXT_MAX], path[128];
  bool told = false;
  (void)state;
  open_outbox(two);
  create_account(id);
  outbox_tell(outbox, id, 60000, mark, &told);
  assert_int_equal(call_count, 2);
  snprintf(path, sizeof path, "/internal/v1/accounts/%s", id);
  assert_string_equal(calls[0].path, path);
  assert_string_equal(calls[1].path, path);
  assert_string_not_equal(calls[0].host, calls[1].host);
  reply(0, 0, 201);
  settle();
  assert_false(told);
  assert_true(listed(id, "provisioned") == 1 && listed(id, "pending") == 1);
  reply(1, 0, 200);
  while (!told)
    uv_run(&loop, UV_RUN_ONCE);
  assert_int_equal(listed(id, "provisioned"), 2);
  look_again();
  assert_int_equal(call_count, 2);
  close_outbox();
  open_outbox(two); /* nor again after a restart */
  look_again();
  assert_int_equal(call_count, 0);
  close_outbox();
}

static void waiting_ends_when_its_time_is_over(void **state)
{
  char id[UUID_TEXT_MAX];
  bool told = false;
  (void)state;
  open_outbox(one);
  create_account(id);
  outbox_tell(outbox, id, 300, mark, &told);
  now_ms += 299;
  look_again();
  assert_false(told);
  now_ms += 1;
  while (!told)
    uv_run(&loop, UV_RUN_ONCE);
  assert_int_equal(listed(id, "pending"), 1);
  close_outbox();
}

static void a_failing_sister_is_tried_alone_and_with_growing_pauses(void **state)
{
  char id[UUID_TEXT_MAX];
  (void)state;
  open_outbox(one);
  for (int i = 0; i < 3; i++)
    create_account(id);
  bool told = false;
  outbox_tell(outbox, id, 0, mark, &told);
  assert_int_equal(call_count, 3); /* it was thought to answer */
  for (size_t i = 0; i < 3; i++)
    reply(i, i == 1 ? 0 : SMPL_ECLOSED, i == 1 ? 500 : 0);
  now_ms += (OUTBOX_PAUSE_MIN_MS << 2) - 1;
  look_again();
  assert_int_equal(call_count, 3); /* paused: three failures are a second */
  now_ms += 1;
  await_calls(4);
  look_again();
  assert_int_equal(call_count, 4); /* one at a time */
  reply(3, 0, 201);
  await_calls(6); /* it answers again: the others follow */
  close_outbox();
}

static void at_most_four_accounts_are_on_their_way_to_one_sister(void **state)
{
  char id[UUID_TEXT_MAX];
  bool told = false;
  (void)state;
  open_outbox(one);
  for (int i = 0; i < 10; i++)
    create_account(id);
  outbox_tell(outbox, id, 0, mark, &told);
  assert_int_equal(call_count, OUTBOX_PARALLEL);
  for (size_t i = 0; i < 10; i++) {
    while (call_count <= i)
      uv_run(&loop, UV_RUN_ONCE);
    reply(i, 0, 201);
  }
  look_again();
  assert_int_equal(call_count, 10);
  for (size_t i = 0; i < 10; i++) /* each once */
    for (size_t j = 0; j < i; j++)
      assert_string_not_equal(calls[i].path, calls[j].path);
  close_outbox();
}

static void an_account_that_a_sister_refuses_does_not_hold_up_the_next(void **state)
{
  char refused[UUID_TEXT_MAX], id[UUID_TEXT_MAX];
  bool told = false;
  (void)state;
  open_outbox(one);
  create_account(refused);
  outbox_tell(outbox, refused, 0, mark, &told);
  reply(0, 0, 400);
  settle();
  create_account(id);
  told = false;
  outbox_tell(outbox, id, 60000, mark, &told);
  assert_int_equal(call_count, 2);
  assert_non_null(strstr(calls[1].path, id));
  reply(1, 0, 201);
  while (!told)
    uv_run(&loop, UV_RUN_ONCE);
  close_outbox();
}

static void what_was_not_told_is_told_after_a_restart_and_to_new_sisters(void **state)
{
  char id[UUID_TEXT_MAX];
  bool told = false;
  (void)state;
  open_outbox(none);
  create_account(id);
  outbox_tell(outbox, id, 60000, mark, &told);
  assert_true(told); /* nobody to wait for */
  close_outbox();
  open_outbox(one);
  while (call_count == 0)
    uv_run(&loop, UV_RUN_ONCE);
  close_outbox(); /* killed before the answer, as it were */
  open_outbox(two);
  while (call_count < 2)
    uv_run(&loop, UV_RUN_ONCE);
  assert_non_null(strstr(calls[0].path, id));
  assert_non_null(strstr(calls[1].path, id));
  close_outbox();
}

static void set_outbox(const char *const *urls)
{
  diag_t diag = {""};
  assert_int_equal(outbox_set(outbox, urls, &diag), SMPL_OK);
}

static void a_sister_that_a_reload_brings_is_told_of_all_accounts(void **state)
{
  char id[UUID_TEXT_MAX], later[UUID_TEXT_MAX];
  (void)state;
  open_outbox(one);
  create_account(id);
  await_calls(1);
  reply(0, 0, 201);
  settle();
  set_outbox(two);
  create_account(later);
  await_calls(4); /* the first one at flags, the second at both */
  size_t flags = 0;
  for (size_t i = 1; i < 4; i++) {
    flags += strcmp(calls[i].host, two[1]) == 0;
    reply(i, 0, 201);
  }
  assert_int_equal(flags, 2);
  settle();
  assert_true(listed(id, "provisioned") == 2 && listed(later, "provisioned") == 2);
  close_outbox();
}

/* The answer of a call that was under way comes when its sister has left. */
static void a_sister_that_a_reload_takes_away_is_told_of_nothing_more(void **state)
{
  char id[UUID_TEXT_MAX];
  bool told = false;
  (void)state;
  open_outbox(two);
  create_account(id);
  outbox_tell(outbox, id, 60000, mark, &told);
  await_calls(2);
  size_t flags = strstr(calls[0].host, "flags") != NULL ? 0 : 1;
  set_outbox(one);
  assert_int_equal(listed(id, "pending"), 1);
  reply(1 - flags, 0, 201);
  while (!told)
    uv_run(&loop, UV_RUN_ONCE); /* nobody waits for it either */
  reply(flags, 0, 500);
  settle();
  create_account(id);
  await_calls(3);
  assert_string_equal(calls[2].host, "http://config.internal");
  now_ms += 10 * OUTBOX_PAUSE_MAX_MS;
  look_again();
  assert_int_equal(call_count, 3);
  set_outbox(two); /* and it may come back */
  await_calls(5);
  close_outbox();
}

/* Reloads as they come, with accounts being made meanwhile: whoever is there in the end knows all. */
static void accounts_that_are_made_during_reloads_are_told_to_all(void **state)
{
  static creation_t creations[64];
  size_t rows = 0;
  (void)state;
  open_outbox(one);
  for (size_t i = 0; i < 64; i++) {
    creations[i] = (creation_t){.job = {.run = run_creation, .done = on_creation}};
    assert_int_equal(uuid_generate(creations[i].id), SMPL_OK);
    assert_int_equal(storage_write(storage, &creations[i].job), SMPL_OK);
    set_outbox(i % 2 == 0 ? two : one);
    uv_run(&loop, UV_RUN_NOWAIT);
  }
  set_outbox(two);
  for (size_t i = 0; i < 64; i++)
    while (!creations[i].done)
      uv_run(&loop, UV_RUN_ONCE);
  settle();
  settle(); /* one sowing may have followed another */
  for (size_t i = 0; i < 64; i++)
    rows += listed(creations[i].id, "pending");
  int64_t known = 0;
  assert_int_equal(storage_number(storage_reader(storage), "SELECT count(*) FROM outbox WHERE sister = ?1",
                                  STORAGE_ARGS(STORAGE_TEXT(two[1])), &known),
                   SMPL_OK);
  assert_int_equal(known, 64);
  assert_int_equal(rows, 128);
  close_outbox();
}

static void a_wrong_sister_in_a_reload_changes_nothing(void **state)
{
  static const char *const wrong[] = {"http://flags.internal:8000", "http://8.8.8.8", NULL};
  char id[UUID_TEXT_MAX];
  diag_t diag = {""};
  (void)state;
  open_outbox(one);
  assert_int_equal(outbox_set(outbox, wrong, &diag), SMPL_EINVAL);
  assert_non_null(strstr(diag.text, "8.8.8.8"));
  create_account(id);
  await_calls(1);
  assert_string_equal(calls[0].host, one[0]);
  assert_int_equal(listed(id, "pending"), 1);
  close_outbox();
}

/* Makes accounts that the sister has acknowledged, with its first database; heard counts them. */
static void make_told(size_t count)
{
  char id[UUID_TEXT_MAX];
  open_outbox(one);
  for (size_t i = 0; i < count; i++) {
    create_account(id);
    outbox_look(outbox);
    while (call_count <= i)
      uv_run(&loop, UV_RUN_ONCE);
    reply_as(i, EPOCH_1, (int)i + 1, NULL);
    settle();
  }
  look_again();
  /* The first answer of all tells nothing of what was told before, so none was told twice. */
  assert_int_equal(call_count, count);
}

/* As if a call that begins now were answered by another database. */
static void answer_new_account_as(const char *epoch, int heard)
{
  char id[UUID_TEXT_MAX];
  size_t i = call_count;
  create_account(id);
  outbox_look(outbox);
  await_calls(i + 1);
  assert_non_null(strstr(calls[i].path, id));
  reply_as(i, epoch, heard, NULL);
}

static void another_database_is_told_all_again_a_few_at_a_time(void **state)
{
  (void)state;
  make_told(20);
  answer_new_account_as(EPOCH_2, 1);
  for (size_t told = 0; told < 20; told++) {
    settle();
    assert_in_range(call_count - 21 - told, 1, OUTBOX_AGAIN);
    reply_as(21 + told, EPOCH_2, (int)told + 2, NULL);
  }
  look_again();
  assert_int_equal(call_count, 41); /* the new one was told to it already */
  for (size_t i = 21; i < 41; i++)  /* each of the others once */
    for (size_t j = 21; j < i; j++)
      assert_string_not_equal(calls[i].path, calls[j].path);
  close_outbox();
}

void __wrap_sister_log_news(const char *host, sister_news_t news);

static int news_told;

void __wrap_sister_log_news(const char *host, sister_news_t news)
{
  (void)host;
  (void)news;
  news_told++;
}

/* Instances that share no database would fill the log otherwise. */
static void news_of_one_sister_are_told_no_more_often_than_the_limit_says(void **state)
{
  (void)state;
  make_told(1);
  news_told = 0;
  answer_new_account_as(EPOCH_2, 1);
  settle();
  assert_int_equal(news_told, 1);
  now_ms += OUTBOX_NEWS_MS - 1;
  reply_as(call_count - 1, EPOCH_1, 1, NULL);
  settle();
  assert_int_equal(news_told, 1);
  now_ms += 1;
  outbox_look(outbox);
  settle();
  reply_as(call_count - 1, EPOCH_2, 1, NULL);
  settle();
  assert_int_equal(news_told, 2);
  close_outbox();
}

static void the_same_database_that_has_heard_less_is_told_all_again(void **state)
{
  (void)state;
  make_told(3);
  answer_new_account_as(EPOCH_1, 2);
  for (size_t i = 4; i < 7; i++) {
    settle();
    reply_as(i, EPOCH_1, (int)i, NULL);
  }
  look_again();
  assert_int_equal(call_count, 7);
  close_outbox();
}

static void answers_that_overtake_each_other_are_no_older_database(void **state)
{
  char id[UUID_TEXT_MAX];
  (void)state;
  make_told(1);
  for (int i = 0; i < 3; i++)
    create_account(id);
  outbox_look(outbox);
  await_calls(4);
  reply_as(3, EPOCH_1, 4, NULL);
  settle();
  reply_as(2, EPOCH_1, 3, NULL);
  reply_as(1, EPOCH_1, 2, NULL);
  look_again();
  assert_int_equal(call_count, 4);
  close_outbox();
}

static void an_answer_from_before_a_restore_acknowledges_nothing(void **state)
{
  char early[UUID_TEXT_MAX], id[UUID_TEXT_MAX];
  (void)state;
  make_told(1);
  create_account(early);
  outbox_look(outbox);
  await_calls(2);
  create_account(id);
  outbox_look(outbox);
  await_calls(3);
  reply_as(2, EPOCH_2, 1, NULL); /* restored meanwhile */
  settle();
  reply_as(1, EPOCH_1, 2, NULL); /* the old database had it */
  settle();
  assert_int_equal(listed(early, "pending"), 1);
  bool again = false;
  for (size_t i = 3; i < call_count; i++)
    again = again || strstr(calls[i].path, early) != NULL;
  assert_true(again);
  close_outbox();
}

static void what_is_told_again_keeps_no_new_account_waiting(void **state)
{
  char id[UUID_TEXT_MAX];
  (void)state;
  make_told(20);
  answer_new_account_as(EPOCH_2, 1);
  settle();
  assert_int_equal(call_count, 21 + OUTBOX_AGAIN); /* nobody answers them */
  create_account(id);
  outbox_look(outbox);
  assert_int_equal(call_count, 21 + OUTBOX_AGAIN + 1);
  assert_non_null(strstr(calls[21 + OUTBOX_AGAIN].path, id));
  close_outbox();
}

static void new_accounts_leave_a_place_to_what_is_told_again(void **state)
{
  char id[UUID_TEXT_MAX];
  size_t fresh = 0;
  (void)state;
  make_told(5);
  for (int i = 0; i < 20; i++)
    create_account(id);
  outbox_look(outbox);
  await_calls(5 + OUTBOX_PARALLEL);
  reply_as(5, EPOCH_2, 1, NULL);
  settle();
  for (size_t i = 6; i < 20; i++) {
    bool again = false;
    for (size_t j = 0; j < 5; j++)
      again = again || strcmp(calls[i].path, calls[j].path) == 0;
    fresh += !again;
    reply_as(i, EPOCH_2, (int)i, NULL);
    settle();
  }
  assert_true(fresh > 0 && fresh < 14); /* both go on */
  close_outbox();
}

static int run_deletion(storage_db_t *at, storage_job_t *job)
{
  return account_delete(at, ((creation_t *)job)->id, 10);
}

static void a_deletion_is_told_and_an_answer_to_what_was_said_before_does_not_count(void **state)
{
  creation_t c = {.job = {.run = run_deletion, .done = on_creation}};
  (void)state;
  open_outbox(one);
  create_account(c.id);
  outbox_look(outbox);
  await_calls(1);
  assert_int_equal(storage_write(storage, &c.job), SMPL_OK);
  while (!c.done)
    uv_run(&loop, UV_RUN_ONCE);
  reply_as(0, EPOCH_1, 1, NULL);
  settle();
  await_calls(2);
  assert_string_equal(calls[1].method, "DELETE");
  assert_string_equal(calls[1].path, calls[0].path);
  reply_as(1, EPOCH_1, 2, NULL);
  look_again();
  assert_int_equal(call_count, 2);
  close_outbox();
}

static void a_tombstone_is_kept_for_90_days(void **state)
{
  char id[UUID_TEXT_MAX];
  int64_t left = 0;
  const int64_t day = 24 * 3600 * 1000LL;
  (void)state;
  for (int i = 0; i < ACCOUNT_BURIED_MAX + 1; i++) {
    assert_int_equal(uuid_generate(id), SMPL_OK);
    assert_int_equal(account_insert(db, id, "Acme", 5), SMPL_OK);
    assert_int_equal(account_delete(db, id, day), SMPL_OK);
  }
  const int64_t due = day + ACCOUNT_TOMBSTONE_DAYS * day;
  const struct {
    int64_t at, left;
  } steps[] = {{due, ACCOUNT_BURIED_MAX + 2}, {due + 1, 2}, {due + 1, 1}};
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
    assert_int_equal(account_bury(db, steps[i].at), SMPL_OK);
    assert_int_equal(storage_number(db, "SELECT count(*) FROM accounts", STORAGE_NO_ARGS, &left), SMPL_OK);
    assert_int_equal(left, steps[i].left); /* ACCOUNT lives */
  }
}

/* ---- what sisters know and we do not ---- */

static char stray_text[4096];

static void keep_text(void *ctx, const char *text)
{
  (void)ctx;
  snprintf(stray_text + strlen(stray_text), sizeof stray_text - strlen(stray_text), "%s\n", text);
}

static void strays_are_listed_bounded_and_forgotten_once_they_are_gone(void **state)
{
  char id[UUID_TEXT_MAX];
  int64_t strays = 0, kept = 0;
  json_t *ids = json_pack("[s]", ACCOUNT);
  (void)state;
  assert_int_equal(sister_note_again(db, one[0]), SMPL_OK);
  for (int i = 0; i < STRAYS_MAX + 5; i++) {
    uuid_generate(id);
    json_array_append_new(ids, json_string(id));
  }
  assert_int_equal(sister_compare(db, one[0], ids, 100, &strays), SMPL_OK);
  assert_int_equal(sister_compared(db, one[0], 100, strays), SMPL_OK);
  assert_int_equal(strays, STRAYS_MAX + 5);
  assert_int_equal(storage_number(db, "SELECT count(*) FROM strays", STORAGE_NO_ARGS, &kept), SMPL_OK);
  assert_int_equal(kept, STRAYS_MAX);
  stray_text[0] = '\0';
  assert_int_equal(sister_each_stray(db, keep_text, NULL), SMPL_OK);
  assert_non_null(
      strstr(stray_text, "http://config.internal knows 1005 accounts that this database does not: "));
  assert_non_null(strstr(stray_text, " and 985 more\n"));
  strays = 0;
  json_array_clear(ids);
  assert_int_equal(sister_compare(db, one[0], ids, 101, &strays), SMPL_OK);
  assert_int_equal(sister_compared(db, one[0], 101, strays), SMPL_OK);
  stray_text[0] = '\0';
  assert_int_equal(sister_each_stray(db, keep_text, NULL), SMPL_OK);
  assert_string_equal(stray_text, "");
  json_decref(ids);
}

/* A page of ids that ascend, beginning with the one of this number. */
static json_t *page_from(size_t first, size_t count)
{
  char id[UUID_TEXT_MAX];
  json_t *page = json_array();
  for (size_t i = first; i < first + count; i++) {
    snprintf(id, sizeof id, "10000000-0000-4000-8000-0000%08" PRIx32, (uint32_t)i);
    json_array_append_new(page, json_string(id));
  }
  return page;
}

/* Up to the first question for ids, which is call 1. */
static void open_watch(sister_watch_t **watch)
{
  diag_t diag = {""};
  open_outbox(one);
  assert_int_equal(sister_watch_new(&loop, storage, NULL, outbox, one, watch, &diag), SMPL_OK);
  await_calls(1);
  assert_string_equal(calls[0].path, "/internal/v1/accounts?size=0");
  reply_as(0, EPOCH_1, 0, json_array()); /* which database it is comes first */
  await_calls(2);
  assert_string_equal(calls[1].path, "/internal/v1/accounts?size=500");
}

static void close_watch(sister_watch_t *watch)
{
  bool stopped = false;
  sister_watch_stop(watch, mark, &stopped);
  while (!stopped)
    uv_run(&loop, UV_RUN_ONCE);
  close_outbox();
  sister_watch_free(watch);
}

static int64_t strays_now(void)
{
  int64_t strays = 0;
  assert_int_equal(sister_strays(storage_reader(storage), &strays), SMPL_OK);
  return strays;
}

static void the_watch_compares_page_by_page_and_again_after_a_change(void **state)
{
  sister_watch_t *watch = NULL;
  (void)state;
  open_watch(&watch);
  reply_as(1, EPOCH_1, 0, page_from(0, WATCH_PAGE));
  await_calls(3);
  assert_non_null(strstr(calls[2].path, "10000000-0000-4000-8000-0000000001f3")); /* after the last */
  reply_as(2, EPOCH_1, 0, json_array());
  settle();
  assert_int_equal(strays_now(), WATCH_PAGE);
  close_watch(watch);
}

/* "http://flags.internal:0...01", of len characters. */
static char *url_of_length(char *out, size_t len)
{
  snprintf(out, len + 1, "http://flags.internal:%0*d", (int)(len - strlen("http://flags.internal:")), 1);
  assert_int_equal(strlen(out), len);
  return out;
}

/* The first new one finds a place, the second is too long: neither is asked before a reload that is whole. */
static void sisters_that_find_no_place_leave_those_of_before(void **state)
{
  char too_long[SISTER_URL_MAX + 1], longest[SISTER_URL_MAX + 1];
  const char *const wrong[] = {"http://other.internal", url_of_length(too_long, SISTER_URL_MAX), NULL};
  const char *const right[] = {one[0], url_of_length(longest, SISTER_URL_MAX - 1), NULL};
  sister_watch_t *watch = NULL, *none_made = NULL;
  diag_t diag = {""};
  (void)state;
  open_watch(&watch);
  assert_int_equal(sister_watch_new(&loop, storage, NULL, outbox, wrong, &none_made, &diag), SMPL_ELIMIT);
  assert_null(none_made);
  assert_int_equal(sister_watch_prepare(watch, wrong, &diag), SMPL_ELIMIT);
  assert_non_null(strstr(diag.text, "too long a URL"));
  assert_int_equal(sister_watch_prepare(watch, right, &diag), SMPL_OK);
  sister_watch_use(watch, right);
  reply_as(1, EPOCH_1, 0, json_array());
  await_calls(4);
  for (size_t i = 2; i < 4; i++)
    assert_int_equal(strncmp(calls[i].host, right[calls[i].host[7] == 'f'], sizeof calls[i].host - 1), 0);
  close_watch(watch);
}

static void a_list_that_does_not_ascend_is_not_gone_through(void **state)
{
  (void)state;
  json_t *backwards = json_pack("[s, s]", EPOCH_2, EPOCH_1), *broken = json_pack("[s]", "x HTTP/1.1\r\n\r\n");
  json_t *pages[] = {page_from(0, WATCH_PAGE), page_from(WATCH_PAGE, WATCH_PAGE + 1), backwards, broken,
                     NULL};
  for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
    sister_watch_t *watch = NULL;
    open_watch(&watch);
    reply_as(1, EPOCH_1, 0, page_from(0, WATCH_PAGE));
    await_calls(3);
    reply_as(2, EPOCH_1, 0, pages[i]);
    settle();
    assert_int_equal(call_count, 3); /* nothing follows, for an hour */
    assert_int_equal(strays_now(), 0);
    close_watch(watch);
    assert_int_equal(unlink(fake_path("t.db")), 0);
  }
}

static void a_list_without_an_end_is_gone_through_for_a_bounded_time(void **state)
{
  sister_watch_t *watch = NULL;
  size_t pages = WATCH_STRAYS_MAX / WATCH_PAGE;
  (void)state;
  open_watch(&watch);
  for (size_t i = 0; i < pages; i++) {
    reply_as(1 + i, EPOCH_1, 0, page_from(i * WATCH_PAGE, WATCH_PAGE));
    if (i + 1 < pages)
      await_calls(3 + i);
  }
  settle();
  assert_int_equal(call_count, 1 + pages);
  assert_int_equal(strays_now(), WATCH_STRAYS_MAX);
  close_watch(watch);
}

static void waiters_have_a_limit_beyond_which_nobody_waits(void **state)
{
  static bool told[OUTBOX_WAITERS_MAX + 1];
  char id[UUID_TEXT_MAX];
  (void)state;
  open_outbox(one);
  create_account(id);
  for (int i = 0; i < OUTBOX_WAITERS_MAX; i++)
    outbox_tell(outbox, id, 60000, mark, &told[i]);
  assert_false(told[OUTBOX_WAITERS_MAX - 1]);
  outbox_tell(outbox, id, 60000, mark, &told[OUTBOX_WAITERS_MAX]);
  assert_true(told[OUTBOX_WAITERS_MAX]);
  reply(0, 0, 201);
  while (!told[0] || !told[OUTBOX_WAITERS_MAX - 1])
    uv_run(&loop, UV_RUN_ONCE);
  close_outbox();
}

static void wrong_and_too_many_sisters_are_refused(void **state)
{
  const char *urls[OUTBOX_SISTERS_MAX + 2] = {NULL};
  char texts[OUTBOX_SISTERS_MAX + 1][48];
  diag_t diag = {""};
  (void)state;
  open_outbox(none);
  outbox_t *more = NULL;
  for (int i = 0; i <= OUTBOX_SISTERS_MAX; i++) {
    snprintf(texts[i], sizeof texts[i], "http://config.internal:%d", 8000 + i);
    urls[i] = texts[i];
  }
  assert_int_equal(outbox_new(&loop, storage, NULL, urls, &more, &diag), SMPL_ELIMIT);
  assert_null(more);
  urls[0] = "config.internal";
  urls[1] = NULL;
  diag.text[0] = '\0';
  assert_int_equal(outbox_new(&loop, storage, NULL, urls, &more, &diag), SMPL_EINVAL);
  assert_non_null(strstr(diag.text, "'config.internal'"));
  close_outbox();
}

#define WITH_DB(test)     cmocka_unit_test_setup_teardown(test, set_up_db, tear_down_db)
#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, set_up_folder, tear_down_folder)

int main(void)
{
  const struct CMUnitTest tests[] = {
      WITH_DB(a_key_is_found_until_it_is_revoked_deleted_or_expired),
      WITH_DB(of_two_keys_with_one_tag_the_whole_hash_decides),
      WITH_DB(last_use_is_noted_once_a_minute),
      WITH_DB(an_account_has_at_most_1000_keys),
      WITH_DB(any_number_of_accounts_may_have_one_name),
      WITH_FOLDER(an_account_is_told_once_to_each_sister),
      WITH_FOLDER(waiting_ends_when_its_time_is_over),
      WITH_FOLDER(a_failing_sister_is_tried_alone_and_with_growing_pauses),
      WITH_FOLDER(at_most_four_accounts_are_on_their_way_to_one_sister),
      WITH_FOLDER(an_account_that_a_sister_refuses_does_not_hold_up_the_next),
      WITH_FOLDER(what_was_not_told_is_told_after_a_restart_and_to_new_sisters),
      WITH_FOLDER(a_sister_that_a_reload_brings_is_told_of_all_accounts),
      WITH_FOLDER(a_sister_that_a_reload_takes_away_is_told_of_nothing_more),
      WITH_FOLDER(accounts_that_are_made_during_reloads_are_told_to_all),
      WITH_FOLDER(a_wrong_sister_in_a_reload_changes_nothing),
      WITH_FOLDER(another_database_is_told_all_again_a_few_at_a_time),
      WITH_FOLDER(news_of_one_sister_are_told_no_more_often_than_the_limit_says),
      WITH_FOLDER(the_same_database_that_has_heard_less_is_told_all_again),
      WITH_FOLDER(answers_that_overtake_each_other_are_no_older_database),
      WITH_FOLDER(an_answer_from_before_a_restore_acknowledges_nothing),
      WITH_FOLDER(what_is_told_again_keeps_no_new_account_waiting),
      WITH_FOLDER(new_accounts_leave_a_place_to_what_is_told_again),
      WITH_FOLDER(a_deletion_is_told_and_an_answer_to_what_was_said_before_does_not_count),
      WITH_DB(a_tombstone_is_kept_for_90_days),
      WITH_DB(strays_are_listed_bounded_and_forgotten_once_they_are_gone),
      WITH_FOLDER(the_watch_compares_page_by_page_and_again_after_a_change),
      WITH_FOLDER(sisters_that_find_no_place_leave_those_of_before),
      WITH_FOLDER(a_list_that_does_not_ascend_is_not_gone_through),
      WITH_FOLDER(a_list_without_an_end_is_gone_through_for_a_bounded_time),
      WITH_FOLDER(waiters_have_a_limit_beyond_which_nobody_waits),
      WITH_FOLDER(wrong_and_too_many_sisters_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
