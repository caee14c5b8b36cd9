/* SPDX-License-Identifier: Apache-2.0 */
/* app/store/sqlite/revocation_store.c: the file of revocations as a restore reads it: whole, torn, of another
 * database, behind; and what is no line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "app/accounts/revocation_writer.h"
#include "app/store/sqlite/account_store.h"
#include "app/store/sqlite/accounts_sqlite.h"
#include "app/store/sqlite/revocation_store.h"
#include "app/store/sqlite/identity_store.h"
#include "app/store/sqlite/storage_db.h"
#include "common/base/error.h"
#include "tests/unit/app/svc_fake.h"

#define ACCOUNT "d290f1ee-6c54-4b01-90e6-d701748f0851"
#define KEY_1   "11111111-2222-4333-8444-000000000001"
#define KEY_2   "11111111-2222-4333-8444-000000000002"
#define WHEN    "2026-11-30T01:02:03.004Z"

static storage_db_t *db;
static identity_t identity;
static char path[256];

static int set_up(void **state)
{
  diag_t diag = {""};
  (void)state;
  fake_folder();
  snprintf(path, sizeof path, "%s", fake_path("revoked"));
  assert_int_equal(storage_db_open(fake_path("t.db"), STORAGE_WRITES, &db, &diag), SMPL_OK);
  assert_int_equal(storage_db_prepare(db, fake_path("t.db"), &account_schema, &diag), SMPL_OK);
  assert_int_equal(identity_read(db, &identity), SMPL_OK);
  assert_int_equal(account_insert(db, ACCOUNT, "Acme", 5), SMPL_OK);
  return storage_db_command(
      db, "INSERT INTO api_keys (id, account, name, tag, hash, status, created_at, updated_at) VALUES"
          " ('" KEY_1 "', '" ACCOUNT "', 'x', x'01', x'01', 'ACTIVE', 0, 0),"
          " ('" KEY_2 "', '" ACCOUNT "', 'x', x'02', x'02', 'ACTIVE', 0, 0)");
}

static int tear_down(void **state)
{
  (void)state;
  storage_db_close(db);
  fake_folder_remove();
  return 0;
}

static revocations_found_t apply(const char *database, const char *lines, int64_t *applied)
{
  revocations_found_t found;
  diag_t diag = {""};
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  fprintf(f, "smpl-app revocations of database %s\n%s", database, lines);
  fclose(f);
  assert_int_equal(revocations_apply(db, path, &found, applied, &diag), SMPL_OK);
  return found;
}

static int64_t active(void)
{
  int64_t n = -1;
  storage_number(db, "SELECT count(*) FROM api_keys WHERE status = 'ACTIVE'", STORAGE_NO_ARGS, &n);
  return n;
}

static void whole_lines_are_applied_and_a_torn_one_is_not(void **state)
{
  int64_t applied = 0;
  (void)state;
  assert_int_equal(apply(identity.database, "1 " WHEN " key " KEY_1 "\n2 " WHEN " key " KEY_2, &applied),
                   REVOCATIONS_COMPLETE);
  assert_true(applied == 1 && active() == 1);
  assert_int_equal(apply(identity.database, "1 " WHEN " key " KEY_1 "\n1 " WHEN " key " KEY_2 "\n", &applied),
                   REVOCATIONS_COMPLETE); /* one number twice: a write that was undone */
  assert_true(applied == 1 && active() == 0);
}

static void a_deleted_account_is_deleted_again_with_its_keys(void **state)
{
  int64_t applied = 0, accounts = -1;
  (void)state;
  assert_int_equal(apply(identity.database, "1 " WHEN " account " ACCOUNT "\n", &applied),
                   REVOCATIONS_COMPLETE);
  storage_number(db, "SELECT count(*) FROM accounts WHERE deleted_at IS NULL", STORAGE_NO_ARGS, &accounts);
  assert_true(applied == 1 && active() == 0 && accounts == 0);
}

static void what_is_no_line_changes_nothing(void **state)
{
  static const char *const wrong[] = {
      "\n",
      "0 " WHEN " key " KEY_1 "\n",
      "-1 " WHEN " key " KEY_1 "\n",
      "99999999999999999999999 " WHEN " key " KEY_1 "\n",
      "9223372036854775808 " WHEN " key " KEY_1 "\n",
      "1 yesterday key " KEY_1 "\n",
      "1 " WHEN " keys " KEY_1 "\n",
      "1 " WHEN "  key " KEY_1 "\n",
      "1 " WHEN " key " KEY_1 " \n",
      "1 " WHEN " key " KEY_1 " more\n",
      "1 " WHEN " key 11111111-2222-4333-8444-00000000000\n",
      "1 " WHEN " key ' OR 1 = 1; --\n",
      "1 " WHEN " key\n",
  };
  int64_t applied = 0;
  (void)state;
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    assert_int_equal(apply(identity.database, wrong[i], &applied), REVOCATIONS_COMPLETE);
    assert_true(applied == 0 && active() == 2);
  }
}

