/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/audit/rotated.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/count.h"
#include "common/base/error.h"
#include "common/base/text.h"

enum { FRONT = 64 };

typedef struct found {
  char *path;
  uint64_t first; /* number of its first record; UINT64_MAX: it has none */
} found_t;

/* ".1", "-20261129", ".2026-11-29": what logrotate puts behind the name. */
static bool is_suffix(const char *text, size_t len)
{
  return len > 1 && (text[0] == '.' || text[0] == '-') && strspn(text + 1, "0123456789-._") >= len - 1;
}

static bool is_compressed(const char *text)
{
  static const char *const ends[] = {".gz", ".xz", ".zst", ".bz2"};
  size_t len = strlen(text);
  for (size_t i = 0; i < COUNT_OF(ends); i++) {
    size_t end = strlen(ends[i]);
    if (len > end && strcmp(text + len - end, ends[i]) == 0 && is_suffix(text, len - end))
      return true;
  }
  return false;
}

static uint64_t first_of(const char *path)
{
  static const char start[] = "{\"seq\":";
  char front[FRONT + 1] = "";
  uint64_t seq;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  ssize_t n = fd >= 0 ? pread(fd, front, FRONT, 0) : -1;
  if (fd >= 0)
    close(fd);
  const char *digits = front + sizeof start - 1;
  if (n < 0 || strncmp(front, start, sizeof start - 1) != 0 ||
      text_parse_u64(digits, strspn(digits, "0123456789"), UINT64_MAX - 1, &seq))
    return UINT64_MAX;
  return seq;
}

static int by_first(const void *left, const void *right)
{
  const found_t *a = left, *b = right;
  return a->first != b->first ? (a->first > b->first) - (a->first < b->first) : strcmp(a->path, b->path);
}

static int add(found_t *list, size_t *count, const char *folder, const char *name, diag_t *diag)
{
  char *path;
  if (*count == ROTATED_MAX)
    return diag_fail(diag, SMPL_ELIMIT, "%s: more than %d files of this audit", folder, ROTATED_MAX);
  if (asprintf(&path, "%s/%s", folder, name) < 0)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  list[(*count)++] = (found_t){path, first_of(path)};
  return SMPL_OK;
}

static int collect(const char *folder, const char *name, found_t *list, rotated_t *out, diag_t *diag)
{
  size_t len = strlen(name);
  int err = SMPL_OK;
  DIR *d = opendir(folder);
  if (d == NULL)
    return diag_fail_errno(diag, "%s", folder);
  for (const struct dirent *e; !err && (e = readdir(d)) != NULL;) {
    const char *rest = e->d_name + len;
    if (strncmp(e->d_name, name, len) != 0)
      continue;
    if (*rest == '\0' || is_suffix(rest, strlen(rest)))
      err = add(list, &out->count, folder, e->d_name, diag);
    else if (is_compressed(rest))
      out->compressed++;
  }
  closedir(d);
  return err;
}

int rotated_find(const char *audit, rotated_t *out, diag_t *diag)
{
  const char *slash = strrchr(audit, '/');
  char *folder = slash == NULL    ? strdup(".")
                 : slash == audit ? strdup("/")
                                  : strndup(audit, (size_t)(slash - audit));
  found_t *list = calloc(ROTATED_MAX, sizeof *list);
  *out = (rotated_t){0};
  int err = folder == NULL || list == NULL
                ? diag_fail(diag, SMPL_ENOMEM, "out of memory")
                : collect(folder, slash != NULL ? slash + 1 : audit, list, out, diag);
  size_t count = list != NULL ? out->count : 0;
  out->count = 0;
  if (!err && count == 0)
    err = diag_fail(diag, SMPL_ENOENT, "%s: there is no such file, and none that it was rotated into", audit);
  if (!err && (out->paths = calloc(count, sizeof *out->paths)) == NULL)
    err = diag_fail(diag, SMPL_ENOMEM, "out of memory");
  if (!err)
    qsort(list, count, sizeof *list, by_first);
  for (size_t i = 0; i < count; i++) {
    if (!err)
      out->paths[out->count++] = list[i].path;
    else
      free(list[i].path);
  }
  free(list);
  free(folder);
  return err;
}

void rotated_free(rotated_t *r)
{
  for (size_t i = 0; i < r->count; i++)
    free(r->paths[i]);
  free(r->paths);
  *r = (rotated_t){0};
}
