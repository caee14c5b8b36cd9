/* SPDX-License-Identifier: Apache-2.0 */
/* A restore that is killed between any two of its steps: the database is the old one or the new one, whole,
 * and another restore works. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/store/sqlite/backup.h"
#include "app/store/sqlite/data_lock.h"
#include "app/store/sqlite/identity_store.h"
#include "app/store/sqlite/restore.h"
#include "app/store/sqlite/storage_db.h"
#include "common/base/error.h"
#include "tests/unit/app/svc_fake.h"

static const char *const migrations[] = {"CREATE TABLE things (id TEXT PRIMARY KEY);", NULL};
static const storage_schema_t schema = {"config", migrations, identity_ensure};

static char database[256], copy[256];

static void add_thing(const char *id)
{
  storage_db_t *db = NULL;
  diag_t diag = {""};
  assert_int_equal(storage_db_open(database, STORAGE_WRITES, &db, &diag), SMPL_OK);
  assert_int_equal(storage_db_prepare(db, database, &schema, &diag), SMPL_OK);
  assert_int_equal(storage_exec(db, "INSERT INTO things VALUES (?1)", STORAGE_ARGS(STORAGE_TEXT(id)), NULL),
                   SMPL_OK);
  storage_db_close(db);
}

/* What a service that was killed leaves: its last writes are in the journal alone. */
static void add_thing_and_die(const char *id)
{
  pid_t child = fork();
  if (child == 0) {
    storage_db_t *db = NULL;
    if (storage_db_open(database, STORAGE_WRITES, &db, NULL) == SMPL_OK)
      storage_exec(db, "INSERT INTO things VALUES (?1)", STORAGE_ARGS(STORAGE_TEXT(id)), NULL);
    kill(getpid(), SIGKILL);
  }
  assert_int_equal(waitpid(child, NULL, 0), child);
}

static int set_up(void **state)
{
  data_info_t info;
  diag_t diag = {""};
  (void)state;
  fake_folder();
  snprintf(database, sizeof database, "%s", fake_path("t.db"));
  snprintf(copy, sizeof copy, "%s", fake_path("copy"));
  add_thing("backed up");
  assert_int_equal(backup_make(database, &schema, copy, false, NULL, NULL, &info, &diag), SMPL_OK);
  add_thing("later");
  add_thing_and_die("last");
  return 0;
}

static int tear_down(void **state)
{
  (void)state;
  fake_folder_remove();
  return 0;
}

/* As the service would find it. */
static int64_t count_things(char *epoch)
{
  storage_db_t *db = NULL;
  diag_t diag = {""};
  identity_t identity;
  int64_t count = -1;
  assert_int_equal(storage_db_open(database, STORAGE_WRITES, &db, &diag), SMPL_OK);
  assert_int_equal(storage_db_prepare(db, database, &schema, &diag), SMPL_OK);
  assert_int_equal(storage_number(db, "SELECT count(*) FROM things", STORAGE_NO_ARGS, &count), SMPL_OK);
  assert_int_equal(identity_read(db, &identity), SMPL_OK);
  memcpy(epoch, identity.epoch, sizeof identity.epoch);
  storage_db_close(db);
  return count;
}

