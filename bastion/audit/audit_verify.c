/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/audit/audit_verify.h"

#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/base/text.h"

typedef struct pass {
  audit_verify_t *v;
  const char *path;
  bool first; /* no line of this file has been read */
  diag_t *diag;
} pass_t;

/* {"seq":N,"prev":"HASH",... as the writer composes each line. */
static int read_front(const char *line, size_t len, uint64_t *seq, const char **prev)
{
  static const char start[] = "{\"seq\":", middle[] = ",\"prev\":\"";
  const char *at = line + sizeof start - 1;
  if (len < sizeof start || memcmp(line, start, sizeof start - 1) != 0)
    return SMPL_EINVAL;
  size_t digits = strspn(at, "0123456789");
  if (text_parse_u64(at, digits, UINT64_MAX - 1, seq) || *seq == 0)
    return SMPL_EINVAL;
  at += digits;
  if (strncmp(at, middle, sizeof middle - 1) != 0)
    return SMPL_EINVAL;
  *prev = at + sizeof middle - 1;
  return strspn(*prev, "0123456789abcdef") == AUDIT_HASH_TEXT - 1 && (*prev)[AUDIT_HASH_TEXT - 1] == '"' &&
                 line[len - 1] == '}'
             ? SMPL_OK
             : SMPL_EINVAL;
}

static bool continues_another(const char *line, size_t len)
{
  static const char mark[] = "\"event\":\"" AUDIT_CONTINUED "\"";
  return memmem(line, len < 256 ? len : 256, mark, sizeof mark - 1) != NULL;
}

/* What the record must follow: the one before, or nothing known in the first line of a file that says it
 * continues. */
static int check_order(pass_t *p, const char *line, size_t len, uint64_t number, uint64_t seq,
                       const char *prev)
{
  audit_verify_t *v = p->v;
  unsigned long long n = (unsigned long long)number;
  if (v->last == 0 && seq != 1 && p->first && continues_another(line, len))
    return SMPL_OK;
  if (seq != v->last + 1)
    return diag_fail(p->diag, SMPL_EINVAL,
                     "%s:%llu: record %llu stands where %llu must: records are missing or out of order",
                     p->path, n, (unsigned long long)seq, (unsigned long long)v->last + 1);
  char none[AUDIT_HASH_TEXT];
  audit_hash("", 0, none);
  if (memcmp(prev, v->last > 0 ? v->head : none, AUDIT_HASH_TEXT - 1) != 0)
    return diag_fail(p->diag, SMPL_EINVAL,
                     "%s:%llu: the record before record %llu was changed: its hash is another", p->path, n,
                     (unsigned long long)seq);
  return SMPL_OK;
}

static int take_line(void *ctx, const char *line, size_t len, uint64_t number)
{
  pass_t *p = ctx;
  audit_verify_t *v = p->v;
  uint64_t seq;
  const char *prev;
  if (read_front(line, len, &seq, &prev))
    return diag_fail(p->diag, SMPL_EINVAL, "%s:%llu: no record of an audit", p->path,
                     (unsigned long long)number);
  int err = check_order(p, line, len, number, seq, prev);
  if (err)
    return err;
  p->first = false;
  if (v->first == 0)
    v->first = seq;
  v->last = seq;
  audit_hash(line, len, v->head);
  if (v->wanted != NULL && strcasecmp(v->wanted, v->head) == 0)
    v->wanted_seq = seq;
  return SMPL_OK;
}

int audit_verify_file(audit_verify_t *v, const char *path, diag_t *diag)
{
  pass_t p = {v, path, true, diag};
  uint64_t whole, size;
  int fd;
  int err = audit_file_open(path, &fd, diag);
  if (err)
    return err;
  err = audit_file_read(fd, take_line, &p, &whole, &size);
  close(fd);
  if (err && diag->text[0] == '\0')
    return diag_fail(diag, err, "%s: cannot be read to its end: %s", path, smpl_strerror(err));
  if (!err && size > whole)
    return diag_fail(diag, SMPL_EINVAL, "%s: the last record was only partly written (%llu bytes)", path,
                     (unsigned long long)(size - whole));
  return err;
}
