/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/sqlite/data_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/error.h"

static int beside(const char *database, const char *tail, char path[PATH_MAX], diag_t *diag)
{
  int n = snprintf(path, PATH_MAX, "%s%s", database, tail);
  return n > 0 && n < PATH_MAX ? SMPL_OK
                               : diag_fail(diag, SMPL_ELIMIT, "%.64s...: too long a path", database);
}

/* root makes it for whoever owns the database, or its folder while there is none. */
static void give_away(const char *database, int fd)
{
  char folder[PATH_MAX];
  struct stat st;
  const char *slash = strrchr(database, '/');
  int len = slash == NULL ? 1 : slash == database ? 1 : (int)(slash - database);
  snprintf(folder, sizeof folder, "%.*s", len, slash == NULL ? "." : database);
  if (geteuid() == 0 && (stat(database, &st) == 0 || stat(folder, &st) == 0) &&
      fchown(fd, st.st_uid, st.st_gid) != 0)
    return; /* the service says so when it cannot open it */
}

static int take(const char *database, int how, int *fd, diag_t *diag)
{
  char path[PATH_MAX];
  *fd = -1;
  int err = beside(database, ".lock", path, diag);
  if (err)
    return err;
  int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
  if (file < 0)
    return diag_fail_errno(diag, "%s", path);
  give_away(database, file);
  if (flock(file, how | LOCK_NB) == 0) {
    *fd = file;
    return SMPL_OK;
  }
  err = errno;
  close(file);
  errno = err;
  return err == EWOULDBLOCK ? SMPL_EBUSY : diag_fail_errno(diag, "%s", path);
}

int data_lock_use(const char *database, int *fd, diag_t *diag)
{
  int err = take(database, LOCK_SH, fd, diag);
  return err == SMPL_EBUSY
             ? diag_fail(diag, err, "%s: it is being restored; start again when that is over", database)
             : err;
}

int data_lock_alone(const char *database, int *fd, diag_t *diag)
{
  int err = take(database, LOCK_EX, fd, diag);
  return err == SMPL_EBUSY
             ? diag_fail(diag, err,
                         "%s: the service is running, or another restore: stop every instance of it first",
                         database)
             : err;
}
