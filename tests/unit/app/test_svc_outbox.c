/* SPDX-License-Identifier: Apache-2.0 */
/* The outbox against sisters that the test plays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "app/accounts/sister_news.h"
#include "app/store/sqlite/sqlite.h"
#include "common/base/error.h"
#include "tests/unit/app/svc_outbox.h"

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
    start_creation(&creations[i]);
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
  assert_int_equal(storage_number(storage_reader(sqlite_storage(store)),
                                  "SELECT count(*) FROM outbox WHERE sister = ?1",
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

static void a_deletion_is_told_and_an_answer_to_what_was_said_before_does_not_count(void **state)
{
  char id[UUID_TEXT_MAX];
  (void)state;
  open_outbox(one);
  create_account(id);
  outbox_look(outbox);
  await_calls(1);
  delete_account(id);
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
  assert_int_equal(outbox_new(&loop, store, NULL, urls, &more, &diag), SMPL_ELIMIT);
  assert_null(more);
  urls[0] = "config.internal";
  urls[1] = NULL;
  diag.text[0] = '\0';
  assert_int_equal(outbox_new(&loop, store, NULL, urls, &more, &diag), SMPL_EINVAL);
  assert_non_null(strstr(diag.text, "'config.internal'"));
  close_outbox();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_folder, tear_down_folder)

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(an_account_is_told_once_to_each_sister),
      TEST(waiting_ends_when_its_time_is_over),
      TEST(a_failing_sister_is_tried_alone_and_with_growing_pauses),
      TEST(at_most_four_accounts_are_on_their_way_to_one_sister),
      TEST(an_account_that_a_sister_refuses_does_not_hold_up_the_next),
      TEST(what_was_not_told_is_told_after_a_restart_and_to_new_sisters),
      TEST(a_sister_that_a_reload_brings_is_told_of_all_accounts),
      TEST(a_sister_that_a_reload_takes_away_is_told_of_nothing_more),
      TEST(accounts_that_are_made_during_reloads_are_told_to_all),
      TEST(a_wrong_sister_in_a_reload_changes_nothing),
      TEST(another_database_is_told_all_again_a_few_at_a_time),
      TEST(news_of_one_sister_are_told_no_more_often_than_the_limit_says),
      TEST(the_same_database_that_has_heard_less_is_told_all_again),
      TEST(answers_that_overtake_each_other_are_no_older_database),
      TEST(an_answer_from_before_a_restore_acknowledges_nothing),
      TEST(what_is_told_again_keeps_no_new_account_waiting),
      TEST(new_accounts_leave_a_place_to_what_is_told_again),
      TEST(a_deletion_is_told_and_an_answer_to_what_was_said_before_does_not_count),
      TEST(waiters_have_a_limit_beyond_which_nobody_waits),
      TEST(wrong_and_too_many_sisters_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
