/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/sqlite/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/store/sqlite/storage_db.h"
#include "common/base/error.h"

enum { BUSY_MS = 5000 };

static bool same_file(const char *a, const char *b)
{
  struct stat one, other;
  return stat(a, &one) == 0 && stat(b, &other) == 0 && one.st_dev == other.st_dev &&
         one.st_ino == other.st_ino;
}

/* Only an earlier copy may be replaced: no database in its place, which has a lock beside it, and nothing
 * else of the operator's. The service's mark is in the file's header (sqlite.org/fileformat.html, 1.3.16). */
static int check_replaced(const char *out, const storage_schema_t *schema, diag_t *diag)
{
  enum { MARK_AT = 68, HEADER = 72 };
  static const char magic[16] = "SQLite format 3";
  unsigned char head[HEADER] = {0};
  char lock[PATH_MAX];
  struct stat st;
  int err = data_file_beside(out, ".lock", lock, sizeof lock, diag);
  if (err)
    return err;
  int fd = open(out, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0)
    return diag_fail_errno(diag, "%s", out);
  ssize_t n = pread(fd, head, sizeof head, 0);
  close(fd);
  uint32_t mark = (uint32_t)head[MARK_AT] << 24 | (uint32_t)head[MARK_AT + 1] << 16 |
                  (uint32_t)head[MARK_AT + 2] << 8 | head[MARK_AT + 3];
  if (n != HEADER || memcmp(head, magic, sizeof magic) != 0 ||
      mark != (uint32_t)storage_db_owner_id(schema->owner))
    return diag_fail(diag, SMPL_EINVAL, "%s: not a backup of the %s service: --force replaces nothing else",
                     out, schema->owner);
  if (lstat(lock, &st) == 0)
    return diag_fail(diag, SMPL_EINVAL, "%s: a service's database, not a backup", out);
  return SMPL_OK;
}

/* Judged before anything is written, and once more, by the kernel, when the copy gets its name. */
static int check_names(const char *database, const storage_schema_t *schema, const char *out, bool force,
                       diag_t *diag)
{
  static const char *const tails[] = {"", "-wal", "-shm", ".lock"};
  char own[PATH_MAX];
  struct stat st;
  if (stat(database, &st) != 0)
    return diag_fail_errno(diag, "%s: there is no database", database);
  for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
    int err = data_file_beside(database, tails[i], own, sizeof own, diag);
    if (err)
      return err;
    if (same_file(own, out))
      return diag_fail(diag, SMPL_EINVAL, "%s: that is the database itself", out);
  }
  if (lstat(out, &st) != 0)
    return SMPL_OK;
  if (!S_ISREG(st.st_mode))
    return diag_fail(diag, SMPL_EINVAL, "%s: not a regular file", out);
  return force ? check_replaced(out, schema, diag)
               : diag_fail(diag, SMPL_EEXIST, "%s: there already; --force replaces it", out);
}

/* One that was left behind by a kill is used again; *lock keeps others from it. */
static int make_partial(const char *path, int *lock, diag_t *diag)
{
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
  struct stat st;
  if (fd < 0)
    return diag_fail_errno(diag, "%s", path);
  int err = flock(fd, LOCK_EX | LOCK_NB) != 0
                ? diag_fail(diag, SMPL_EBUSY, "%s: another backup is writing it", path)
            : fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)
                ? diag_fail(diag, SMPL_EINVAL, "%s: not a regular file", path)
            : fchmod(fd, 0600) != 0 || ftruncate(fd, 0) != 0 ? diag_fail_errno(diag, "%s", path)
                                                             : SMPL_OK;
  if (err)
    close(fd);
  else
    *lock = fd;
  return err;
}

static int fail(sqlite3 *db, int code, const char *path, diag_t *diag)
{
  int primary = code & 0xff;
  if (primary == SQLITE_FULL ||
      (primary == SQLITE_IOERR && (errno == EFBIG || errno == ENOSPC || errno == EDQUOT)))
    return diag_fail(diag, SMPL_EFULL, "%s: no room left for the copy", path);
  return diag_fail(diag, SMPL_ESYS, "%s: %s", path, sqlite3_errmsg(db));
}