static void a_file_of_another_database_or_with_less_than_the_backup_is_not_complete(void **state)
{
  int64_t applied = 0;
  revocations_found_t found;
  diag_t diag = {""};
  (void)state;
  assert_int_equal(apply(ACCOUNT, "1 " WHEN " key " KEY_1 "\n", &applied), REVOCATIONS_OTHER);
  assert_true(applied == 0 && active() == 2);
  assert_int_equal(storage_db_command(db, "INSERT INTO revocations (n, kind, subject, at, written) VALUES"
                                          " (3, 'key', '" ACCOUNT "', 0, 1)"),
                   SMPL_OK);
  assert_int_equal(apply(identity.database, "2 " WHEN " key " KEY_1 "\n", &applied), REVOCATIONS_BEHIND);
  assert_true(applied == 1 && active() == 1); /* what it has counts all the same */
  assert_int_equal(apply(identity.database, "3 " WHEN " key " KEY_2 "\n", &applied), REVOCATIONS_COMPLETE);
  assert_int_equal(revocations_apply(db, NULL, &found, &applied, &diag), SMPL_OK);
  assert_int_equal(found, REVOCATIONS_NOT_CONFIGURED);
  assert_int_equal(revocations_apply(db, fake_path("none"), &found, &applied, &diag), SMPL_OK);
  assert_int_equal(found, REVOCATIONS_MISSING);
}

static size_t count_lines(void)
{
  char line[256];
  size_t n = 0;
  FILE *f = fopen(path, "r");
  while (f != NULL && fgets(line, sizeof line, f) != NULL)
    n += strchr(line, '\n') != NULL;
  if (f != NULL)
    fclose(f);
  return n;
}

static void mark(void *ctx)
{
  *(bool *)ctx = true;
}

/* Of a service that did not have such a file before: one batch after the other, without a pause. */
static void what_is_missing_in_the_file_is_written_in_batches(void **state)
{
  enum { ROWS = 2 * REVOCATIONS_BATCH + 1 };
  uv_loop_t loop;
  store_t *store = NULL;
  revocation_writer_t *w = NULL;
  diag_t diag = {""};
  bool stopped = false, closed = false;
  char sql[512];
  (void)state;
  snprintf(
      sql, sizeof sql,
      "WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < %d) INSERT INTO revocations"
      " (kind, subject, at) SELECT 'key', '11111111-2222-4333-8444-' || printf('%%012d', i), 0 FROM c",
      (int)ROWS);
  assert_int_equal(storage_db_command(db, sql), SMPL_OK);
  storage_db_close(db);
  db = NULL;
  uv_loop_init(&loop);
  assert_int_equal(sqlite_open(&loop, fake_path("t.db"), path, &accounts_sqlite, &store, &diag), SMPL_OK);
  assert_int_equal(revocation_writer_new(&loop, store, &w), SMPL_OK);
  size_t lines = 1, before;
  while (lines < 1 + ROWS) {
    before = lines;
    uv_run(&loop, UV_RUN_ONCE);
    lines = count_lines();
    assert_true(lines >= before);
  }
  assert_int_equal(lines, 1 + ROWS);
  revocation_writer_stop(w, mark, &stopped);
  while (!stopped)
    uv_run(&loop, UV_RUN_ONCE);
  store_close(store, mark, &closed);
  while (!closed)
    uv_run(&loop, UV_RUN_ONCE);
  revocation_writer_free(w);
  uv_run(&loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&loop), 0);
}

static void only_a_sound_report_tells_which_database_a_sister_has(void **state)
{
  static const char *const reports[] = {
      "{}",
      "{\"meta\": null}",
      "{\"meta\": {\"database\": \"" ACCOUNT "\", \"epoch\": \"x\", \"heard\": 1}}",
      "{\"meta\": {\"database\": 1, \"epoch\": \"" ACCOUNT "\", \"heard\": 1}}",
      "{\"meta\": {\"database\": \"" ACCOUNT "\", \"epoch\": \"" ACCOUNT "\", \"heard\": \"1\"}}",
      "{\"meta\": {\"database\": \"" ACCOUNT "\", \"epoch\": \"" ACCOUNT "\", \"heard\": -1}}",
      "{\"meta\": {\"database\": \"" ACCOUNT "\", \"epoch\": \"" ACCOUNT "\"}}",
  };
  identity_t out;
  (void)state;
  for (size_t i = 0; i < sizeof reports / sizeof *reports; i++) {
    json_t *body = json_loads(reports[i], 0, NULL);
    assert_false(identity_of_report(body, &out));
    json_decref(body);
  }
  assert_false(identity_of_report(NULL, &out));
  json_t *own = json_pack("{s:o}", "meta", identity_report(&identity));
  assert_true(identity_of_report(own, &out));
  assert_string_equal(out.epoch, identity.epoch);
  json_decref(own);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(whole_lines_are_applied_and_a_torn_one_is_not),
      TEST(a_deleted_account_is_deleted_again_with_its_keys),
      TEST(what_is_no_line_changes_nothing),
      TEST(a_file_of_another_database_or_with_less_than_the_backup_is_not_complete),
      TEST(what_is_missing_in_the_file_is_written_in_batches),
      TEST(only_a_sound_report_tells_which_database_a_sister_has),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
