/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/store/sqlite/storage.h"
#include "app/store/sqlite/storage_db.h"
#include "common/base/error.h"
#include "tests/unit/app/svc_fake.h"

/* The clock that jobs and reads are bounded by. It stands still; or it goes on by a millisecond each time it
 * is asked, so that an endless job comes to its end after the same work on every machine. */
static atomic_uint_least64_t now_ms;
static atomic_uint clock_step;
uint64_t __wrap_clock_mono_ms(void);
uint64_t __wrap_clock_mono_ms(void)
{
  return atomic_fetch_add(&now_ms, atomic_load(&clock_step));
}

static const char *const first[] = {"CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT)", NULL};
static const char *const both[] = {"CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT)",
                                   "ALTER TABLE t ADD COLUMN more TEXT DEFAULT 'x'", NULL};
static const char *const broken[] = {"CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT)",
                                     "ALTER TABLE no SUCH", NULL};
static const storage_schema_t one = {"test", first, NULL}, two = {"test", both, NULL},
                              other = {"other", first, NULL}, unfit = {"test", broken, NULL};

typedef struct write_one {
  storage_job_t job; /* first */
  uv_loop_t *loop;
  storage_t *storage;
  int64_t n;
  int fail_with; /* after the write */
  int done, err;
  bool seen; /* by the reading connection when done was called */
  const store_change_t *change;
} write_one_t;

static int run_write(storage_db_t *db, storage_job_t *job)
{
  write_one_t *w = (write_one_t *)job;
  int err = storage_exec(db, "INSERT INTO t (n, text) VALUES (?1, ?2)",
                         STORAGE_ARGS(STORAGE_INT(w->n), STORAGE_TEXT("written")), NULL);
  return err ? err : w->fail_with;
}

static bool stored(storage_t *s, int64_t n)
{
  int64_t found = 0;
  return storage_number(storage_reader(s), "SELECT count(*) FROM t WHERE n = ?1",
                        STORAGE_ARGS(STORAGE_INT(n)), &found) == SMPL_OK &&
         found == 1;
}

static void on_done(storage_job_t *job, int err)
{
  write_one_t *w = (write_one_t *)job;
  w->done++;
  w->err = err;
  w->seen = stored(w->storage, w->n);
}

static void on_closed(void *ctx)
{
  *(bool *)ctx = true;
}

static storage_t *open_it(uv_loop_t *loop, const storage_schema_t *schema)
{
  storage_t *s = NULL;
  diag_t diag = {""};
  uv_loop_init(loop);
  int err = storage_open(loop, fake_path("t.db"), schema, &s, &diag);
  if (err)
    print_error("%s\n", diag.text);
  assert_int_equal(err, SMPL_OK);
  return s;
}

static void close_it(uv_loop_t *loop, storage_t *s)
{
  bool closed = false;
  storage_close(s, on_closed, &closed);
  uv_run(loop, UV_RUN_DEFAULT);
  assert_true(closed);
  assert_int_equal(uv_loop_close(loop), 0);
}

static void expect_refusal(const storage_schema_t *schema, const char *words)
{
  uv_loop_t loop;
  storage_t *s = NULL;
  diag_t diag = {""};
  uv_loop_init(&loop);
  assert_true(storage_open(&loop, fake_path("t.db"), schema, &s, &diag) < 0);
  assert_null(s);
  if (strstr(diag.text, words) == NULL || strstr(diag.text, "t.db") == NULL)
    fail_msg("'%s' does not say '%s'", diag.text, words);
  uv_run(&loop, UV_RUN_DEFAULT);
  uv_loop_close(&loop);
}

static int set_up(void **state)
{
  (void)state;
  atomic_store(&now_ms, 1);
  atomic_store(&clock_step, 0);
  fake_folder();
  return 0;
}

static int tear_down(void **state)
{
  (void)state;
  fake_folder_remove();
  return 0;
}

static void enqueue(storage_t *s, write_one_t *w, int64_t n, int fail_with)
{
  *w =
      (write_one_t){.job = {.run = run_write, .done = on_done}, .storage = s, .n = n, .fail_with = fail_with};
  assert_int_equal(storage_write(s, &w->job), SMPL_OK);
}

static void run_until(uv_loop_t *loop, const write_one_t *w)
{
  while (w->done == 0)
    uv_run(loop, UV_RUN_ONCE);
}

