/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/audit/audit_kept.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"

enum { LINE_CAP = 128 };

static const char file_name[] = "audit-head";
static const char new_name[] = "audit-head.new";

/* "SEQ HASH\n" */
static bool parse(const char *line, size_t len, audit_kept_t *out)
{
  const char *space = memchr(line, ' ', len);
  if (space == NULL || line[len - 1] != '\n' || (size_t)(line + len - space) != AUDIT_HASH_TEXT + 1 ||
      text_parse_u64(line, (size_t)(space - line), UINT64_MAX - 1, &out->seq))
    return false;
  memcpy(out->head, space + 1, AUDIT_HASH_TEXT - 1);
  out->head[AUDIT_HASH_TEXT - 1] = '\0';
  return strspn(out->head, "0123456789abcdef") == AUDIT_HASH_TEXT - 1;
}

static int open_folder(const char *state)
{
  return open(state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

void audit_kept_read(const char *state, audit_kept_t *out)
{
  char line[LINE_CAP];
  *out = (audit_kept_t){0};
  int folder = state != NULL ? open_folder(state) : -1;
  int fd = folder >= 0 ? openat(folder, file_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) : -1;
  bool none = folder < 0 || (fd < 0 && errno == ENOENT);
  ssize_t n = fd >= 0 ? read(fd, line, sizeof line) : -1;
  if (n <= 0 || !parse(line, (size_t)n, out)) {
    *out = (audit_kept_t){0};
    if (!none)
      log_warn("state: %s/%s cannot be read: whether records of the audit were lost meanwhile is not known",
               state, file_name);
  }
  if (fd >= 0)
    close(fd);
  if (folder >= 0)
    close(folder);
}

int audit_kept_write(const char *state, const audit_kept_t *kept, bool sync)
{
  char line[LINE_CAP];
  int len = snprintf(line, sizeof line, "%llu %s\n", (unsigned long long)kept->seq, kept->head);
  int folder = open_folder(state);
  int fd = folder >= 0 ? openat(folder, new_name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600)
                       : -1;
  bool fine = fd >= 0 && write(fd, line, (size_t)len) == len && (!sync || fsync(fd) == 0) &&
              renameat(folder, new_name, folder, file_name) == 0 && (!sync || fsync(folder) == 0);
  int saved = errno;
  if (fd >= 0)
    close(fd);
  if (folder >= 0)
    close(folder);
  errno = saved;
  return fine ? SMPL_OK : SMPL_ESYS;
}