static void run_and_die(int steps)
{
  pid_t child = fork();
  if (child == 0) {
    restore_t r = {.database = database, .backup = copy, .schema = &schema};
    int err = restore_begin(&r, NULL);
    for (int i = 0; i < steps && !err; i++)
      err = restore_step(&r, i, NULL);
    if (!err)
      kill(getpid(), SIGKILL);
    _exit(1);
  }
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void a_restore_killed_after(int steps)
{
  char epoch[UUID_TEXT_MAX], again[UUID_TEXT_MAX];
  diag_t diag = {""};
  restore_t r = {.database = database, .backup = copy, .schema = &schema};
  run_and_die(steps);
  assert_int_equal(count_things(epoch), steps == RESTORE_STEPS ? 1 : 3);
  assert_int_equal(restore_run(&r, &diag), SMPL_OK);
  assert_int_equal(count_things(again), 1);
  assert_string_not_equal(epoch, again);
}

#define KILLED_AFTER(n)                                                                                      \
  static void a_restore_killed_after_step_##n##_leaves_one_whole_database(void **state)                      \
  {                                                                                                          \
    (void)state;                                                                                             \
    a_restore_killed_after(n);                                                                               \
  }
KILLED_AFTER(0)
KILLED_AFTER(1)
KILLED_AFTER(2)
KILLED_AFTER(3)
KILLED_AFTER(4)
KILLED_AFTER(5)
KILLED_AFTER(6)

static void
whoever_has_the_database_in_use_keeps_a_restore_out_and_a_restore_keeps_out_instances(void **state)
{
  int one = -1, other = -1, alone = -1;
  diag_t diag = {""};
  (void)state;
  assert_int_equal(data_lock_use(database, &one, &diag), SMPL_OK);
  assert_int_equal(data_lock_use(database, &other, &diag), SMPL_OK);
  assert_int_equal(data_lock_alone(database, &alone, &diag), SMPL_EBUSY);
  close(one);
  assert_int_equal(data_lock_alone(database, &alone, &diag), SMPL_EBUSY);
  close(other);
  assert_int_equal(data_lock_alone(database, &alone, &diag), SMPL_OK);
  assert_int_equal(data_lock_use(database, &one, &diag), SMPL_EBUSY);
  close(alone);
}

/* A program from before there were locks. */
static void a_database_that_somebody_has_open_without_the_lock_is_left_alone(void **state)
{
  storage_db_t *db = NULL;
  diag_t diag = {""};
  int64_t things = 0;
  restore_t r = {.database = database, .backup = copy, .schema = &schema};
  (void)state;
  assert_int_equal(storage_db_open(database, STORAGE_WRITES, &db, &diag), SMPL_OK);
  assert_int_equal(storage_number(db, "SELECT count(*) FROM things", STORAGE_NO_ARGS, &things), SMPL_OK);
  assert_int_equal(restore_run(&r, &diag), SMPL_EBUSY);
  assert_non_null(strstr(diag.text, "another process has it open"));
  assert_int_equal(access(r.fresh, F_OK), -1);
  assert_int_equal(access(r.aside, F_OK), -1);
  assert_int_equal(storage_exec(db, "INSERT INTO things VALUES ('more')", STORAGE_NO_ARGS, NULL), SMPL_OK);
  storage_db_close(db);
  char epoch[UUID_TEXT_MAX];
  assert_int_equal(count_things(epoch), 4);
}

static bool stop_at_once(void *ctx)
{
  ++*(int *)ctx;
  return true;
}

static void a_backup_asks_before_every_part_whether_to_go_on(void **state)
{
  data_info_t info;
  diag_t diag = {""};
  int asked = 0;
  char other[256];
  (void)state;
  snprintf(other, sizeof other, "%s", fake_path("other"));
  assert_int_equal(backup_make(database, &schema, other, false, stop_at_once, &asked, &info, &diag),
                   SMPL_ECLOSED);
  assert_int_equal(asked, 1);
  assert_int_equal(access(other, F_OK), -1);
  assert_int_equal(access(fake_path("other.partial"), F_OK), -1);
}

int __wrap_sqlite3_backup_step(sqlite3_backup *backup, int pages);
int __real_sqlite3_backup_step(sqlite3_backup *backup, int pages);

static int steps, largest, whole; /* of one copy; its pages */

int __wrap_sqlite3_backup_step(sqlite3_backup *backup, int pages)
{
  int code = __real_sqlite3_backup_step(backup, pages);
  steps++;
  largest = pages > largest ? pages : largest;
  whole = sqlite3_backup_pagecount(backup);
  return code;
}

static void a_backup_copies_no_more_pages_at_once_than_the_limit_says(void **state)
{
  enum { BYTES = 3 * BACKUP_PAGES * 4096 };
  data_info_t info;
  diag_t diag = {""};
  char *big = malloc(BYTES + 1);
  char other[256];
  (void)state;
  assert_non_null(big);
  memset(big, 'x', BYTES);
  big[BYTES] = '\0';
  add_thing(big);
  free(big);
  snprintf(other, sizeof other, "%s", fake_path("other"));
  steps = largest = 0;
  assert_int_equal(backup_make(database, &schema, other, false, NULL, NULL, &info, &diag), SMPL_OK);
  assert_int_equal(largest, BACKUP_PAGES);
  assert_true(whole > 3 * BACKUP_PAGES);
  assert_in_range(steps, whole / BACKUP_PAGES, whole / BACKUP_PAGES + 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(a_restore_killed_after_step_0_leaves_one_whole_database),
      TEST(a_restore_killed_after_step_1_leaves_one_whole_database),
      TEST(a_restore_killed_after_step_2_leaves_one_whole_database),
      TEST(a_restore_killed_after_step_3_leaves_one_whole_database),
      TEST(a_restore_killed_after_step_4_leaves_one_whole_database),
      TEST(a_restore_killed_after_step_5_leaves_one_whole_database),
      TEST(a_restore_killed_after_step_6_leaves_one_whole_database),
      TEST(whoever_has_the_database_in_use_keeps_a_restore_out_and_a_restore_keeps_out_instances),
      TEST(a_database_that_somebody_has_open_without_the_lock_is_left_alone),
      TEST(a_backup_asks_before_every_part_whether_to_go_on),
      TEST(a_backup_copies_no_more_pages_at_once_than_the_limit_says),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
