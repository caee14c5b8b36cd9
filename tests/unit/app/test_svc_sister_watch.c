/* SPDX-License-Identifier: Apache-2.0 */
/* The watch over sisters' databases, against sisters that the test plays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/accounts/sister_watch.h"
#include "app/store/sqlite/sister_store.h"
#include "app/store/sqlite/sqlite.h"
#include "common/base/error.h"
#include "tests/unit/app/svc_fake.h"
#include "tests/unit/app/svc_outbox.h"

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
  assert_int_equal(sister_watch_new(&loop, store, NULL, outbox, one, watch, &diag), SMPL_OK);
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
  assert_int_equal(sister_strays(storage_reader(sqlite_storage(store)), &strays), SMPL_OK);
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
  assert_int_equal(sister_watch_new(&loop, store, NULL, outbox, wrong, &none_made, &diag), SMPL_ELIMIT);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_folder, tear_down_folder)

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(the_watch_compares_page_by_page_and_again_after_a_change),
      TEST(sisters_that_find_no_place_leave_those_of_before),
      TEST(a_list_that_does_not_ascend_is_not_gone_through),
      TEST(a_list_without_an_end_is_gone_through_for_a_bounded_time),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
