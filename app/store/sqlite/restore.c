/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/sqlite/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "app/store/sqlite/data_lock.h"
#include "app/store/sqlite/identity_store.h"
#include "app/store/sqlite/storage_db.h"
#include "common/base/clock.h"
#include "common/base/error.h"

enum {
  COPY_BYTES = 1 << 20,
  ASIDE_TRIES = 100, /* names for the old database within one second */
};

static bool stopped(const restore_t *r)
{
  return r->stop != NULL && r->stop(r->stop_ctx);
}

/* ---- 0: the backup, byte for byte, with a journal that may lie beside it ---- */

static int pump(const restore_t *r, int from, int to, const char *name, diag_t *diag)
{
  char *buf = malloc(COPY_BYTES);
  int err = buf != NULL ? SMPL_OK : diag_fail(diag, SMPL_ENOMEM, "out of memory");
  ssize_t got = 1;
  while (!err && got > 0) {
    got = read(from, buf, COPY_BYTES);
    if (got < 0)
      err = diag_fail_errno(diag, "%s", r->backup);
    for (ssize_t done = 0; !err && done < got;) {
      ssize_t n = write(to, buf + done, (size_t)(got - done));
      if (n < 0)
        err = diag_fail_errno(diag, "%s", name);
      done += n > 0 ? n : 0;
    }
    if (!err && stopped(r))
      err = diag_fail(diag, SMPL_ECLOSED, "%s: given up; the database is as it was", r->backup);
  }
  free(buf);
  return err;
}

static int copy_file(const restore_t *r, const char *tail, bool required, diag_t *diag)
{
  char from[PATH_MAX], to[PATH_MAX];
  struct stat st;
  int err = data_file_beside(r->backup, tail, from, sizeof from, diag);
  if (!err)
    err = data_file_beside(r->fresh, tail, to, sizeof to, diag);
  if (err)
    return err;
  int in = open(from, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (in < 0)
    return errno == ENOENT && !required ? SMPL_OK : diag_fail_errno(diag, "%s", from);
  int out = -1;
  if (fstat(in, &st) != 0 || !S_ISREG(st.st_mode))
    err = diag_fail(diag, SMPL_EINVAL, "%s: not a regular file", from);
  else if ((out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600)) < 0 ||
           fchmod(out, 0600) != 0) /* whatever the umask */
    err = diag_fail_errno(diag, "%s", to);
  else
    err = pump(r, in, out, to, diag);
  close(in);
  if (out >= 0 && close(out) != 0 && !err)
    err = diag_fail_errno(diag, "%s", to);
  return err;
}

static int copy_backup(restore_t *r, diag_t *diag)
{
  struct stat backup, database;
  if (stat(r->backup, &backup) == 0 && stat(r->database, &database) == 0 &&
      backup.st_dev == database.st_dev && backup.st_ino == database.st_ino)
    return diag_fail(diag, SMPL_EINVAL, "%s: that is the database itself", r->backup);
  data_file_remove(r->fresh); /* of a restore that was killed */
  int err = copy_file(r, "", true, diag);
  return err ? err : copy_file(r, "-wal", false, diag);
}

/* ---- 1: judged, and made another database than before ---- */

static int change(const restore_t *r, storage_db_t *db, diag_t *diag)
{
  int err = storage_db_command(db, "BEGIN IMMEDIATE");
  if (!err)
    err = identity_renew(db);
  if (!err && r->hook != NULL)
    err = r->hook(db, r->hook_ctx, diag);
  if (!err)
    err = storage_db_command(db, "COMMIT");
  return err ? diag_fail(diag, err, "%s: cannot be made ready: %s", r->fresh, smpl_strerror(err)) : SMPL_OK;
}

static int make_ready(restore_t *r, diag_t *diag)
{
  storage_db_t *db = NULL;
  int err = data_file_check(r->fresh, r->backup, r->schema, r->stop, r->stop_ctx, &r->info, diag);
  if (!err)
    err = storage_db_open(r->fresh, STORAGE_WRITES, &db, diag);
  if (!err)
    err = storage_db_prepare(db, r->fresh, r->schema, diag);
  if (!err)
    err = change(r, db, diag);
  storage_db_close(db);
  return err ? err : data_file_settle(r->fresh, diag);
}

/* root restores for whoever owns what was there, or the folder. */
static int give_away(const restore_t *r, diag_t *diag)
{
  char folder[PATH_MAX];
  struct stat st;
  const char *slash = strrchr(r->database, '/');
  int len = slash == NULL || slash == r->database ? 1 : (int)(slash - r->database);
  snprintf(folder, sizeof folder, "%.*s", len, slash == NULL ? "." : r->database);
  if (geteuid() != 0 || (lstat(r->database, &st) != 0 && stat(folder, &st) != 0))
    return SMPL_OK;
  return chown(r->fresh, st.st_uid, st.st_gid) == 0 ? SMPL_OK : diag_fail_errno(diag, "%s", r->fresh);
}

