/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/audit/history.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bastion/audit/audit_file.h"
#include "bastion/audit/rotated.h"
#include "common/base/clock.h"
#include "common/base/count.h"
#include "common/base/error.h"
#include "common/base/text.h"

enum { TARGETS_SHOWN_MAX = 8 };

#define MATCHED "matched" /* of a row while it is read: its session had the target */

typedef struct reading {
  const history_filter_t *filter;
  json_t *rows;
  json_t *by_session; /* id to row */
} reading_t;

static bool looks_like_time(const char *text)
{
  static const char shape[] = "0000-00-00T00:00:00.000Z";
  size_t len = strlen(text);
  if (len < 10 || len >= sizeof shape)
    return false;
  for (size_t i = 0; i < len; i++) {
    bool digit = text[i] >= '0' && text[i] <= '9';
    if (shape[i] == '0' ? !digit : text[i] != shape[i] && !(text[i] == 'Z' && i + 1 == len))
      return false;
  }
  return true;
}

int history_since(const char *text, uint64_t now_wall_ms, char *out, size_t cap)
{
  uint64_t ago;
  char when[CLOCK_ISO_MAX];
  if (text_parse_duration(text, strlen(text), &ago) == SMPL_OK)
    return text_copy(out, cap, clock_format_iso(when, ago < now_wall_ms ? now_wall_ms - ago : 0));
  if (!looks_like_time(text) || text_copy(out, cap, text))
    return SMPL_EINVAL;
  size_t len = strlen(out);
  if (out[len - 1] == 'Z') /* so that a prefix compares as the earliest time that begins so */
    out[len - 1] = '\0';
  return SMPL_OK;
}

static json_t *copy_of(const json_t *record, const char *key)
{
  json_t *value = json_object_get(record, key);
  return value != NULL ? json_incref(value) : json_null();
}

static json_t *new_row(reading_t *r, const json_t *record)
{
  json_t *row =
      json_pack("{s:o, s:o, s:o, s:o, s:o, s:[], s:i, s:i, s:i, s:i, s:i, s:n, s:n}", "started",
                copy_of(record, "time"), "user", copy_of(record, "user"), "source", copy_of(record, "source"),
                "session", json_null(), "key", copy_of(record, "key"), "targets", "channels", 0, "refused", 0,
                "bytes_up", 0, "bytes_down", 0, "duration_ms", 0, "ended", "reason");
  if (row != NULL)
    json_array_append_new(r->rows, row);
  return row;
}

static void add(json_t *row, const char *key, json_int_t n)
{
  json_object_set_new(row, key, json_integer(json_integer_value(json_object_get(row, key)) + n));
}

/* How many a record of refusals stands for. */
static json_int_t times(const json_t *record)
{
  const json_t *repeated = json_object_get(record, "repeated");
  return repeated != NULL ? json_integer_value(repeated) : 1;
}

static void add_target(json_t *row, const json_t *record)
{
  json_t *targets = json_object_get(row, "targets");
  const char *name = json_string_value(json_object_get(record, "name"));
  char text[512];
  snprintf(text, sizeof text, "%s:%lld", name != NULL ? name : "?",
           (long long)json_integer_value(json_object_get(record, "port")));
  size_t i;
  const json_t *known;
  json_array_foreach(targets, i, known)
  {
    if (strcmp(json_string_value(known), text) == 0)
      return;
  }
  if (json_array_size(targets) < TARGETS_SHOWN_MAX)
    json_array_append_new(targets, json_string(text));
}

static void end_row(json_t *row, const json_t *record)
{
  static const char *const keys[] = {"bytes_up", "bytes_down", "duration_ms", "reason"};
  for (size_t i = 0; i < COUNT_OF(keys); i++)
    if (json_object_get(record, keys[i]) != NULL)
      json_object_set(row, keys[i], json_object_get(record, keys[i]));
  json_object_set_new(row, "ended", copy_of(record, "time"));
}

/* "config.internal", "config.internal.smplkit.local:8000": as asked or as found. */
static bool is_target(const char *wanted, const json_t *record)
{
  static const char *const keys[] = {"name", "target"};
  char with_port[512];
  for (size_t i = 0; i < COUNT_OF(keys); i++) {
    const char *name = json_string_value(json_object_get(record, keys[i]));
    if (name == NULL)
      continue;
    snprintf(with_port, sizeof with_port, "%s:%lld", name,
             (long long)json_integer_value(json_object_get(record, "port")));
    if (text_equal_nocase(wanted, name) || text_equal_nocase(wanted, with_port))
      return true;
  }
  return false;
}

static void note_target(const reading_t *r, json_t *row, const json_t *record)
{
  if (r->filter->target != NULL && is_target(r->filter->target, record))
    json_object_set_new(row, MATCHED, json_true());
}

static void keep_matched(json_t *rows)
{
  size_t kept = 0, count = json_array_size(rows);
  for (size_t i = 0; i < count; i++) {
    json_t *row = json_array_get(rows, i);
    if (json_object_get(row, MATCHED) == NULL)
      continue;
    json_object_del(row, MATCHED);
    json_array_set(rows, kept++, row);
  }
  while (json_array_size(rows) > kept)
    json_array_remove(rows, json_array_size(rows) - 1);
}

