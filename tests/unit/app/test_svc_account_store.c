/* SPDX-License-Identifier: Apache-2.0 */
/* Accounts in a SQLite file: their names, and what is left of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "app/store/sqlite/account_store.h"
#include "common/base/error.h"
#include "tests/unit/app/svc_change.h"

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

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(any_number_of_accounts_may_have_one_name),
      TEST(a_tombstone_is_kept_for_90_days),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
