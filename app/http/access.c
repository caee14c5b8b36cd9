/* SPDX-License-Identifier: Apache-2.0 */
#include "app/http/access.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/http/text_out.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/process/landlock.h"
#include "common/base/log.h"

enum { LINE_MAX_BYTES = 8 << 10 }; /* a line's upper bound: the target at \\xNN a byte, and the rest */

struct access_log {
  access_file_t file;
  bool may_block; /* a pipe or terminal: ask before each write */
  uint64_t lost;  /* bytes dropped since the last report */
  uint64_t second;
  char second_text[CLOCK_ISO_MAX];
  size_t used;
  size_t torn; /* of them, the rest of a line that was written in part */
  char buffer[ACCESS_BUFFER_SIZE];
};

static int fail_to_open(const char *path, diag_t *diag)
{
  char *folder = strdup(path);
  char *slash = folder != NULL ? strrchr(folder, '/') : NULL;
  if (slash != NULL)
    slash[slash == folder] = '\0';
  bool walled = landlock_refused(slash != NULL ? folder : ".");
  free(folder);
  if (walled)
    return diag_fail(
        diag, SMPL_EDENIED,
        "%s: cannot be opened for the access log: it lies outside the folders that were named at the "
        "start: that needs a restart",
        path);
  return diag_fail_errno(diag, "%s: cannot be opened for the access log", path);
}

int access_file_open(const char *path, access_file_t *out, diag_t *diag)
{
  *out = (access_file_t){.path = NULL, .fd = STDOUT_FILENO};
  if (path == NULL)
    return SMPL_OK;
  out->fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
  if (out->fd < 0)
    return fail_to_open(path, diag);
  out->path = strdup(path);
  if (out->path != NULL)
    return SMPL_OK;
  access_file_close(out);
  return diag_fail(diag, SMPL_ENOMEM, "out of memory");
}

void access_file_close(access_file_t *file)
{
  free(file->path);
  if (file->fd > STDERR_FILENO)
    close(file->fd);
  *file = (access_file_t){.path = NULL, .fd = -1};
}

void access_use(access_log_t *log, access_file_t *file)
{
  struct stat st;
  access_flush(log);
  log->used = log->torn = 0; /* it belongs to the file before */
  access_file_close(&log->file);
  log->file = *file;
  *file = (access_file_t){.path = NULL, .fd = -1};
  log->may_block = fstat(log->file.fd, &st) < 0 || !S_ISREG(st.st_mode);
}

int access_open(const char *path, access_log_t **out, diag_t *diag)
{
  access_file_t file;
  *out = NULL;
  int err = access_file_open(path, &file, diag);
  if (err)
    return err;
  access_log_t *log = calloc(1, sizeof *log);
  if (log == NULL) {
    access_file_close(&file);
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  }
  log->file.fd = -1;
  access_use(log, &file);
  *out = log;
  return SMPL_OK;
}

int access_reopen(access_log_t *log, diag_t *diag)
{
  access_file_t file;
  int err = access_file_open(log->file.path, &file, diag);
  if (!err)
    access_use(log, &file);
  return err;
}

void access_close(access_log_t *log)
{
  if (log == NULL)
    return;
  access_flush(log);
  access_file_close(&log->file);
  free(log);
}

/* A pipe that is writable takes PIPE_BUF bytes without blocking (pipe(7)). Returns bytes written, -1 if none
 * can be. */
static ssize_t write_some(access_log_t *log, const char *at, size_t len)
{
  if (log->may_block) {
    struct pollfd p = {.fd = log->file.fd, .events = POLLOUT};
    if (poll(&p, 1, 0) != 1 || (p.revents & POLLOUT) == 0)
      return -1;
    if (len > PIPE_BUF)
      len = PIPE_BUF;
  }
  ssize_t n;
  do
    n = write(log->file.fd, at, len);
  while (n < 0 && errno == EINTR);
  return n;
}

/* Of a line that was written in part the rest goes first the next time, so that no line is joined to another.
 */
static size_t rest_of_line(const access_log_t *log, size_t written)
{
  if (written == 0)
    return log->torn;
  if (written == log->used || log->buffer[written - 1] == '\n')
    return 0;
  const char *from = log->buffer + written, *end = memchr(from, '\n', log->used - written);
  return end != NULL ? (size_t)(end + 1 - from) : 0;
}

void access_flush(access_log_t *log)
{
  size_t at = 0;
  while (at < log->used) {
    ssize_t n = write_some(log, log->buffer + at, log->used - at);
    if (n <= 0)
      break;
    at += (size_t)n;
  }
  size_t rest = rest_of_line(log, at);
  uint64_t lost = log->used - at - rest;
  memmove(log->buffer, log->buffer + at, rest);
  log->used = log->torn = rest;
  if (lost > 0 && log->lost == 0)
    log_warn("the access log cannot be written; lines are being dropped");
  if (lost == 0 && rest == 0 && log->lost > 0) {
    log_warn("the access log is written again; %llu bytes were dropped", (unsigned long long)log->lost);
    log->lost = 0;
  }
  log->lost += lost;
}

