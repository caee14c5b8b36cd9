/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/sqlite/storage_db.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/log.h"

enum {
  PROGRESS_STEPS = 10000, /* of SQLite's machine between two looks at the clock: about a millisecond */
  OPEN_RETRY_MS = 5,      /* between two attempts to open a file that another process is opening */
  BUSY_LOOK_US = 300,     /* between two looks whether another process's transaction is over */
};

struct storage_stmt {
  storage_db_t *db;
  const char *sql; /* compared by address */
  sqlite3_stmt *handle;
};

struct store_connection {
  sqlite3 *handle;
  char *path;
  uint64_t ends_at;      /* monotonic ms: when what runs now has taken too long; 0 for never */
  size_t bytes_left;     /* of text that may be read, if bounded */
  bool bounded;          /* by storage_db_bound */
  bool reading;          /* the statement under way writes nothing */
  uint64_t busy_since;   /* monotonic ms: when the wait for another process began */
  int64_t data_version;  /* changes when another connection has written */
  const uint32_t *index; /* the WAL's index, shared with all processes; NULL until it is known */
  size_t count;
  storage_stmt_t stmts[STORAGE_STMTS_MAX];
};

/* Logs what is nobody's expected answer; the one place where SQLite's codes become ours. */
static int fail(storage_db_t *db, int code)
{
  switch (code & 0xff) {
  case SQLITE_CONSTRAINT:
    return SMPL_EEXIST;
  case SQLITE_BUSY:
  case SQLITE_LOCKED:
    log_warn("%s: another process holds the database", db->path);
    return SMPL_EBUSY;
  case SQLITE_NOMEM:
    return SMPL_ENOMEM;
  case SQLITE_INTERRUPT:
    return db->bounded ? SMPL_EAGAIN : SMPL_ETIMEOUT;
  case SQLITE_FULL:
    log_error("%s: no room left on the disk", db->path);
    return SMPL_EFULL;
  default:
    log_error("%s: %s", db->path, sqlite3_errmsg(db->handle));
    return SMPL_ESERVER;
  }
}

/* The file exists with mode 0600 before SQLite sees it; its -wal and -shm then get the same mode. */
static int make_private(const char *path, diag_t *diag)
{
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
  if (fd < 0)
    return diag_fail_errno(diag, "%s", path);
  struct stat st;
  int err = SMPL_OK;
  if (fstat(fd, &st) != 0)
    err = diag_fail_errno(diag, "%s", path);
  else if (!S_ISREG(st.st_mode))
    err = diag_fail(diag, SMPL_EINVAL, "%s: not a regular file", path);
  else if ((st.st_mode & 077) != 0 && fchmod(fd, 0600) != 0)
    err = diag_fail_errno(diag, "%s: others can read it, and its mode cannot be made 0600", path);
  close(fd);
  return err;
}

/* SQLite does not wait by itself for everything: a switch to WAL while another process opens the same file is
 * BUSY at once. Several instances that start together must all come up. */
static int exec_patiently(storage_db_t *db, const char *sql)
{
  uint64_t until = clock_mono_ms() + STORAGE_WRITE_BUSY_MS;
  int code;
  while (((code = sqlite3_exec(db->handle, sql, NULL, NULL, NULL)) & 0xff) == SQLITE_BUSY &&
         clock_mono_ms() < until)
    sqlite3_sleep(OPEN_RETRY_MS);
  return code;
}

/* Waits for another process's transaction. Looked at often: between two of its transactions there is little
 * time, which SQLite's own growing pauses would miss again and again. */
static int on_busy(void *ctx, int count)
{
  storage_db_t *db = ctx;
  uint64_t now = clock_mono_ms();
  if (count == 0)
    db->busy_since = now;
  if (now - db->busy_since >= STORAGE_WRITE_BUSY_MS)
    return 0;
  usleep(BUSY_LOOK_US);
  return 1;
}