static void a_write_is_reported_when_others_can_read_it(void **state)
{
  uv_loop_t loop;
  write_one_t w;
  (void)state;
  storage_t *s = open_it(&loop, &one);
  enqueue(s, &w, 1, 0);
  assert_int_equal(w.done, 0);
  run_until(&loop, &w);
  assert_int_equal(w.err, SMPL_OK);
  assert_true(w.seen);
  close_it(&loop, s);
}

static void a_failing_job_undoes_only_itself(void **state)
{
  uv_loop_t loop;
  write_one_t w[60];
  (void)state;
  storage_t *s = open_it(&loop, &one);
  for (int i = 0; i < 60; i++)
    enqueue(s, &w[i], i, i % 3 == 1 ? SMPL_EDENIED : 0);
  for (int i = 0; i < 60; i++) {
    run_until(&loop, &w[i]);
    assert_int_equal(w[i].done, 1);
    assert_int_equal(w[i].err, i % 3 == 1 ? SMPL_EDENIED : SMPL_OK);
    assert_int_equal(w[i].seen, i % 3 != 1);
  }
  write_one_t again;
  enqueue(s, &again, 0, 0); /* a constraint */
  run_until(&loop, &again);
  assert_int_equal(again.err, SMPL_EEXIST);
  close_it(&loop, s);
}

/* A job that keeps its thread until it is let go on, so that others wait. */
typedef struct gate {
  storage_job_t job; /* first */
  uv_sem_t reached, open;
} gate_t;

static int run_gate(storage_db_t *db, storage_job_t *job)
{
  gate_t *gate = (gate_t *)job;
  (void)db;
  uv_sem_post(&gate->reached);
  uv_sem_wait(&gate->open);
  return SMPL_OK;
}

static void on_gate(storage_job_t *job, int err)
{
  gate_t *gate = (gate_t *)job;
  assert_int_equal(err, SMPL_OK);
  uv_sem_destroy(&gate->reached);
  uv_sem_destroy(&gate->open);
}

static void shut(storage_t *s, gate_t *gate, int (*queue)(storage_t *, storage_job_t *))
{
  *gate = (gate_t){.job = {.run = run_gate, .done = on_gate}};
  uv_sem_init(&gate->reached, 0);
  uv_sem_init(&gate->open, 0);
  assert_int_equal(queue(s, &gate->job), SMPL_OK);
  uv_sem_wait(&gate->reached);
}

static void open_up(gate_t *gate)
{
  uv_sem_post(&gate->open);
}

static void the_queue_takes_its_limit_and_not_one_more(void **state)
{
  uv_loop_t loop;
  (void)state;
  storage_t *s = open_it(&loop, &one);
  write_one_t *w = calloc(STORAGE_QUEUE_MAX + 1, sizeof *w);
  gate_t gate;
  shut(s, &gate, storage_write);
  for (int i = 0; i < STORAGE_QUEUE_MAX; i++)
    enqueue(s, &w[i], i, 0);
  assert_int_equal(storage_write(s, &w[STORAGE_QUEUE_MAX].job), SMPL_ELIMIT);
  open_up(&gate);
  run_until(&loop, &w[STORAGE_QUEUE_MAX - 1]);
  enqueue(s, &w[STORAGE_QUEUE_MAX], STORAGE_QUEUE_MAX, 0);
  run_until(&loop, &w[STORAGE_QUEUE_MAX]);
  assert_true(w[STORAGE_QUEUE_MAX].seen);
  close_it(&loop, s);
  free(w);
}

static void closing_runs_what_is_queued_and_takes_no_more(void **state)
{
  uv_loop_t loop;
  write_one_t w[10], late = {.job = {.run = run_write, .done = on_done}};
  bool closed = false;
  (void)state;
  storage_t *s = open_it(&loop, &one);
  for (int i = 0; i < 10; i++)
    enqueue(s, &w[i], i, 0);
  storage_close(s, on_closed, &closed);
  assert_int_equal(storage_write(s, &late.job), SMPL_ECLOSED);
  for (int i = 0; i < 10; i++)
    assert_true(w[i].done == 1 && w[i].err == SMPL_OK && w[i].seen);
  uv_run(&loop, UV_RUN_DEFAULT);
  assert_true(closed);
  uv_loop_close(&loop);
}

static int run_too_big(storage_db_t *db, storage_job_t *job)
{
  (void)job;
  /* "Disk full", as SQLite sees it. */
  storage_stmt_t *stmt = storage_query(db, "PRAGMA max_page_count = 20", STORAGE_NO_ARGS);
  storage_step(stmt);
  storage_finish(stmt);
  return storage_exec(db, "INSERT INTO t (n, text) VALUES (-1, hex(zeroblob(1000000)))", STORAGE_NO_ARGS,
                      NULL);
}