uint64_t access_lost(const access_log_t *log)
{
  return log->lost;
}

/* As a JSON string of what common/base/text.h's text_escape gives: \xNN for what is not printable. */
static void out_escaped(text_out_t *out, const uint8_t *bytes, size_t len)
{
  static const char hex[] = "0123456789abcdef";
  size_t plain = 0;
  OUT_LITERAL(out, "\"");
  for (size_t i = 0; i < len; i++) {
    uint8_t c = bytes[i];
    if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\')
      continue;
    out_bytes(out, bytes + plain, i - plain);
    plain = i + 1;
    char escape[5] = {'\\', '\\', 'x', hex[c >> 4], hex[c & 15]};
    if (c == '"')
      OUT_LITERAL(out, "\\\"");
    else if (c == '\\')
      OUT_LITERAL(out, "\\\\\\\\");
    else
      out_bytes(out, escape, sizeof escape);
  }
  out_bytes(out, bytes + plain, len - plain);
  OUT_LITERAL(out, "\"");
}

static void out_string(text_out_t *out, const char *name, const char *value)
{
  OUT_LITERAL(out, ",\"");
  out_text(out, name);
  OUT_LITERAL(out, "\":");
  if (value == NULL)
    OUT_LITERAL(out, "null");
  else
    out_escaped(out, (const uint8_t *)value, strlen(value));
}

/* "2026-11-23T03:25:59" is formatted once a second. */
static void out_time(access_log_t *log, text_out_t *out)
{
  uint64_t now = clock_wall_ms();
  if (now / 1000 != log->second || log->second_text[0] == '\0') {
    clock_format_iso(log->second_text, now);
    log->second = now / 1000;
  }
  unsigned ms = (unsigned)(now % 1000);
  char tail[] = {'.', (char)('0' + ms / 100), (char)('0' + ms / 10 % 10), (char)('0' + ms % 10), 'Z', '"'};
  OUT_LITERAL(out, "{\"time\":\"");
  out_bytes(out, log->second_text, sizeof "2026-11-23T03:25:59" - 1);
  out_bytes(out, tail, sizeof tail);
}

/* Method and target as sent: what stands before the first space of the first line, and what stands between it
 * and the last one. */
static void out_request_line(text_out_t *out, const uint8_t *head, size_t len)
{
  size_t end = 0;
  while (end < len && head[end] != '\r' && head[end] != '\n')
    end++;
  size_t method = 0;
  while (method < end && head[method] != ' ')
    method++;
  if (method == end || method > 16)
    method = 0; /* no method to be seen: everything is shown as the target */
  size_t target = method > 0 ? method + 1 : 0;
  size_t stop = end;
  while (method > 0 && stop > target && head[stop - 1] != ' ')
    stop--;
  if (stop > target + 1 && method > 0)
    end = stop - 1;
  if (end - target > ACCESS_TARGET_MAX)
    end = target + ACCESS_TARGET_MAX;
  OUT_LITERAL(out, ",\"method\":");
  out_escaped(out, head, method);
  OUT_LITERAL(out, ",\"target\":");
  out_escaped(out, head + target, end - target);
}

static void out_ms(text_out_t *out, uint64_t us)
{
  uint64_t part = us % 1000;
  char tail[] = {'.', (char)('0' + part / 100), (char)('0' + part / 10 % 10), (char)('0' + part % 10)};
  out_u64(out, us / 1000);
  out_bytes(out, tail, sizeof tail);
}

void access_write(access_log_t *log, const access_line_t *line)
{
  if (sizeof log->buffer - log->used < LINE_MAX_BYTES)
    access_flush(log);
  text_out_t out = {.buf = log->buffer + log->used, .cap = sizeof log->buffer - log->used};
  out_time(log, &out);
  out_string(&out, "listener", line->listener);
  out_string(&out, "client", line->client);
  if (line->peer != NULL)
    out_string(&out, "peer", line->peer);
  out_string(&out, "class", line->class);
  out_string(&out, "verdict", line->verdict);
  out_string(&out, "reason", line->reason);
  if (line->detail != NULL)
    out_string(&out, "detail", line->detail);
  out_string(&out, "rule", line->rule);
  if (line->caller != NULL)
    out_string(&out, "caller", line->caller);
  if (line->head != NULL)
    out_request_line(&out, line->head, line->head_len);
  OUT_LITERAL(&out, ",\"status\":");
  out_u64(&out, (uint64_t)line->status);
  OUT_LITERAL(&out, ",\"bytes\":");
  out_u64(&out, line->bytes);
  OUT_LITERAL(&out, ",\"ms\":");
  out_ms(&out, line->us);
  out_string(&out, "id", line->id);
  OUT_LITERAL(&out, "}\n");
  if (!out.over)
    log->used += out.len;
}
