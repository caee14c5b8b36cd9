/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of lists: whose runs when, and that nothing waits for them on the loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "app/store/ident.h"
#include "app/services/reading.h"
#include "app/store/sqlite/sqlite.h"
#include "common/base/error.h"
#include "tests/unit/app/svc_fake.h"

#define GREEDY "d290f1ee-6c54-4b01-90e6-d701748f0851"
#define MODEST "11111111-2222-4333-8444-555555555555"

enum { GREEDY_PAGES = 20 };

static const char *const migrations[] = {"CREATE TABLE t (id TEXT PRIMARY KEY);", NULL};
static const storage_schema_t schema = {"test", migrations, NULL};
static uv_loop_t loop;
static store_t *store;
static uv_sem_t gate; /* a page is read only when the test lets one through */
static char order[GREEDY_PAGES + 1][UUID_TEXT_MAX];
static size_t ran;

static int read_page(storage_db_t *db, fetch_t *f)
{
  (void)db;
  uv_sem_wait(&gate);
  memcpy(order[ran++], f->account, UUID_TEXT_MAX);
  f->document = json_pack("{s:[s]}", "data", f->account);
  return SMPL_OK;
}

static int fail_to_read(storage_db_t *db, fetch_t *f)
{
  (void)db;
  (void)f;
  return SMPL_ETIMEOUT;
}

static const sqlite_op_t ops[STORE_OPS] = {
    [STORE_KEY_LIST] = {OP_READ, .fetch = read_page},
    [STORE_ACCOUNT_LIST] = {OP_READ, .fetch = fail_to_read},
};
static const sqlite_service_t service = {.schema = &schema, .ops = ops};

static int set_up(void **state)
{
  diag_t diag = {.text = ""};
  (void)state;
  ran = 0;
  fake_folder();
  uv_loop_init(&loop);
  return uv_sem_init(&gate, 0) || sqlite_open(&loop, fake_path("t.db"), NULL, &service, &store, &diag);
}

static void on_closed(void *ctx)
{
  (void)ctx;
}

static int tear_down(void **state)
{
  (void)state;
  store_close(store, on_closed, NULL);
  uv_run(&loop, UV_RUN_DEFAULT);
  uv_sem_destroy(&gate);
  fake_folder_remove();
  return uv_loop_close(&loop);
}

static request_t *start(const char *account, store_op_t op)
{
  jsonapi_list_t asked = {0};
  request_t *r = fake_request(NULL, NULL, NULL, NULL);
  reading_list(store, r, op, account, &asked);
  return r;
}

static void pages_of_one_account_wait_for_those_of_others(void **state)
{
  request_t *greedy[GREEDY_PAGES];
  (void)state;
  for (size_t i = 0; i < GREEDY_PAGES; i++)
    greedy[i] = start(GREEDY, STORE_KEY_LIST);
  request_t *modest = start(MODEST, STORE_KEY_LIST);
  uv_run(&loop, UV_RUN_NOWAIT); /* which did not have to wait for any of them */
  assert_int_equal(fake_replies(modest), 0);
  for (size_t i = 0; i < GREEDY_PAGES + 1; i++)
    uv_sem_post(&gate);
  fake_wait(&loop, modest);
  assert_int_equal(fake_status(modest), 200);
  size_t place = 0;
  while (strcmp(order[place], MODEST) != 0)
    place++;
  assert_in_range(place, 0, 2); /* behind the page that was being read, and one turn */
  for (size_t i = 0; i < GREEDY_PAGES; i++) {
    fake_wait(&loop, greedy[i]);
    assert_int_equal(fake_status(greedy[i]), 200);
    assert_string_equal(json_string_value(json_array_get(json_object_get(fake_json(greedy[i]), "data"), 0)),
                        GREEDY);
    fake_request_free(greedy[i]);
  }
  fake_request_free(modest);
}

static void a_page_that_takes_too_long_is_503(void **state)
{
  (void)state;
  request_t *r = start(GREEDY, STORE_ACCOUNT_LIST);
  fake_wait(&loop, r);
  assert_int_equal(fake_status(r), 503);
  assert_string_equal(fake_header(r), "Retry-After: 1");
  fake_request_free(r);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(pages_of_one_account_wait_for_those_of_others, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_page_that_takes_too_long_is_503, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