static void a_full_disk_acknowledges_nothing_that_is_not_stored(void **state)
{
  uv_loop_t loop;
  write_one_t before[3], big, after;
  (void)state;
  storage_t *s = open_it(&loop, &one);
  for (int i = 0; i < 3; i++)
    enqueue(s, &before[i], i, 0);
  big = (write_one_t){.job = {.run = run_too_big, .done = on_done}, .storage = s, .n = -1};
  assert_int_equal(storage_write(s, &big.job), SMPL_OK);
  enqueue(s, &after, 7, 0);
  run_until(&loop, &after);
  assert_int_equal(big.err, SMPL_EFULL);
  assert_false(big.seen);
  for (int i = 0; i < 3; i++)
    assert_int_equal(before[i].err == SMPL_OK, before[i].seen);
  assert_int_equal(after.err == SMPL_OK, after.seen);
  close_it(&loop, s);
}

/* Endless, as a read and as many writes. */
static int run_endless_read(storage_db_t *db, storage_job_t *job)
{
  int64_t n;
  int err = run_write(db, job);
  return err ? err
             : storage_number(db,
                              "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
                              " SELECT count(*) FROM n",
                              STORAGE_NO_ARGS, &n);
}

static int run_endless_writes(storage_db_t *db, storage_job_t *job)
{
  write_one_t *w = (write_one_t *)job;
  int err = SMPL_OK;
  for (int64_t n = w->n; !err; n++)
    err = storage_exec(db, "INSERT OR REPLACE INTO t (n, text) VALUES (?1, 'x')",
                       STORAGE_ARGS(STORAGE_INT(w->n + n % 100)), NULL);
  return err;
}

static void a_job_that_takes_too_long_is_given_up_alone(void **state)
{
  uv_loop_t loop;
  write_one_t w[4];
  (void)state;
  storage_t *s = open_it(&loop, &one);
  enqueue(s, &w[0], 1, 0);
  for (int i = 1; i < 3; i++) {
    w[i] = (write_one_t){.job = {.run = i == 1 ? run_endless_read : run_endless_writes, .done = on_done},
                         .storage = s,
                         .n = i * 1000};
    assert_int_equal(storage_write(s, &w[i].job), SMPL_OK);
  }
  enqueue(s, &w[3], 4, 0);
  atomic_store(&clock_step, 1);
  run_until(&loop, &w[3]);
  assert_in_range(atomic_load(&now_ms), 2 * STORAGE_JOB_MS, 2 * STORAGE_JOB_MS + 200);
  for (int i = 0; i < 4; i++) {
    assert_int_equal(w[i].err, i == 0 || i == 3 ? SMPL_OK : SMPL_ETIMEOUT);
    assert_int_equal(w[i].seen, i == 0 || i == 3);
  }
  close_it(&loop, s);
}

