/* SPDX-License-Identifier: Apache-2.0 */
#include "common/process/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/process/landlock.h"

static int check_secret(const struct stat *st, const char *path, diag_t *diag)
{
  if (st->st_uid != 0 && st->st_uid != geteuid())
    return diag_fail(diag, SMPL_EDENIED,
                     "%s: a secret file must belong to the user running this (uid %u), not to uid %u", path,
                     (unsigned)geteuid(), (unsigned)st->st_uid);
  if ((st->st_mode & 077) != 0)
    return diag_fail(diag, SMPL_EDENIED,
                     "%s: a secret file must not be open to others (mode %03o); try: chmod 600 %s", path,
                     (unsigned)(st->st_mode & 0777), path);
  return SMPL_OK;
}

static bool ours(const struct stat *st)
{
  return st->st_uid == 0 || st->st_uid == geteuid();
}

/* path is the file or folder, file what somebody could change by it. */
static int check_writers(const struct stat *st, const char *path, const char *file, diag_t *diag)
{
  bool folder = S_ISDIR(st->st_mode);
  if (!ours(st))
    return diag_fail(
        diag, SMPL_EDENIED,
        "%s: %s belongs to uid %u, neither to root nor to the user running this; try: chown %u %s", file,
        folder ? "its folder" : "it", (unsigned)st->st_uid, (unsigned)geteuid(), path);
  if ((st->st_mode & 022) == 0)
    return SMPL_OK;
  if (folder && (st->st_mode & S_ISVTX) != 0)
    return diag_fail(diag, SMPL_EDENIED,
                     "%s: everybody can write its folder (mode %04o); keep it in a folder of its own", file,
                     (unsigned)(st->st_mode & 07777));
  return diag_fail(diag, SMPL_EDENIED, "%s: others can write %s (mode %03o); try: chmod go-w %s", file,
                   folder ? "its folder" : "it", (unsigned)(st->st_mode & 0777), path);
}

/* folder is changed on the way. Its own rule is the strict one, those above only may not be open to
 * everybody. */
static int check_folders(char *folder, const char *file, diag_t *diag)
{
  struct stat st;
  if (stat(folder, &st) < 0)
    return diag_fail_errno(diag, "%s: its folder cannot be examined", file);
  int err = check_writers(&st, folder, file, diag);
  while (!err && strcmp(folder, "/") != 0) {
    char *slash = strrchr(folder, '/');
    slash[slash == folder ? 1 : 0] = '\0';
    if (stat(folder, &st) < 0)
      err = diag_fail_errno(diag, "%s: %s cannot be examined", file, folder);
    else if ((st.st_mode & S_IWOTH) != 0 && (st.st_mode & S_ISVTX) == 0)
      err =
          diag_fail(diag, SMPL_EDENIED, "%s: everybody can write %s above it (mode %03o); try: chmod o-w %s",
                    file, folder, (unsigned)(st.st_mode & 0777), folder);
  }
  return err;
}

/* The folder of path, symbolic links in it resolved. malloc'ed. */
static char *real_folder(const char *path)
{
  char *folder = strdup(path);
  char *slash = folder != NULL ? strrchr(folder, '/') : NULL;
  if (folder == NULL)
    return NULL;
  if (slash != NULL)
    slash[slash == folder ? 1 : 0] = '\0';
  char *real = realpath(slash != NULL ? folder : ".", NULL);
  free(folder);
  return real;
}

/* st is of the open descriptor. */
static int check_trusted(const struct stat *st, const char *path, diag_t *diag)
{
  struct stat there;
  char *target = realpath(path, NULL);
  char *named = real_folder(path);
  char *real = target != NULL ? real_folder(target) : NULL;
  int err = SMPL_OK;
  if (named == NULL || real == NULL || stat(target, &there) < 0)
    err = diag_fail_errno(diag, "%s: its folder cannot be examined", path);
  else if (there.st_dev != st->st_dev || there.st_ino != st->st_ino)
    err = diag_fail(diag, SMPL_EAGAIN, "%s: was replaced while it was read; try again", path);
  else
    err = check_writers(st, target, path, diag);
  if (!err)
    err = check_folders(named, path, diag);
  if (!err)
    err = check_folders(real, path, diag);
  free(target);
  free(named);
  free(real);
  return err;
}