/* The value of a string that stands in a line as it is: no quote can stand in a value unescaped, so this
 * finds a key and nothing else. NULL without; *len is its length. */
static const char *raw_value(const char *line, size_t len, const char *key, size_t *value_len)
{
  const char *at = memmem(line, len, key, strlen(key));
  if (at == NULL)
    return NULL;
  at += strlen(key);
  const char *end = memchr(at, '"', len - (size_t)(at - line));
  *value_len = end != NULL ? (size_t)(end - at) : 0;
  return end != NULL ? at : NULL;
}

/* Most lines can be told from the few that are wanted without being parsed. */
static bool worth_parsing(const reading_t *r, const char *line, size_t len)
{
  enum { FRONT = 256 }; /* number, hash, time and event stand there */
  size_t n, front = len < FRONT ? len : FRONT;
  const char *event = raw_value(line, front, "\"event\":\"", &n);
  if (event != NULL && n == sizeof "channel-end" - 1 && memcmp(event, "channel-end", n) == 0)
    return false;
  const char *time = raw_value(line, front, "\"time\":\"", &n);
  if (r->filter->since != NULL && time != NULL && strncmp(time, r->filter->since, n) < 0)
    return false;
  const char *user = r->filter->user != NULL ? raw_value(line, len, "\"user\":\"", &n) : NULL;
  return user == NULL || (n == strlen(r->filter->user) && memcmp(user, r->filter->user, n) == 0) ||
         memchr(user, '\\', n) != NULL;
}

static bool wanted(const reading_t *r, const json_t *record)
{
  const char *user = json_string_value(json_object_get(record, "user"));
  const char *time = json_string_value(json_object_get(record, "time"));
  if (r->filter->user != NULL && (user == NULL || strcmp(user, r->filter->user) != 0))
    return false;
  const char *until = r->filter->until;
  if (until != NULL && (time == NULL || strncmp(time, until, strlen(until)) > 0))
    return false;
  return r->filter->since == NULL || (time != NULL && strcmp(time, r->filter->since) >= 0);
}

static void take(reading_t *r, const json_t *record)
{
  const char *event = json_string_value(json_object_get(record, "event"));
  const char *id = json_string_value(json_object_get(record, "session"));
  if (event == NULL)
    return;
  json_t *row = id != NULL ? json_object_get(r->by_session, id) : NULL;
  bool continued = strcmp(event, AUDIT_SESSION_CONTINUED) == 0; /* of a session that was open at a rotation */
  if (continued && row != NULL)
    return;
  if (id != NULL && wanted(r, record) && (continued || strcmp(event, "session-start") == 0)) {
    row = new_row(r, record);
    json_object_set_new(row, "session", json_string(id));
    json_object_set(r->by_session, id, row);
  } else if (strcmp(event, "login-failed") == 0 && wanted(r, record)) {
    row = new_row(r, record);
    add(row, "refused", times(record));
    json_object_set_new(row, "reason", copy_of(record, "reason"));
    json_object_set_new(row, "ended", copy_of(record, "time"));
  } else if (row == NULL) {
    return;
  } else if (strcmp(event, "channel-open") == 0) {
    add(row, "channels", 1);
    add_target(row, record);
    note_target(r, row, record);
  } else if (strcmp(event, "channel-refused") == 0 || strcmp(event, "refused") == 0) {
    add(row, "refused", times(record));
    note_target(r, row, record);
  } else if (strcmp(event, "session-end") == 0) {
    end_row(row, record);
    json_object_del(r->by_session, id);
  }
}

static int take_line(void *ctx, const char *line, size_t len, uint64_t number)
{
  (void)number;
  if (!worth_parsing(ctx, line, len))
    return SMPL_OK;
  json_t *record = json_loadb(line, len, 0, NULL);
  if (record != NULL)
    take(ctx, record);
  json_decref(record);
  return SMPL_OK;
}

static int read_one(const char *path, reading_t *r, diag_t *diag)
{
  uint64_t whole, size;
  int fd;
  int err = audit_file_open(path, &fd, diag);
  if (!err && audit_file_read(fd, take_line, r, &whole, &size))
    err = diag_fail(diag, SMPL_EINVAL, "%s: cannot be read to its end", path);
  if (fd >= 0)
    close(fd);
  return err;
}

int history_read(const char *path, const history_filter_t *filter, size_t *compressed, json_t **out,
                 diag_t *diag)
{
  reading_t r = {filter, json_array(), json_object()};
  rotated_t files;
  *out = NULL;
  int err = rotated_find(path, &files, diag);
  *compressed = files.compressed;
  for (size_t i = 0; i < files.count && !err; i++)
    err = read_one(files.paths[i], &r, diag);
  rotated_free(&files);
  json_decref(r.by_session);
  if (filter->target != NULL)
    keep_matched(r.rows);
  if (err)
    json_decref(r.rows);
  else
    *out = r.rows;
  return err;
}