static void the_file_and_its_journal_are_private(void **state)
{
  uv_loop_t loop;
  write_one_t w;
  struct stat st;
  (void)state;
  int fd = open(fake_path("t.db"), O_CREAT | O_WRONLY, 0666);
  fchmod(fd, 0644);
  close(fd);
  storage_t *s = open_it(&loop, &one);
  enqueue(s, &w, 1, 0);
  run_until(&loop, &w);
  static const char *const names[] = {"t.db", "t.db-wal", "t.db-shm"};
  for (int i = 0; i < 3; i++) {
    assert_int_equal(stat(fake_path(names[i]), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
  }
  close_it(&loop, s);
}

static void an_older_file_is_brought_up_to_date_once(void **state)
{
  uv_loop_t loop;
  write_one_t w;
  int64_t n = 0;
  (void)state;
  storage_t *s = open_it(&loop, &one);
  enqueue(s, &w, 1, 0);
  run_until(&loop, &w);
  close_it(&loop, s);
  for (int i = 0; i < 2; i++) {
    s = open_it(&loop, &two);
    assert_int_equal(storage_number(storage_reader(s), "SELECT count(*) FROM t WHERE more = 'x'",
                                    STORAGE_NO_ARGS, &n),
                     SMPL_OK);
    assert_int_equal(n, 1);
    close_it(&loop, s);
  }
  expect_refusal(&one, "newer");
  expect_refusal(&other, "not a database of the other service");
}

static void a_failing_migration_changes_nothing(void **state)
{
  uv_loop_t loop;
  (void)state;
  storage_t *s = open_it(&loop, &one);
  close_it(&loop, s);
  expect_refusal(&unfit, "from 1 to 2");
  s = open_it(&loop, &two);
  close_it(&loop, s);
}

static void a_corrupt_file_is_one_clear_error(void **state)
{
  uv_loop_t loop;
  write_one_t w[40];
  char junk[4096];
  (void)state;
  memset(junk, 'j', sizeof junk);
  int fd = open(fake_path("t.db"), O_CREAT | O_WRONLY | O_TRUNC, 0600);
  assert_int_equal(write(fd, junk, sizeof junk), sizeof junk);
  close(fd);
  expect_refusal(&one, "not a database");
  unlink(fake_path("t.db"));
  storage_t *s = open_it(&loop, &one);
  for (int i = 0; i < 40; i++)
    enqueue(s, &w[i], i, 0);
  run_until(&loop, &w[39]);
  close_it(&loop, s); /* also moves the journal into the file */
  fd = open(fake_path("t.db"), O_WRONLY);
  assert_int_equal(pwrite(fd, junk, sizeof junk, 4096), sizeof junk); /* its second page: the table */
  close(fd);
  expect_refusal(&one, "corrupt");
  unlink(fake_path("t.db"));
  assert_int_equal(mkdir(fake_path("t.db"), 0700), 0);
  expect_refusal(&one, "t.db");
  rmdir(fake_path("t.db"));
}

static void two_processes_can_write_the_same_file(void **state)
{
  uv_loop_t loop;
  write_one_t w[50];
  (void)state;
  storage_t *s = open_it(&loop, &one);
  close_it(&loop, s);
  pid_t child = fork();
  if (child == 0) {
    s = open_it(&loop, &one);
    for (int i = 0; i < 50; i++) {
      enqueue(s, &w[i], 1000 + i, 0);
      run_until(&loop, &w[i]);
    }
    close_it(&loop, s);
    _exit(0);
  }
  s = open_it(&loop, &one);
  for (int i = 0; i < 50; i++) {
    enqueue(s, &w[i], i, 0);
    run_until(&loop, &w[i]);
    assert_int_equal(w[i].err, SMPL_OK);
  }
  int status = 0;
  waitpid(child, &status, 0);
  assert_int_equal(status, 0);
  for (int i = 0; i < 50; i++)
    assert_true(stored(s, i) && stored(s, 1000 + i));
  close_it(&loop, s);
}

/* The child says on the pipe which writes were reported to it; the parent kills it at some moment and looks.
 */
static void write_until_killed(int pipe_end)
{
  uv_loop_t loop;
  write_one_t w[8];
  storage_t *s = open_it(&loop, &one);
  for (int64_t n = 0;; n += 8) {
    for (int i = 0; i < 8; i++)
      enqueue(s, &w[i], n + i, 0);
    for (int i = 0; i < 8; i++) {
      run_until(&loop, &w[i]);
      if (w[i].err == SMPL_OK && write(pipe_end, &w[i].n, sizeof w[i].n) != sizeof w[i].n)
        _exit(1);
    }
  }
}

static void what_was_reported_survives_kill_9_at_any_instant(void **state)
{
  (void)state;
  for (int round = 0; round < 12; round++) {
    int ends[2];
    uv_loop_t loop;
    int64_t n = -1, last = -1;
    unlink(fake_path("t.db"));
    unlink(fake_path("t.db-wal"));
    unlink(fake_path("t.db-shm"));
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0)
      write_until_killed(ends[1]);
    close(ends[1]);
    assert_int_equal(read(ends[0], &n, sizeof n), sizeof n);
    usleep((useconds_t)(round * 2500 + 100));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    for (last = n; read(ends[0], &n, sizeof n) == sizeof n; last = n)
      ;
    close(ends[0]);
    storage_t *s = open_it(&loop, &one);
    for (int64_t i = 0; i <= last; i++)
      assert_true(stored(s, i));
    close_it(&loop, s);
  }
}

/* A change changes with each commit of whatever connection or process, before the commit is reported. */
static bool moved(storage_t *s, store_change_t *change)
{
  store_change_t old = *change;
  assert_true(storage_change(s, change));
  return !store_change_equal(&old, change);
}

static void on_done_moved(storage_job_t *job, int err)
{
  write_one_t *w = (write_one_t *)job;
  store_change_t now;
  w->done++;
  w->err = err;
  w->seen = storage_change(w->storage, &now) && !store_change_equal(&now, w->change);
}

static void a_stamp_changes_with_a_commit_and_not_with_a_read(void **state)
{
  uv_loop_t loop;
  write_one_t w;
  store_change_t change = {{0}};
  int64_t n;
  (void)state;
  storage_t *s = open_it(&loop, &one);
  assert_true(moved(s, &change)); /* known at all */
  assert_false(moved(s, &change));
  assert_int_equal(storage_number(storage_reader(s), "SELECT count(*) FROM t", STORAGE_NO_ARGS, &n), SMPL_OK);
  assert_false(moved(s, &change));
  for (int i = 1; i <= 50; i++) {
    enqueue(s, &w, i, 0);
    w.job.done = on_done_moved;
    w.change = &change;
    run_until(&loop, &w);
    assert_true(w.err == SMPL_OK && w.seen);
    assert_true(moved(s, &change));
  }
  close_it(&loop, s);
}

/* Other processes with the file. SQLite's state must not be taken over by fork: a launcher that was forked
 * before the file was opened here forks each of them. */
typedef struct order {
  char sql[256];
  enum {
    ORDER_ONCE,
    ORDER_CRASH,
    ORDER_REPEAT
  } kind; /* crash: ends without closing the file; repeat: until killed */
} order_t;

typedef struct launcher {
  pid_t pid;
  int orders, replies;
} launcher_t;

static void obey(const order_t *order, int replies)
{
  storage_db_t *db = NULL;
  int err = storage_db_open(fake_path("t.db"), STORAGE_WRITES, &db, NULL);
  pid_t self = getpid();
  if (order->kind == ORDER_REPEAT && write(replies, &self, sizeof self) != sizeof self)
    _exit(1);
  do
    err = err ? err : storage_db_command(db, order->sql);
  while (!err && order->kind == ORDER_REPEAT);
  if (order->kind == ORDER_ONCE)
    storage_db_close(db);
  if (!err && write(replies, &self, sizeof self) != sizeof self)
    _exit(1);
  _exit(0);
}

static launcher_t start_launcher(void)
{
  int orders[2], replies[2];
  order_t order;
  assert_true(pipe(orders) == 0 && pipe(replies) == 0);
  launcher_t l = {.pid = fork(), .orders = orders[1], .replies = replies[0]};
  close(l.pid == 0 ? orders[1] : orders[0]);
  close(l.pid == 0 ? replies[0] : replies[1]);
  if (l.pid != 0)
    return l;
  while (read(orders[0], &order, sizeof order) == sizeof order) {
    pid_t child = fork();
    if (child == 0)
      obey(&order, replies[1]);
    waitpid(child, NULL, 0);
  }
  _exit(0);
}

static pid_t elsewhere(const launcher_t *l, int kind, const char *sql)
{
  pid_t pid = 0;
  order_t order = {.kind = kind};
  snprintf(order.sql, sizeof order.sql, "%s", sql);
  assert_int_equal(write(l->orders, &order, sizeof order), sizeof order);
  assert_int_equal(read(l->replies, &pid, sizeof pid), sizeof pid);
  return pid;
}

static void stop_launcher(const launcher_t *l)
{
  close(l->orders);
  close(l->replies);
  waitpid(l->pid, NULL, 0);
}

static void a_stamp_changes_with_other_processes_commits_too(void **state)
{
  uv_loop_t loop;
  store_change_t change = {{0}};
  (void)state;
  launcher_t l = start_launcher();
  storage_t *s = open_it(&loop, &one);
  assert_true(moved(s, &change));
  for (int i = 0; i < 10; i++) {
    char sql[64];
    snprintf(sql, sizeof sql, "INSERT INTO t (n) VALUES (%d)", i);
    elsewhere(&l, i % 2 == 0 ? ORDER_ONCE : ORDER_CRASH, sql);
    assert_true(moved(s, &change));
    assert_true(stored(s, i));
    assert_false(moved(s, &change));
  }
  elsewhere(&l, ORDER_CRASH, "BEGIN IMMEDIATE; INSERT INTO t (n) VALUES (99)");
  assert_false(stored(s, 99));
  assert_false(moved(s, &change));
  elsewhere(&l, ORDER_ONCE,
            "UPDATE t SET text = 'x'; PRAGMA wal_checkpoint(TRUNCATE); INSERT INTO t (n) VALUES (100)");
  assert_true(moved(s, &change));
  assert_true(stored(s, 100));
  close_it(&loop, s);
  stop_launcher(&l);
}

/* What two equal stamps promise: that the file reads the same at both. A reader looks for a breach while
 * another process never rests, and is killed once there was occasion enough. */
static void what_was_read_between_equal_stamps_still_holds(void **state)
{
  enum { STAMPS_HELD = 2000, STAMPS_CHANGED = 500 };
  static const char sql[] = "SELECT CAST(text AS INTEGER) FROM t";
  uv_loop_t loop;
  int held = 0, changed = 0;
  int64_t last = 0;
  (void)state;
  launcher_t l = start_launcher();
  storage_t *s = open_it(&loop, &one);
  elsewhere(&l, ORDER_ONCE, "INSERT INTO t (n, text) VALUES (1, '0')");
  pid_t writer = elsewhere(&l, ORDER_REPEAT, "UPDATE t SET text = CAST(text AS INTEGER) + 1");
  while (held < STAMPS_HELD || changed < STAMPS_CHANGED) {
    store_change_t before, after;
    int64_t was = 0, is = 0;
    if (!storage_change(s, &before))
      continue;
    if (storage_number(storage_reader(s), sql, STORAGE_NO_ARGS, &was) ||
        storage_number(storage_reader(s), sql, STORAGE_NO_ARGS, &is) || !storage_change(s, &after))
      continue;
    assert_true(was >= last && is >= was);
    held += store_change_equal(&before, &after);
    changed += is > last;
    if (store_change_equal(&before, &after))
      assert_int_equal(was, is);
    last = is;
  }
  kill(writer, SIGKILL);
  close_it(&loop, s);
  stop_launcher(&l);
}

static const char pick_sql[] = "SELECT text FROM t WHERE n <= ?1 ORDER BY n";
static const char slow_sql[] =
    "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c"; /* endless */

static int read_all(storage_db_t *db, int64_t n)
{
  int row;
  storage_stmt_t *stmt = storage_query(db, pick_sql, STORAGE_ARGS(STORAGE_INT(n)));
  while ((row = storage_step(stmt)) == 1)
    ;
  return row;
}

static void a_bounded_read_ends_at_its_bytes_and_at_its_time(void **state)
{
  uv_loop_t loop;
  int64_t n;
  char sql[128];
  (void)state;
  launcher_t l = start_launcher();
  storage_t *s = open_it(&loop, &one);
  snprintf(sql, sizeof sql, "INSERT INTO t VALUES (1, printf('%%*s', %d, 'x')), (2, 'y')",
           STORAGE_LOOP_BYTES);
  elsewhere(&l, ORDER_ONCE, sql);
  assert_int_equal(read_all(storage_reader_bounded(s), 1), SMPL_OK);
  assert_int_equal(read_all(storage_reader_bounded(s), 2), SMPL_EAGAIN);
  assert_int_equal(read_all(storage_reader(s), 2), SMPL_OK);
  storage_db_t *db = storage_reader_bounded(s);
  uint64_t began = atomic_load(&now_ms);
  atomic_store(&clock_step, 1);
  assert_int_equal(storage_number(db, slow_sql, STORAGE_NO_ARGS, &n), SMPL_EAGAIN);
  atomic_store(&clock_step, 0);
  assert_in_range(atomic_load(&now_ms) - began, STORAGE_LOOP_MS, STORAGE_LOOP_MS + 2);
  assert_int_equal(read_all(storage_reader_bounded(s), 1), SMPL_OK);
  close_it(&loop, s);
  stop_launcher(&l);
}

typedef struct read_one {
  storage_job_t job; /* first */
  const char *sql;
  int done, err;
} read_one_t;

static int run_read(storage_db_t *db, storage_job_t *job)
{
  int64_t n;
  return storage_number(db, ((read_one_t *)job)->sql, STORAGE_NO_ARGS, &n);
}

static void on_read(storage_job_t *job, int err)
{
  read_one_t *r = (read_one_t *)job;
  r->done++;
  r->err = err;
}

static void long_reads_hold_up_nobody_and_are_bounded(void **state)
{
  static read_one_t reads[STORAGE_READS_MAX + 1];
  uv_loop_t loop;
  write_one_t w;
  (void)state;
  storage_t *s = open_it(&loop, &one);
  gate_t gate;
  shut(s, &gate, storage_read);
  for (int i = 0; i <= STORAGE_READS_MAX; i++) {
    reads[i] = (read_one_t){.job = {.run = run_read, .done = on_read}, .sql = i == 0 ? slow_sql : "SELECT 1"};
    assert_int_equal(storage_read(s, &reads[i].job), i < STORAGE_READS_MAX ? SMPL_OK : SMPL_ELIMIT);
  }
  open_up(&gate);
  enqueue(s, &w, 1, 0);
  run_until(&loop, &w);
  assert_true(w.err == SMPL_OK && w.seen);
  assert_int_equal(reads[0].done, 0);
  atomic_store(&clock_step, 1);
  while (reads[STORAGE_READS_MAX - 1].done == 0)
    uv_run(&loop, UV_RUN_ONCE);
  assert_int_equal(reads[0].err, SMPL_ETIMEOUT);
  assert_int_equal(reads[1].err, SMPL_OK);
  assert_int_equal(reads[STORAGE_READS_MAX].done, 0);
  assert_int_equal(storage_read(s, &reads[0].job), SMPL_OK); /* there is room again; closing waits for it */
  close_it(&loop, s);
  assert_int_equal(reads[0].done, 2);
}

/* ---- accounts side by side ---- */

/* A write of an account, which notes when it was run: numbers of the writer thread, looked at once all is
 * reported. */
typedef struct turn {
  storage_job_t job; /* first */
  int *clock, at, done, err;
  unsigned takes_ms;
  uv_sem_t *until; /* it runs until then; NULL: it ends at once */
  bool in_vain;    /* that did not come */
} turn_t;

enum { IN_VAIN_MS = 20000 };

static int run_turn(storage_db_t *db, storage_job_t *job)
{
  turn_t *t = (turn_t *)job;
  (void)db;
  t->at = ++*t->clock;
  atomic_fetch_add(&now_ms, t->takes_ms);
  for (unsigned ms = 0; t->until != NULL && uv_sem_trywait(t->until) != 0 && !t->in_vain; ms++) {
    t->in_vain = ms == IN_VAIN_MS;
    uv_sleep(1);
  }
  return SMPL_OK;
}

static void on_turn(storage_job_t *job, int err)
{
  turn_t *t = (turn_t *)job;
  t->done++;
  t->err = err;
}

static int queue_turn(storage_t *s, turn_t *t, const char *account, int *clock)
{
  *t = (turn_t){.job = {.run = run_turn, .done = on_turn, .key = turns_key(account, strlen(account))},
                .clock = clock};
  return storage_write(s, &t->job);
}

static void who_fills_the_queue_gives_way_to_another_account(void **state)
{
  static turn_t greedy[STORAGE_QUEUE_MAX + 1], quiet[10];
  uv_loop_t loop;
  gate_t gate;
  int clock = 0;
  (void)state;
  storage_t *s = open_it(&loop, &one);
  shut(s, &gate, storage_write);
  for (int i = 0; i <= STORAGE_QUEUE_MAX; i++)
    assert_int_equal(queue_turn(s, &greedy[i], "greedy", &clock),
                     i < STORAGE_QUEUE_MAX ? SMPL_OK : SMPL_ELIMIT);
  for (int i = 0; i < 10; i++) {
    assert_int_equal(queue_turn(s, &quiet[i], "quiet", &clock), SMPL_OK);
    assert_int_equal(greedy[STORAGE_QUEUE_MAX - 1 - i].done, 0); /* not before the loop turns */
  }
  assert_int_equal(storage_pending(s), STORAGE_QUEUE_MAX + 11);
  open_up(&gate);
  while (storage_pending(s) > 0)
    uv_run(&loop, UV_RUN_ONCE);
  for (int i = 0; i < 10; i++) {
    assert_int_equal(quiet[i].err, SMPL_OK);
    assert_int_equal(greedy[STORAGE_QUEUE_MAX - 1 - i].err, SMPL_ELIMIT);
    assert_int_equal(greedy[STORAGE_QUEUE_MAX - 1 - i].at, 0); /* was not run */
    assert_true(quiet[i].at <= 2 * (i + 1));                   /* one of the other's before each */
  }
  for (int i = 1; i < STORAGE_QUEUE_MAX - 10; i++) /* in order within an account */
    assert_true(greedy[i].err == SMPL_OK && greedy[i].at > greedy[i - 1].at);
  close_it(&loop, s);
}

static void writes_of_many_accounts_are_in_the_next_group_however_many_one_has_queued(void **state)
{
  enum { OTHERS = 100 };
  static turn_t greedy[STORAGE_QUEUE_MAX - OTHERS], others[OTHERS];
  uv_loop_t loop;
  gate_t gate;
  int clock = 0;
  char name[12];
  (void)state;
  storage_t *s = open_it(&loop, &one);
  shut(s, &gate, storage_write);
  for (int i = 0; i < STORAGE_QUEUE_MAX - OTHERS; i++)
    assert_int_equal(queue_turn(s, &greedy[i], "greedy", &clock), SMPL_OK);
  for (int i = 0; i < OTHERS; i++) {
    snprintf(name, sizeof name, "%d", i);
    assert_int_equal(queue_turn(s, &others[i], name, &clock), SMPL_OK);
  }
  open_up(&gate);
  while (storage_pending(s) > 0)
    uv_run(&loop, UV_RUN_ONCE);
  for (int i = 0; i < OTHERS; i++)
    assert_true(others[i].at <= OTHERS + 1);
  close_it(&loop, s);
}

static void long_writes_of_an_account_hold_another_up_once(void **state)
{
  turn_t slow[3], quiet[20];
  uv_loop_t loop;
  uv_sem_t reported;
  gate_t gate;
  int clock = 0;
  (void)state;
  uv_sem_init(&reported, 0);
  storage_t *s = open_it(&loop, &one);
  shut(s, &gate, storage_write);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(queue_turn(s, &slow[i], "slow", &clock), SMPL_OK);
    slow[i].takes_ms = 30 * STORAGE_GROUP_MS;
  }
  slow[1].until = &reported;
  for (int i = 0; i < 20; i++)
    assert_int_equal(queue_turn(s, &quiet[i], "quiet", &clock), SMPL_OK);
  open_up(&gate);
  while (quiet[19].done == 0) /* reported before the second of them has run: it is in no group with others */
    uv_run(&loop, UV_RUN_ONCE);
  uv_sem_post(&reported);
  while (storage_pending(s) > 0)
    uv_run(&loop, UV_RUN_ONCE);
  assert_int_equal(slow[0].at, 1);
  for (int i = 0; i < 20; i++)
    assert_int_equal(quiet[i].at, i + 2);
  assert_true(slow[1].at == 22 && slow[2].at == 23);
  assert_false(slow[1].in_vain);
  uv_sem_destroy(&reported);
  close_it(&loop, s);
}

