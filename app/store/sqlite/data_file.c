/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/sqlite/data_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/store/sqlite/storage_db.h"
#include "common/base/error.h"

enum { CHECK_STEPS = 100000 }; /* of SQLite's machine between two looks whether to go on */

/* Whose files there are besides. */
static const char *const owners[] = {"accounts", "config", "flags", NULL};

typedef struct look {
  data_stop stop;
  void *ctx;
  bool stopped;
} look_t;

static int on_steps(void *ctx)
{
  look_t *look = ctx;
  look->stopped = look->stop != NULL && look->stop(look->ctx);
  return look->stopped;
}

/* One column of one row. */
static int ask(sqlite3 *db, const char *sql, int64_t *number, char *text, size_t cap)
{
  sqlite3_stmt *stmt = NULL;
  int code = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
  if (code == SQLITE_OK)
    code = sqlite3_step(stmt);
  if (code == SQLITE_ROW && number != NULL)
    *number = sqlite3_column_int64(stmt, 0);
  if (code == SQLITE_ROW && text != NULL) {
    const unsigned char *found = sqlite3_column_text(stmt, 0);
    snprintf(text, cap, "%s", found != NULL ? (const char *)found : "");
    for (char *end; (end = strchr(text, '\n')) != NULL;)
      *end = ' '; /* one line */
  }
  sqlite3_finalize(stmt);
  return code == SQLITE_ROW ? SMPL_OK : SMPL_EINVAL;
}

static int check_owner(sqlite3 *db, const char *shown, const storage_schema_t *schema, data_info_t *out,
                       diag_t *diag)
{
  int64_t owner = 0, tables = 0, newest = 0;
  while (schema->migrations[newest] != NULL)
    newest++;
  if (ask(db, "SELECT count(*) FROM sqlite_schema", &tables, NULL, 0) ||
      ask(db, "PRAGMA application_id", &owner, NULL, 0) ||
      ask(db, "PRAGMA user_version", &out->version, NULL, 0))
    return diag_fail(diag, SMPL_EINVAL, "%s: %s", shown, sqlite3_errmsg(db));
  if (owner == storage_db_owner_id(schema->owner) && out->version > newest)
    return diag_fail(diag, SMPL_EINVAL,
                     "%s: written by a newer smpl-app (schema %lld, this one knows %lld): use that one",
                     shown, (long long)out->version, (long long)newest);
  if (owner == storage_db_owner_id(schema->owner) && out->version > 0)
    return SMPL_OK;
  for (size_t i = 0; owners[i] != NULL; i++)
    if (owner == storage_db_owner_id(owners[i]))
      return diag_fail(diag, SMPL_EINVAL, "%s: a database of the %s service, not of the %s service", shown,
                       owners[i], schema->owner);
  return diag_fail(diag, SMPL_EINVAL, "%s: %s", shown,
                   tables == 0 ? "an empty database: it never was a service's"
                               : "a database, but not of smpl-app");
}

static int check_pages(sqlite3 *db, const char *shown, const look_t *look, diag_t *diag)
{
  char found[256] = "";
  if (ask(db, "PRAGMA integrity_check(1)", NULL, found, sizeof found) == SMPL_OK && strcmp(found, "ok") == 0)
    return SMPL_OK;
  if (look->stopped)
    return diag_fail(diag, SMPL_ECLOSED, "%s: given up", shown);
  return diag_fail(diag, SMPL_EINVAL, "%s: corrupt: %s", shown,
                   found[0] != '\0' ? found : sqlite3_errmsg(db));
}

