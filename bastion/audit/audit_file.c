/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/audit/audit_file.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/base/text.h"

void audit_hash(const char *line, size_t len, char *out)
{
  uint8_t digest[SHA256_DIGEST_LENGTH];
  SHA256((const unsigned char *)line, len, digest);
  text_hex(out, digest, sizeof digest);
}

typedef struct reader {
  char *buf; /* AUDIT_LINE_MAX + 1 bytes */
  size_t used;
  uint64_t number;
  uint64_t whole;
} reader_t;

/* Hands out the whole lines in buf and moves the rest to its front. */
static int hand_out(reader_t *r, audit_line_cb cb, void *ctx)
{
  size_t at = 0;
  int err = SMPL_OK;
  while (!err) {
    char *nl = memchr(r->buf + at, '\n', r->used - at);
    if (nl == NULL)
      break;
    size_t len = (size_t)(nl - r->buf) - at;
    *nl = '\0';
    err = cb(ctx, r->buf + at, len, ++r->number);
    r->whole += len + 1;
    at += len + 1;
  }
  memmove(r->buf, r->buf + at, r->used - at);
  r->used -= at;
  if (!err && r->used == AUDIT_LINE_MAX)
    err = SMPL_ELIMIT;
  return err;
}

int audit_file_open(const char *path, int *fd, diag_t *diag)
{
  struct stat st;
  *fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (*fd < 0)
    return diag_fail_errno(diag, "%s: cannot be opened", path);
  if (fstat(*fd, &st) == 0 && S_ISREG(st.st_mode))
    return SMPL_OK;
  close(*fd);
  *fd = -1;
  return diag_fail(diag, SMPL_EINVAL, "%s: not a regular file", path);
}

int audit_file_read(int fd, audit_line_cb cb, void *ctx, uint64_t *whole, uint64_t *size)
{
  reader_t r = {.buf = malloc(AUDIT_LINE_MAX + 1)};
  if (r.buf == NULL)
    return SMPL_ENOMEM;
  int err = SMPL_OK;
  uint64_t offset = 0;
  while (!err) {
    ssize_t n = pread(fd, r.buf + r.used, AUDIT_LINE_MAX - r.used, (off_t)offset);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      err = SMPL_ESYS;
    if (n <= 0)
      break;
    offset += (uint64_t)n;
    r.used += (size_t)n;
    err = hand_out(&r, cb, ctx);
  }
  *whole = r.whole;
  *size = offset;
  free(r.buf);
  return err;
}

/* ---- the tail ---- */

typedef struct scan {
  audit_tail_t *tail;
  size_t open_cap;
  const char *path;
  uint64_t kept_seq;
  const char *kept_head;
  diag_t *diag;
} scan_t;

static int add_open(scan_t *s, const char *id)
{
  audit_tail_t *t = s->tail;
  if (t->open_count == s->open_cap) {
    size_t cap = s->open_cap != 0 ? s->open_cap * 2 : 64;
    char **grown = reallocarray(t->open, cap, sizeof *grown);
    if (grown == NULL)
      return SMPL_ENOMEM;
    t->open = grown;
    s->open_cap = cap;
  }
  t->open[t->open_count] = strdup(id);
  return t->open[t->open_count] == NULL ? SMPL_ENOMEM : (t->open_count++, SMPL_OK);
}

static void remove_open(audit_tail_t *t, const char *id)
{
  for (size_t i = t->open_count; i-- > 0;) {
    if (strcmp(t->open[i], id) != 0)
      continue;
    free(t->open[i]);
    t->open[i] = t->open[--t->open_count];
    return;
  }
}

static int take_event(scan_t *s, const json_t *record)
{
  const char *event = json_string_value(json_object_get(record, "event"));
  const char *session = json_string_value(json_object_get(record, "session"));
  if (event == NULL || session == NULL)
    return SMPL_OK;
  if (strcmp(event, "session-start") == 0 || strcmp(event, AUDIT_SESSION_CONTINUED) == 0)
    return add_open(s, session);
  if (strcmp(event, "session-end") == 0)
    remove_open(s->tail, session);
  return SMPL_OK;
}

/* Most lines neither start nor end a session: what stands first in each record is enough for those. */
static bool concerns_sessions(const char *line, size_t len)
{
  static const char mark[] = "\"event\":\"session-";
  size_t head = len < 256 ? len : 256;
  return memmem(line, head, mark, sizeof mark - 1) != NULL;
}

static bool continues_another(const char *line, size_t len)
{
  static const char mark[] = "\"event\":\"" AUDIT_CONTINUED "\"";
  return memmem(line, len < 256 ? len : 256, mark, sizeof mark - 1) != NULL;
}

static int read_seq(const char *line, uint64_t *seq)
{
  static const char start[] = "{\"seq\":";
  if (strncmp(line, start, sizeof start - 1) != 0)
    return SMPL_EINVAL;
  const char *digits = line + sizeof start - 1;
  return text_parse_u64(digits, strspn(digits, "0123456789"), UINT64_MAX - 1, seq);
}

static int scan_line(void *ctx, const char *line, size_t len, uint64_t number)
{
  scan_t *s = ctx;
  uint64_t seq = 0;
  bool read = read_seq(line, &seq) == SMPL_OK && seq > 0;
  if (read && number == 1 && continues_another(line, len))
    s->tail->seq = seq - 1;
  if (!read || seq != s->tail->seq + 1 || line[len - 1] != '}')
    return diag_fail(s->diag, SMPL_EINVAL,
                     "%s:%llu: expected audit record %llu; keep the file and start with a new one", s->path,
                     (unsigned long long)number, (unsigned long long)s->tail->seq + 1);
  s->tail->seq = seq;
  if (number == 1)
    s->tail->first = seq;
  audit_hash(line, len, s->tail->head);
  if (seq == s->kept_seq)
    s->tail->kept_found = strcmp(s->tail->head, s->kept_head) == 0;
  if (!concerns_sessions(line, len))
    return SMPL_OK;
  json_t *record = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
  if (record == NULL)
    return diag_fail(s->diag, SMPL_EINVAL, "%s:%llu: not JSON; keep the file and start with a new one",
                     s->path, (unsigned long long)number);
  int err = take_event(s, record);
  json_decref(record);
  return err;
}

int audit_file_tail(int fd, const char *path, uint64_t kept_seq, const char *kept_head, audit_tail_t *out,
                    diag_t *diag)
{
  *out = (audit_tail_t){0};
  audit_hash("", 0, out->head);
  scan_t scan = {.tail = out, .path = path, .kept_seq = kept_seq, .kept_head = kept_head, .diag = diag};
  uint64_t size;
  int err = audit_file_read(fd, scan_line, &scan, &out->whole, &size);
  if (err) {
    audit_tail_free(out);
    return err == SMPL_ESYS ? diag_fail_errno(diag, "%s: cannot be read", path)
                            : diag_fail(diag, err, "%s: %s", path, smpl_strerror(err));
  }
  out->torn = size - out->whole;
  return SMPL_OK;
}

void audit_tail_free(audit_tail_t *tail)
{
  for (size_t i = 0; i < tail->open_count; i++)
    free(tail->open[i]);
  free(tail->open);
  tail->open = NULL;
  tail->open_count = 0;
}