static void a_connection_keeps_its_limit_of_statements(void **state)
{
  static char texts[STORAGE_STMTS_MAX + 1][32];
  storage_db_t *db = NULL;
  int64_t n = 0;
  (void)state;
  assert_int_equal(storage_db_open(fake_path("t.db"), STORAGE_WRITES, &db, NULL), SMPL_OK);
  for (int i = 0; i <= STORAGE_STMTS_MAX; i++) {
    snprintf(texts[i], sizeof texts[i], "SELECT %d", i);
    assert_int_equal(storage_number(db, texts[i], STORAGE_NO_ARGS, &n),
                     i < STORAGE_STMTS_MAX ? SMPL_OK : SMPL_ESERVER);
  }
  assert_int_equal(storage_number(db, texts[5], STORAGE_NO_ARGS, &n), SMPL_OK);
  assert_int_equal(n, 5);
  storage_db_close(db);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_write_is_reported_when_others_can_read_it, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_failing_job_undoes_only_itself, set_up, tear_down),
      cmocka_unit_test_setup_teardown(the_queue_takes_its_limit_and_not_one_more, set_up, tear_down),
      cmocka_unit_test_setup_teardown(closing_runs_what_is_queued_and_takes_no_more, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_full_disk_acknowledges_nothing_that_is_not_stored, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_job_that_takes_too_long_is_given_up_alone, set_up, tear_down),
      cmocka_unit_test_setup_teardown(the_file_and_its_journal_are_private, set_up, tear_down),
      cmocka_unit_test_setup_teardown(an_older_file_is_brought_up_to_date_once, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_failing_migration_changes_nothing, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_corrupt_file_is_one_clear_error, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_connection_keeps_its_limit_of_statements, set_up, tear_down),
      cmocka_unit_test_setup_teardown(two_processes_can_write_the_same_file, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_stamp_changes_with_a_commit_and_not_with_a_read, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_stamp_changes_with_other_processes_commits_too, set_up, tear_down),
      cmocka_unit_test_setup_teardown(what_was_read_between_equal_stamps_still_holds, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_bounded_read_ends_at_its_bytes_and_at_its_time, set_up, tear_down),
      cmocka_unit_test_setup_teardown(long_reads_hold_up_nobody_and_are_bounded, set_up, tear_down),
      cmocka_unit_test_setup_teardown(who_fills_the_queue_gives_way_to_another_account, set_up, tear_down),
      cmocka_unit_test_setup_teardown(
          writes_of_many_accounts_are_in_the_next_group_however_many_one_has_queued, set_up, tear_down),
      cmocka_unit_test_setup_teardown(long_writes_of_an_account_hold_another_up_once, set_up, tear_down),
      cmocka_unit_test_setup_teardown(what_was_reported_survives_kill_9_at_any_instant, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
