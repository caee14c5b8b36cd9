/* SPDX-License-Identifier: Apache-2.0 */
/* What sisters know and we do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "app/store/sqlite/sister_store.h"
#include "common/base/error.h"
#include "tests/unit/app/svc_change.h"

#define SISTER "http://config.internal"

static storage_db_t *db;

static int set_up(void **state)
{
  (void)state;
  db = accounts_db_open();
  return 0;
}

static int tear_down(void **state)
{
  (void)state;
  change_db_close(db);
  return 0;
}

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
  assert_int_equal(sister_note_again(db, SISTER), SMPL_OK);
  for (int i = 0; i < STRAYS_MAX + 5; i++) {
    uuid_generate(id);
    json_array_append_new(ids, json_string(id));
  }
  assert_int_equal(sister_compare(db, SISTER, ids, 100, &strays), SMPL_OK);
  assert_int_equal(sister_compared(db, SISTER, 100, strays), SMPL_OK);
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
  assert_int_equal(sister_compare(db, SISTER, ids, 101, &strays), SMPL_OK);
  assert_int_equal(sister_compared(db, SISTER, 101, strays), SMPL_OK);
  stray_text[0] = '\0';
  assert_int_equal(sister_each_stray(db, keep_text, NULL), SMPL_OK);
  assert_string_equal(stray_text, "");
  json_decref(ids);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(strays_are_listed_bounded_and_forgotten_once_they_are_gone),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