static int read_identity(sqlite3 *db, const char *shown, data_info_t *out, diag_t *diag)
{
  int64_t there = 0;
  identity_t *id = &out->identity;
  *id = (identity_t){.database = ""};
  if (ask(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'database_identity'", &there, NULL, 0) ==
          SMPL_OK &&
      there == 0)
    return SMPL_OK;
  if (ask(db, "SELECT id FROM database_identity", NULL, id->database, sizeof id->database) ||
      ask(db, "SELECT epoch FROM database_identity", NULL, id->epoch, sizeof id->epoch) ||
      ask(db, "SELECT heard FROM database_identity", &id->heard, NULL, 0) || !uuid_valid(id->database) ||
      !uuid_valid(id->epoch))
    return diag_fail(diag, SMPL_EINVAL, "%s: its identity cannot be read", shown);
  return SMPL_OK;
}

static int open_file(const char *path, const char *shown, sqlite3 **db, diag_t *diag)
{
  if (sqlite3_open_v2(path, db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
    return diag_fail(diag, SMPL_ESYS, "%s: %s", shown, *db != NULL ? sqlite3_errmsg(*db) : "out of memory");
  sqlite3_db_config(*db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
  sqlite3_db_config(*db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
  return SMPL_OK;
}

int data_file_check(const char *path, const char *shown, const storage_schema_t *schema, data_stop stop,
                    void *stop_ctx, data_info_t *out, diag_t *diag)
{
  sqlite3 *db = NULL;
  look_t look = {stop, stop_ctx, false};
  struct stat st;
  int err = open_file(path, shown, &db, diag);
  if (!err)
    err = check_owner(db, shown, schema, out, diag);
  if (!err) {
    sqlite3_progress_handler(db, CHECK_STEPS, on_steps, &look);
    err = check_pages(db, shown, &look, diag);
  }
  if (!err)
    err = read_identity(db, shown, out, diag);
  sqlite3_close(db);
  if (!err && stat(path, &st) != 0)
    return diag_fail_errno(diag, "%s", path);
  out->bytes = err ? 0 : (int64_t)st.st_size;
  return err;
}

static int settle_error(sqlite3 *db, const char *path, diag_t *diag)
{
  switch (sqlite3_errcode(db)) {
  case SQLITE_BUSY:
  case SQLITE_LOCKED:
    return diag_fail(diag, SMPL_EBUSY, "%s: another process has it open", path);
  case SQLITE_FULL:
    return diag_fail(diag, SMPL_EFULL, "%s: no room left on the disk", path);
  case SQLITE_NOTADB:
  case SQLITE_CORRUPT:
    return diag_fail(diag, SMPL_EINVAL, "%s: %s", path, sqlite3_errmsg(db));
  default:
    return diag_fail(diag, SMPL_ESYS, "%s: its journal cannot be brought in: %s", path, sqlite3_errmsg(db));
  }
}

int data_file_settle(const char *path, diag_t *diag)
{
  sqlite3 *db = NULL;
  char mode[32] = "";
  int err = open_file(path, path, &db, diag);
  if (!err && (ask(db, "PRAGMA journal_mode=DELETE", NULL, mode, sizeof mode) || strcmp(mode, "delete") != 0))
    err = settle_error(db, path, diag);
  if (sqlite3_close(db) != SQLITE_OK && !err)
    err = diag_fail(diag, SMPL_ESYS, "%s: cannot be closed", path);
  return err ? err : data_file_sync(path, diag);
}

int data_file_beside(const char *path, const char *tail, char out[], size_t cap, diag_t *diag)
{
  int n = snprintf(out, cap, "%s%s", path, tail);
  return n > 0 && (size_t)n < cap ? SMPL_OK : diag_fail(diag, SMPL_ELIMIT, "%.64s...: too long a path", path);
}

void data_file_remove(const char *path)
{
  static const char *const tails[] = {"", "-wal", "-shm", "-journal"};
  char one[PATH_MAX];
  for (size_t i = 0; i < sizeof tails / sizeof *tails; i++)
    if (data_file_beside(path, tails[i], one, sizeof one, NULL) == SMPL_OK)
      unlink(one);
}

static int sync_path(const char *path, int flags, diag_t *diag)
{
  int fd = open(path, flags | O_CLOEXEC);
  if (fd < 0 || fsync(fd) != 0) {
    int err = diag_fail_errno(diag, "%s: cannot be synced", path);
    if (fd >= 0)
      close(fd);
    return err;
  }
  close(fd);
  return SMPL_OK;
}

int data_file_sync(const char *path, diag_t *diag)
{
  return sync_path(path, O_RDONLY, diag);
}

int data_file_sync_folder(const char *path, diag_t *diag)
{
  char folder[PATH_MAX];
  const char *slash = strrchr(path, '/');
  int len = slash == NULL || slash == path ? 1 : (int)(slash - path);
  snprintf(folder, sizeof folder, "%.*s", len, slash == NULL ? "." : path);
  return sync_path(folder, O_RDONLY | O_DIRECTORY, diag);
}