/* ---- 2: the old one gets another name besides, and so does its journal, which SQLite may remove from what
 * it cannot read ---- */

static int keep_journal(const restore_t *r, diag_t *diag)
{
  char from[PATH_MAX], to[PATH_MAX + 64];
  int err = data_file_beside(r->database, "-wal", from, sizeof from, diag);
  if (!err)
    err = data_file_beside(r->aside, "-wal", to, sizeof to, diag);
  if (!err && link(from, to) != 0 && errno != ENOENT)
    err = diag_fail_errno(diag, "%s", to);
  return err;
}

static int keep_old(restore_t *r, diag_t *diag)
{
  char when[32];
  struct stat st;
  struct tm tm;
  time_t now = (time_t)(clock_wall_ms() / 1000);
  if (lstat(r->database, &st) != 0)
    return errno == ENOENT ? SMPL_OK : diag_fail_errno(diag, "%s", r->database);
  if (!S_ISREG(st.st_mode))
    return diag_fail(diag, SMPL_EINVAL, "%s: not a regular file", r->database);
  strftime(when, sizeof when, "%Y%m%dT%H%M%SZ", gmtime_r(&now, &tm));
  int linked = -1;
  for (int i = 0; linked != 0 && i < ASIDE_TRIES; i++) {
    if (i == 0)
      snprintf(r->aside, sizeof r->aside, "%s.before-%s", r->database, when);
    else
      snprintf(r->aside, sizeof r->aside, "%s.before-%s-%d", r->database, when, i);
    linked = link(r->database, r->aside);
    if (linked != 0 && errno != EEXIST)
      break;
  }
  if (linked != 0) {
    int err = diag_fail_errno(diag, "%s: the old database cannot be kept", r->aside);
    r->aside[0] = '\0';
    return err;
  }
  return keep_journal(r, diag);
}

/* ---- 3: the old one becomes one file; where that cannot be, it is broken ---- */

static void drop_journal(const restore_t *r)
{
  char path[PATH_MAX + 64];
  if (data_file_beside(r->aside, "-wal", path, sizeof path, NULL) == SMPL_OK)
    unlink(path);
}

static int settle_old(restore_t *r, diag_t *diag)
{
  diag_t why = {.text = ""};
  int err = give_away(r, diag);
  if (err || r->aside[0] == '\0')
    return err;
  err = data_file_settle(r->database, &why);
  if (err && err != SMPL_EINVAL)
    return diag_fail(diag, err, "%s", why.text);
  r->broken = err == SMPL_EINVAL;
  if (!r->broken)
    drop_journal(r);
  return data_file_sync_folder(r->database, diag);
}

/* ---- 4: no journal of the old one may be taken for the new one's ---- */

static int remove_journals(restore_t *r, diag_t *diag)
{
  static const char *const tails[] = {"-wal", "-shm", "-journal"};
  char path[PATH_MAX];
  for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
    int err = data_file_beside(r->database, tails[i], path, sizeof path, diag);
    if (!err && unlink(path) != 0 && errno != ENOENT)
      err = diag_fail_errno(diag, "%s", path);
    if (err)
      return err;
  }
  return data_file_sync_folder(r->database, diag);
}

/* ---- 5 ---- */

static int exchange(restore_t *r, diag_t *diag)
{
  if (rename(r->fresh, r->database) != 0)
    return diag_fail_errno(diag, "%s", r->database);
  return data_file_sync_folder(r->database, diag);
}

int restore_begin(restore_t *r, diag_t *diag)
{
  r->lock = -1;
  r->aside[0] = '\0';
  r->broken = false;
  int err = data_file_beside(r->database, ".restoring", r->fresh, sizeof r->fresh, diag);
  return err ? err : data_lock_alone(r->database, &r->lock, diag);
}

int restore_step(restore_t *r, int step, diag_t *diag)
{
  static int (*const steps[RESTORE_STEPS])(restore_t *, diag_t *) = {copy_backup, make_ready,      keep_old,
                                                                     settle_old,  remove_journals, exchange};
  return steps[step](r, diag);
}

void restore_end(restore_t *r)
{
  if (r->lock >= 0)
    close(r->lock);
  r->lock = -1;
}

/* The database kept its own name. Of a broken one the journal may be gone there: both stay here. */
static void forget_aside(const restore_t *r)
{
  if (r->aside[0] == '\0' || r->broken)
    return;
  drop_journal(r);
  unlink(r->aside);
}

int restore_run(restore_t *r, diag_t *diag)
{
  int err = restore_begin(r, diag);
  if (err)
    return err;
  for (int step = 0; !err && step < RESTORE_STEPS; step++)
    err = restore_step(r, step, diag);
  if (err) {
    data_file_remove(r->fresh);
    forget_aside(r);
  }
  restore_end(r);
  return err;
}