static int copy_pages(sqlite3 *from, sqlite3 *to, const char *path, data_stop stop, void *stop_ctx,
                      diag_t *diag)
{
  int code = SQLITE_OK, err = SMPL_OK;
  sqlite3_backup *copy = sqlite3_backup_init(to, "main", from, "main");
  if (copy == NULL)
    return diag_fail(diag, SMPL_ESYS, "%s: %s", path, sqlite3_errmsg(to));
  while (!err && (code == SQLITE_OK || code == SQLITE_BUSY || code == SQLITE_LOCKED)) {
    if (stop != NULL && stop(stop_ctx))
      err = diag_fail(diag, SMPL_ECLOSED, "%s: given up", path);
    else if ((code = sqlite3_backup_step(copy, BACKUP_PAGES)) == SQLITE_BUSY || code == SQLITE_LOCKED)
      sqlite3_sleep(20);
  }
  int saved = errno, finished = sqlite3_backup_finish(copy);
  errno = saved;
  return err || finished == SQLITE_OK ? err : fail(to, finished, path, diag);
}

/* The read transaction is begun before the copy: it stays the same state, whatever is committed meanwhile. */
static int copy(const char *database, const char *partial, data_stop stop, void *stop_ctx, diag_t *diag)
{
  sqlite3 *from = NULL, *to = NULL;
  int code = sqlite3_open_v2(database, &from, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
  if (code == SQLITE_OK) {
    sqlite3_busy_timeout(from, BUSY_MS);
    code = sqlite3_exec(from, "PRAGMA query_only=ON; BEGIN; SELECT count(*) FROM sqlite_schema", NULL, NULL,
                        NULL);
  }
  int err =
      code == SQLITE_OK ? SMPL_OK : diag_fail(diag, SMPL_EINVAL, "%s: %s", database, sqlite3_errmsg(from));
  if (!err &&
      (code = sqlite3_open_v2(partial, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL)) != SQLITE_OK)
    err = fail(to, code, partial, diag);
  if (!err)
    err = copy_pages(from, to, partial, stop, stop_ctx, diag);
  sqlite3_close(to);
  sqlite3_close(from);
  return err;
}

/* Without force nothing is replaced, not even what came there a moment ago. Some file systems can do that
 * only in two steps. */
static int give_name(const char *partial, const char *out, bool force, diag_t *diag)
{
  int failed = renameat2(AT_FDCWD, partial, AT_FDCWD, out, force ? 0 : RENAME_NOREPLACE);
  if (failed != 0 && errno == EINVAL && !force && (failed = link(partial, out)) == 0)
    unlink(partial);
  if (failed != 0)
    return errno == EEXIST ? diag_fail(diag, SMPL_EEXIST, "%s: there already; --force replaces it", out)
                           : diag_fail_errno(diag, "%s", out);
  return data_file_sync_folder(out, diag);
}

int backup_make(const char *database, const storage_schema_t *schema, const char *out, bool force,
                data_stop stop, void *stop_ctx, data_info_t *info, diag_t *diag)
{
  char partial[PATH_MAX];
  int lock = -1;
  int err = check_names(database, schema, out, force, diag);
  if (!err)
    err = data_file_beside(out, ".partial", partial, sizeof partial, diag);
  if (!err)
    err = make_partial(partial, &lock, diag);
  if (err)
    return err;
  err = copy(database, partial, stop, stop_ctx, diag);
  if (!err)
    err = data_file_settle(partial, diag);
  if (!err)
    err = data_file_check(partial, database, schema, stop, stop_ctx, info, diag);
  if (!err)
    err = give_name(partial, out, force, diag);
  if (err)
    data_file_remove(partial);
  close(lock);
  return err;
}
