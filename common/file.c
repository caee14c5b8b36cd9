#include "common/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/error.h"

static int check_secret(const struct stat *st, const char *path, diag_t *diag)
{
  if (st->st_uid != 0 && st->st_uid != geteuid())
    return diag_fail(diag, SMPL_EDENIED, "%s: a secret file must belong to the user running this (uid %u), not to uid %u",
                     path, (unsigned)geteuid(), (unsigned)st->st_uid);
  if ((st->st_mode & 077) != 0)
    return diag_fail(diag, SMPL_EDENIED, "%s: a secret file must not be open to others (mode %03o); try: chmod 600 %s",
                     path, (unsigned)(st->st_mode & 0777), path);
  return SMPL_OK;
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

static int read_file(const char *path, size_t max, bool secret, char **data, size_t *len, diag_t *diag)
{
  *data = NULL;
  *len = 0;
  /* O_NONBLOCK: opening a FIFO by mistake must not hang. */
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0) {
    int missing = errno == ENOENT;
    int err = diag_fail_errno(diag, "%s: cannot be opened", path);
    return missing ? SMPL_ENOENT : err;
  }
  struct stat st;
  int err = SMPL_OK;
  if (fstat(fd, &st) < 0)
    err = diag_fail_errno(diag, "%s: cannot be examined", path);
  else if (!S_ISREG(st.st_mode))
    err = diag_fail(diag, SMPL_EINVAL, "%s: not a regular file", path);
  else if (secret)
    err = check_secret(&st, path, diag);
  if (!err && (uint64_t)st.st_size > max)
    err = diag_fail(diag, SMPL_ELIMIT, "%s: %lld bytes, more than the limit of %zu", path, (long long)st.st_size, max);
  if (!err)
    err = read_fd(fd, path, (size_t)st.st_size, data, len, diag);
  close(fd);
  return err;
}

int file_read(const char *path, size_t max, char **data, size_t *len, diag_t *diag)
{
  return read_file(path, max, false, data, len, diag);
}

int file_read_secret(const char *path, size_t max, char **data, size_t *len, diag_t *diag)
{
  return read_file(path, max, true, data, len, diag);
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