static int open_handle(storage_db_t *db, storage_role_t role, diag_t *diag)
{
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE;
  if (sqlite3_open_v2(db->path, &db->handle, flags, NULL) != SQLITE_OK)
    return diag_fail(diag, SMPL_ESYS, "%s: %s", db->path,
                     db->handle ? sqlite3_errmsg(db->handle) : "out of memory");
  if (role == STORAGE_WRITES)
    sqlite3_busy_handler(db->handle, on_busy, db);
  else
    sqlite3_busy_timeout(db->handle, STORAGE_READ_BUSY_MS);
  sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
  sqlite3_db_config(db->handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
  sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
  const char *setup = role == STORAGE_WRITES
                          ? "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
                            "PRAGMA journal_size_limit=67108864; PRAGMA temp_store=MEMORY"
                          : "PRAGMA query_only=ON; PRAGMA temp_store=MEMORY";
  if (exec_patiently(db, setup) != SQLITE_OK)
    return diag_fail(diag, SMPL_EINVAL, "%s: %s", db->path, sqlite3_errmsg(db->handle));
  return SMPL_OK;
}

static bool is_late(const storage_db_t *db)
{
  return db->ends_at != 0 && clock_mono_ms() >= db->ends_at;
}

/* Ends a long read. A write is let come to its end: SQLite would undo the whole transaction, other jobs with
 * it. */
static int on_progress(void *ctx)
{
  const storage_db_t *db = ctx;
  return db->reading && is_late(db);
}

int storage_db_open(const char *path, storage_role_t role, storage_db_t **out, diag_t *diag)
{
  *out = NULL;
  int err = role == STORAGE_WRITES ? make_private(path, diag) : SMPL_OK;
  if (err)
    return err;
  storage_db_t *db = calloc(1, sizeof *db);
  if (db == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  db->path = strdup(path);
  err = db->path != NULL ? open_handle(db, role, diag) : diag_fail(diag, SMPL_ENOMEM, "out of memory");
  if (err) {
    storage_db_close(db);
    return err;
  }
  *out = db;
  return SMPL_OK;
}

void storage_db_bound(storage_db_t *db, uint64_t ms, size_t bytes)
{
  storage_db_limit(db, ms);
  db->bounded = ms != 0;
  db->bytes_left = bytes;
}

void storage_db_limit(storage_db_t *db, uint64_t ms)
{
  db->ends_at = ms != 0 ? clock_mono_ms() + ms : 0;
  sqlite3_progress_handler(db->handle, ms != 0 ? PROGRESS_STEPS : 0, on_progress, db);
}

void storage_db_close(storage_db_t *db)
{
  if (db == NULL)
    return;
  for (size_t i = 0; i < db->count; i++)
    sqlite3_finalize(db->stmts[i].handle);
  sqlite3_close(db->handle);
  free(db->path);
  free(db);
}

/* One number, such as a pragma gives. */
static int number_of(storage_db_t *db, const char *sql, int64_t *out)
{
  sqlite3_stmt *stmt = NULL;
  int code = sqlite3_prepare_v2(db->handle, sql, -1, &stmt, NULL);
  if (code == SQLITE_OK)
    code = sqlite3_step(stmt);
  if (code == SQLITE_ROW)
    *out = sqlite3_column_int64(stmt, 0);
  sqlite3_finalize(stmt);
  return code == SQLITE_ROW ? SMPL_OK : SMPL_EINVAL;
}

static int check_pages(storage_db_t *db, diag_t *diag)
{
  struct stat st;
  if (stat(db->path, &st) != 0)
    return diag_fail_errno(diag, "%s", db->path);
  if (st.st_size > STORAGE_CHECK_MAX)
    return SMPL_OK;
  sqlite3_stmt *stmt = NULL;
  char found[256] = "";
  int code = sqlite3_prepare_v2(db->handle, "PRAGMA quick_check(1)", -1, &stmt, NULL);
  if (code == SQLITE_OK)
    code = sqlite3_step(stmt);
  if ((code & 0xff) == SQLITE_BUSY) {
    sqlite3_finalize(stmt);
    return diag_fail(diag, SMPL_EBUSY, "%s: another process holds the database", db->path);
  }
  if (code == SQLITE_ROW)
    snprintf(found, sizeof found, "%s", (const char *)sqlite3_column_text(stmt, 0));
  else
    snprintf(found, sizeof found, "%s", sqlite3_errmsg(db->handle));
  sqlite3_finalize(stmt);
  if (code == SQLITE_ROW && strcmp(found, "ok") == 0)
    return SMPL_OK;
  found[strcspn(found, "\n")] = '\0';
  return diag_fail(diag, SMPL_EINVAL, "%s: corrupt database: %s", db->path, found);
}

/* The owner's name, hashed (FNV-1a). */
int64_t storage_db_owner_id(const char *owner)
{
  uint32_t h = 2166136261u;
  for (; *owner != '\0'; owner++)
    h = (h ^ (uint8_t)*owner) * 16777619u;
  return (int64_t)(h & 0x7fffffffu);
}

static int run_migration(storage_db_t *db, const char *sql, int64_t version, const storage_schema_t *schema)
{
  char mark[128];
  snprintf(mark, sizeof mark, "PRAGMA user_version=%lld; PRAGMA application_id=%lld", (long long)version + 1,
           (long long)storage_db_owner_id(schema->owner));
  int err = storage_db_command(db, sql);
  return err ? err : storage_db_command(db, mark);
}

/* Within BEGIN IMMEDIATE, so that of two processes that start at once one migrates and the other finds it
 * done. */
static int migrate(storage_db_t *db, const storage_schema_t *schema, diag_t *diag)
{
  int64_t version = 0, owner = 0, tables = 0, newest = 0;
  while (schema->migrations[newest] != NULL)
    newest++;
  if (number_of(db, "PRAGMA user_version", &version) || number_of(db, "PRAGMA application_id", &owner) ||
      number_of(db, "SELECT count(*) FROM sqlite_master", &tables))
    return diag_fail(diag, SMPL_EINVAL, "%s: %s", db->path, sqlite3_errmsg(db->handle));
  bool fresh = version == 0 && tables == 0;
  if (!fresh && owner != storage_db_owner_id(schema->owner))
    return diag_fail(diag, SMPL_EINVAL, "%s: not a database of the %s service", db->path, schema->owner);
  if (version > newest)
    return diag_fail(
        diag, SMPL_EINVAL,
        "%s: written by a newer smpl-app (schema %lld, this one knows %lld): use that one, or its backup",
        db->path, (long long)version, (long long)newest);
  for (; version < newest; version++) {
    if (run_migration(db, schema->migrations[version], version, schema))
      return diag_fail(diag, SMPL_EINVAL, "%s: cannot bring the schema from %lld to %lld: %s", db->path,
                       (long long)version, (long long)version + 1, sqlite3_errmsg(db->handle));
  }
  if (schema->ensure != NULL && schema->ensure(db))
    return diag_fail(diag, SMPL_EINVAL, "%s: cannot give it an identity: %s", db->path,
                     sqlite3_errmsg(db->handle));
  return SMPL_OK;
}

int storage_db_prepare(storage_db_t *db, const char *path, const storage_schema_t *schema, diag_t *diag)
{
  int err = check_pages(db, diag);
  if (err)
    return err;
  if (exec_patiently(db, "BEGIN IMMEDIATE") != SQLITE_OK)
    return diag_fail(diag, SMPL_EBUSY, "%s: %s", path, sqlite3_errmsg(db->handle));
  err = migrate(db, schema, diag);
  if (!err && sqlite3_exec(db->handle, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
    err = diag_fail(diag, SMPL_ESYS, "%s: %s", path, sqlite3_errmsg(db->handle));
  if (err && sqlite3_get_autocommit(db->handle) == 0)
    sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
  return err;
}

int storage_db_command(storage_db_t *db, const char *sql)
{
  int code = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
  return code == SQLITE_OK ? SMPL_OK : fail(db, code);
}

bool storage_db_in_transaction(storage_db_t *db)
{
  return sqlite3_get_autocommit(db->handle) == 0;
}

bool storage_db_others_wrote(storage_db_t *db)
{
  int64_t before = db->data_version;
  if (storage_number(db, "PRAGMA data_version", STORAGE_NO_ARGS, &db->data_version))
    return false;
  return before != 0 && before != db->data_version;
}

/* SQLite keeps an index of the WAL in memory that all processes share. It begins with a header, twice:
 * version, a counter of commits, the WAL's length, its running checksum and salts
 * (https://www.sqlite.org/walformat.html). A commit writes the second copy, then the first, before COMMIT
 * returns; every reader begins by reading both, and what it has in its cache stays valid if they are as they
 * were. We do the same. */
enum {
  INDEX_REGION = 32 << 10, /* bytes: the file's first part */
  INDEX_FORMAT = 3007000,
  HEADER_WORDS = 12,
};

/* Mapped by SQLite until the connection is closed. */
static const uint32_t *find_index(storage_db_t *db)
{
  sqlite3_file *file = NULL;
  volatile void *at = NULL;
  int64_t version;
  if (number_of(db, "PRAGMA user_version", &version)) /* it has read: the index is there */
    return NULL;
  if (sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK ||
      file == NULL || file->pMethods == NULL || file->pMethods->iVersion < 2 ||
      file->pMethods->xShmMap == NULL || file->pMethods->xShmMap(file, 0, INDEX_REGION, 0, &at) != SQLITE_OK)
    return NULL;
  return (const uint32_t *)(uintptr_t)at;
}

_Static_assert(sizeof(store_change_t) == HEADER_WORDS * sizeof(uint32_t), "the header tells the state");

bool storage_db_change(storage_db_t *db, store_change_t *out)
{
  uint32_t first[HEADER_WORDS], second[HEADER_WORDS];
  if (db->index == NULL && (db->index = find_index(db)) == NULL)
    return false;
  for (size_t i = 0; i < HEADER_WORDS; i++)
    first[i] = __atomic_load_n(&db->index[i], __ATOMIC_RELAXED);
  __atomic_thread_fence(__ATOMIC_ACQUIRE);
  for (size_t i = 0; i < HEADER_WORDS; i++)
    second[i] = __atomic_load_n(&db->index[HEADER_WORDS + i], __ATOMIC_RELAXED);
  memcpy(out->bytes, first, sizeof out->bytes);
  return first[0] == INDEX_FORMAT && memcmp(first, second, sizeof first) == 0;
}

int storage_db_check(storage_db_t *db)
{
  int64_t tables;
  return storage_number(db, "SELECT count(*) FROM sqlite_schema", STORAGE_NO_ARGS, &tables);
}

static storage_stmt_t *find_stmt(storage_db_t *db, const char *sql)
{
  for (size_t i = 0; i < db->count; i++)
    if (db->stmts[i].sql == sql)
      return &db->stmts[i];
  if (db->count == STORAGE_STMTS_MAX) {
    log_error("%s: more than %d statements", db->path, STORAGE_STMTS_MAX);
    return NULL;
  }
  storage_stmt_t *stmt = &db->stmts[db->count];
  int code = sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt->handle, NULL);
  if (code != SQLITE_OK) {
    fail(db, code);
    return NULL;
  }
  stmt->db = db;
  stmt->sql = sql;
  db->count++;
  return stmt;
}

static int bind_arg(sqlite3_stmt *stmt, int index, const storage_arg_t *arg)
{
  switch (arg->kind) {
  case STORAGE_ARG_INT:
    return sqlite3_bind_int64(stmt, index, arg->number);
  case STORAGE_ARG_TEXT:
    return sqlite3_bind_text(stmt, index, arg->data, -1, SQLITE_TRANSIENT);
  case STORAGE_ARG_BLOB:
    return sqlite3_bind_blob64(stmt, index, arg->data, arg->len, SQLITE_TRANSIENT);
  case STORAGE_ARG_NULL:
    break;
  }
  return sqlite3_bind_null(stmt, index);
}

storage_stmt_t *storage_query(storage_db_t *db, const char *sql, const storage_arg_t *args, size_t count)
{
  storage_stmt_t *stmt = find_stmt(db, sql);
  if (stmt == NULL)
    return NULL;
  for (size_t i = 0; i < count; i++) {
    int code = bind_arg(stmt->handle, (int)i + 1, &args[i]);
    if (code != SQLITE_OK) {
      fail(db, code);
      storage_finish(stmt);
      return NULL;
    }
  }
  return stmt;
}

/* Takes the row's texts off what may still be read. */
static bool within_bytes(storage_stmt_t *stmt)
{
  storage_db_t *db = stmt->db;
  if (!db->bounded || db->bytes_left == SIZE_MAX)
    return true;
  for (int i = 0; i < sqlite3_data_count(stmt->handle); i++) {
    int type = sqlite3_column_type(stmt->handle, i);
    size_t len =
        type == SQLITE_TEXT || type == SQLITE_BLOB ? (size_t)sqlite3_column_bytes(stmt->handle, i) : 0;
    if (len > db->bytes_left)
      return false;
    db->bytes_left -= len;
  }
  return true;
}

int storage_step(storage_stmt_t *stmt)
{
  if (stmt == NULL)
    return SMPL_ESERVER;
  stmt->db->reading = sqlite3_stmt_readonly(stmt->handle) != 0;
  int code = is_late(stmt->db) ? SQLITE_INTERRUPT : sqlite3_step(stmt->handle);
  if (code == SQLITE_ROW && within_bytes(stmt))
    return 1;
  if (code == SQLITE_ROW)
    code = SQLITE_INTERRUPT;
  int err = code == SQLITE_DONE ? SMPL_OK : fail(stmt->db, code);
  storage_finish(stmt);
  return err;
}

void storage_finish(storage_stmt_t *stmt)
{
  if (stmt == NULL)
    return;
  sqlite3_reset(stmt->handle);
  sqlite3_clear_bindings(stmt->handle);
}

int storage_exec(storage_db_t *db, const char *sql, const storage_arg_t *args, size_t count, int64_t *changed)
{
  storage_stmt_t *stmt = storage_query(db, sql, args, count);
  int err = storage_step(stmt);
  if (err > 0) {
    storage_finish(stmt);
    err = SMPL_OK;
  }
  if (!err && changed != NULL)
    *changed = sqlite3_changes64(db->handle);
  return err;
}

int storage_number(storage_db_t *db, const char *sql, const storage_arg_t *args, size_t count, int64_t *out)
{
  storage_stmt_t *stmt = storage_query(db, sql, args, count);
  int row = storage_step(stmt);
  if (row != 1)
    return row == 0 ? SMPL_ENOENT : row;
  *out = storage_int(stmt, 0);
  storage_finish(stmt);
  return SMPL_OK;
}

int64_t storage_int(storage_stmt_t *stmt, int column)
{
  return sqlite3_column_int64(stmt->handle, column);
}

bool storage_is_null(storage_stmt_t *stmt, int column)
{
  return sqlite3_column_type(stmt->handle, column) == SQLITE_NULL;
}

const char *storage_text(storage_stmt_t *stmt, int column)
{
  return (const char *)sqlite3_column_text(stmt->handle, column);
}

const void *storage_blob(storage_stmt_t *stmt, int column, size_t *len)
{
  const void *data = sqlite3_column_blob(stmt->handle, column);
  *len = (size_t)sqlite3_column_bytes(stmt->handle, column);
  return data;
}