static int read_fd(int fd, const char *path, size_t size, char **data, size_t *len, diag_t *diag)
{
  char *buf = malloc(size + 1);
  if (buf == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "%s: out of memory", path);
  size_t used = 0;
  while (used < size) {
    ssize_t n = read(fd, buf + used, size - used);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0) {
      int err = diag_fail_errno(diag, "%s: cannot be read", path);
      explicit_bzero(buf, size);
      free(buf);
      return err;
    }
    if (n == 0)
      break;
    used += (size_t)n;
  }
  buf[used] = '\0';
  *data = buf;
  *len = used;
  return SMPL_OK;
}

typedef int (*check_t)(const struct stat *st, const char *path, diag_t *diag);

static int read_file(const char *path, size_t max, check_t check, char **data, size_t *len, diag_t *diag)
{
  *data = NULL;
  *len = 0;
  /* O_NONBLOCK: opening a FIFO by mistake must not hang. */
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0) {
    int missing = errno == ENOENT;
    if (landlock_refused(path))
      return diag_fail(diag, SMPL_EDENIED,
                       "%s: lies outside the folders that were named at the start, which alone can be read "
                       "since then: that needs a restart",
                       path);
    int err = diag_fail_errno(diag, "%s: cannot be opened", path);
    return missing ? SMPL_ENOENT : err;
  }
  struct stat st;
  int err = SMPL_OK;
  if (fstat(fd, &st) < 0)
    err = diag_fail_errno(diag, "%s: cannot be examined", path);
  else if (!S_ISREG(st.st_mode))
    err = diag_fail(diag, SMPL_EINVAL, "%s: not a regular file", path);
  else if (check != NULL)
    err = check(&st, path, diag);
  if (!err && (uint64_t)st.st_size > max)
    err = diag_fail(diag, SMPL_ELIMIT, "%s: %lld bytes, more than the limit of %zu", path,
                    (long long)st.st_size, max);
  if (!err)
    err = read_fd(fd, path, (size_t)st.st_size, data, len, diag);
  close(fd);
  return err;
}

int file_read(const char *path, size_t max, char **data, size_t *len, diag_t *diag)
{
  return read_file(path, max, NULL, data, len, diag);
}

int file_read_trusted(const char *path, size_t max, char **data, size_t *len, diag_t *diag)
{
  return read_file(path, max, check_trusted, data, len, diag);
}

int file_check_folder(const char *path, diag_t *diag)
{
  struct stat st;
  char *real = realpath(path, NULL);
  if (real == NULL) {
    int missing = errno == ENOENT;
    int err = diag_fail_errno(diag, "%s", path);
    return missing ? SMPL_ENOENT : err;
  }
  int err = SMPL_OK;
  if (stat(real, &st) < 0)
    err = diag_fail_errno(diag, "%s", path);
  else if (!S_ISDIR(st.st_mode))
    err = diag_fail(diag, SMPL_EINVAL, "%s: is no folder", path);
  else
    err = check_folders(real, path, diag);
  free(real);
  return err;
}

int file_read_secret(const char *path, size_t max, char **data, size_t *len, diag_t *diag)
{
  return read_file(path, max, check_secret, data, len, diag);
}

char *file_beside(const char *base, const char *path)
{
  const char *slash = strrchr(base, '/');
  if (path[0] == '/' || slash == NULL)
    return strdup(path);
  size_t dir = (size_t)(slash - base) + 1;
  size_t len = strlen(path);
  char *joined = malloc(dir + len + 1);
  if (joined == NULL)
    return NULL;
  memcpy(joined, base, dir);
  memcpy(joined + dir, path, len + 1);
  return joined;
}
