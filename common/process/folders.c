/* SPDX-License-Identifier: Apache-2.0 */
#include "common/process/folders.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/count.h"
#include "common/base/error.h"

static bool is_given(const struct stat *st)
{
  bool file = (S_ISREG(st->st_mode) || S_ISSOCK(st->st_mode)) && st->st_nlink == 1;
  return st->st_uid == 0 && file;
}

static void give_file(int folder, const char *name, uid_t uid, gid_t gid)
{
  struct stat st;
  int fd = openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0)
    return;
  if (fstat(fd, &st) == 0 && is_given(&st) && fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0)
    errno = 0; /* whoever needs it will say so */
  close(fd);
}

static int give_folder(const char *path, uid_t uid, gid_t gid, diag_t *diag)
{
  struct stat st;
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
  if (d == NULL || fstat(fd, &st) < 0) {
    int err = diag_fail_errno(diag, "%s", path);
    if (d != NULL)
      closedir(d);
    else if (fd >= 0)
      close(fd);
    return err;
  }
  size_t count = 0;
  for (const struct dirent *e; count < FOLDERS_FILES_MAX && (e = readdir(d)) != NULL; count++)
    give_file(fd, e->d_name, uid, gid);
  int err = st.st_uid == 0 && fchown(fd, uid, gid) < 0
                ? diag_fail_errno(diag, "%s: cannot be given to the account", path)
                : SMPL_OK;
  closedir(d);
  return err;
}

int folders_give(uid_t uid, gid_t gid, diag_t *diag)
{
  static const char *const variables[] = {"RUNTIME_DIRECTORY", "STATE_DIRECTORY", "LOGS_DIRECTORY"};
  int err = SMPL_OK;
  for (size_t i = 0; !err && i < COUNT_OF(variables); i++) {
    const char *value = getenv(variables[i]);
    char *all = value != NULL ? strdup(value) : NULL, *rest = all;
    for (char *path; !err && rest != NULL && (path = strsep(&rest, ":")) != NULL;)
      if (path[0] == '/')
        err = give_folder(path, uid, gid, diag);
    free(all);
  }
  return err;
}
