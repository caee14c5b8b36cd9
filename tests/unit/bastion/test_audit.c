/* SPDX-License-Identifier: Apache-2.0 */
/* The audit: order, chain, what is on the disk when, recovery after a cut at every byte, a disk that refuses.
 */
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <uv.h>

#include "bastion/audit/audit.h"
#include "bastion/audit/audit_file.h"
#include "bastion/audit/history.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "kit.h"

static uv_loop_t loop;
static char content[1 << 20];

static int setup(void **state)
{
  (void)state;
  kit_folder_new();
  log_init("test", LOG_LEVEL_ERROR);
  signal(SIGXFSZ, SIG_IGN);
  return uv_loop_init(&loop);
}

static int teardown(void **state)
{
  (void)state;
  kit_folder_remove();
  return uv_loop_close(&loop);
}

static audit_t *open_audit(const char *name)
{
  audit_t *a;
  diag_t diag = {""};
  if (audit_open(&loop, kit_path(name), NULL, &a, &diag))
    fail_msg("%s", diag.text);
  return a;
}

static void close_audit(audit_t *a)
{
  audit_close(a);
  uv_run(&loop, UV_RUN_NOWAIT);
}

static size_t slurp(const char *name)
{
  FILE *f = fopen(kit_path(name), "r");
  assert_non_null(f);
  size_t n = fread(content, 1, sizeof content - 1, f);
  content[n] = '\0';
  fclose(f);
  return n;
}

static json_t *event(const char *name, const char *session)
{
  return json_pack("{s:s, s:s}", "event", name, "session", session);
}

typedef struct waiter {
  int calls;
  int err;
} waiter_t;

static void on_written(void *ctx, int err)
{
  waiter_t *w = ctx;
  w->calls++;
  w->err = err;
}

enum { LOOKS_MAX = 60000 }; /* in vain, 2 ms each, before something counts as not coming */

/* The clock that a moved file is judged by, as far ahead as a test says. */
static atomic_uint_least64_t ahead_ms;
uint64_t __real_clock_mono_ms(void);
uint64_t __wrap_clock_mono_ms(void);
uint64_t __wrap_clock_mono_ms(void)
{
  return __real_clock_mono_ms() + atomic_load(&ahead_ms);
}

static void wait_for(const waiter_t *w, int calls)
{
  for (int i = 0; i < LOOKS_MAX && w->calls < calls; i++) {
    uv_run(&loop, UV_RUN_NOWAIT);
    usleep(2000);
  }
  assert_int_equal(w->calls, calls);
}

static int check_line(void *ctx, const char *line, size_t len, uint64_t number)
{
  char *head = ctx, want[256];
  snprintf(want, sizeof want, "{\"seq\":%llu,\"prev\":\"%s\",\"time\":\"", (unsigned long long)number, head);
  if (strncmp(line, want, strlen(want)) != 0)
    return SMPL_EINVAL;
  json_t *record = json_loadb(line, len, 0, NULL);
  json_decref(record);
  audit_hash(line, len, head);
  return record != NULL ? SMPL_OK : SMPL_EINVAL;
}

/* Numbers without gaps, each line with the hash of the one before. */
static void assert_chain(const char *name, uint64_t records)
{
  char head[AUDIT_HASH_TEXT];
  uint64_t whole, size;
  audit_tail_t tail;
  audit_hash("", 0, head);
  int fd = open(kit_path(name), O_RDONLY | O_CLOEXEC);
  assert_int_equal(audit_file_read(fd, check_line, head, &whole, &size), SMPL_OK);
  assert_int_equal(whole, size);
  assert_int_equal(audit_file_tail(fd, "x", 0, "", &tail, NULL), SMPL_OK);
  assert_int_equal(tail.seq, records);
  assert_string_equal(tail.head, head);
  audit_tail_free(&tail);
  close(fd);
}

static void a_record_is_on_the_disk_when_its_callback_comes(void **state)
{
  (void)state;
  audit_t *a = open_audit("plain");
  waiter_t w = {0};
  struct stat st;
  for (int i = 1; i <= 20; i++) {
    assert_int_equal(audit_append(a, event("session-start", "s"), on_written, &w), SMPL_OK);
    assert_int_equal(w.calls, i - 1); /* never from inside */
    wait_for(&w, i);
    assert_int_equal(w.err, SMPL_OK);
    slurp("plain");
    int lines = 0;
    for (const char *c = content; *c != '\0'; c++)
      lines += *c == '\n';
    assert_int_equal(lines, i);
  }
  assert_int_equal(stat(kit_path("plain"), &st), 0);
  assert_int_equal(st.st_mode & 0777, 0600);
  close_audit(a);
  assert_chain("plain", 20);
}

/* Up to AUDIT_LINE_MAX; the bytes that it takes are told as they are. */
static void a_long_record_is_written_whole(void **state)
{
  static char long_text[AUDIT_LINE_MAX];
  (void)state;
  audit_t *a = open_audit("long");
  waiter_t w = {0};
  int written = 0;
  for (size_t len = 900; len <= 60000; len = len < 1100 ? len + 1 : len * 2) {
    size_t bytes;
    memset(long_text, 'x', len);
    long_text[len] = '\0';
    assert_int_equal(audit_append_sized(a, event("session-start", long_text), false, on_written, &w, &bytes),
                     SMPL_OK);
    assert_in_range(bytes, len + sizeof "session-start", len + 512);
    written++;
  }
  memset(long_text, 'x', AUDIT_LINE_MAX - 100);
  long_text[AUDIT_LINE_MAX - 100] = '\0';
  assert_int_equal(audit_append(a, event("session-start", long_text), NULL, NULL), SMPL_ELIMIT);
  wait_for(&w, written);
  close_audit(a);
  assert_chain("long", (uint64_t)written);
}

static void on_space(void *ctx, uint64_t free_bytes)
{
  uint64_t *seen = ctx;
  seen[0]++;
  seen[1] = free_bytes;
}

static void what_a_record_takes_and_what_is_free_is_told_after_each_group(void **state)
{
  (void)state;
  audit_t *a = open_audit("space");
  uint64_t seen[2] = {0, 0};
  size_t bytes;
  audit_status_t status;
  audit_watch_space(a, on_space, seen);
  for (int i = 1; i <= 3; i++) {
    waiter_t w = {0, 0};
    size_t before = slurp("space");
    uint64_t told = seen[0];
    assert_int_equal(audit_append_sized(a, event("session-start", "s"), false, on_written, &w, &bytes),
                     SMPL_OK);
    assert_int_equal(seen[0], told); /* never from inside */
    wait_for(&w, 1);
    assert_true(seen[0] > told);
    size_t grown = slurp("space") - before;
    assert_in_range(bytes, grown - 10, grown + 10);
  }
  struct statvfs fs;
  assert_int_equal(statvfs(kit_path("space"), &fs), 0);
  assert_true(seen[1] <= (uint64_t)fs.f_blocks * fs.f_frsize);
  audit_status(a, &status);
  assert_true(status.free_bytes <= (uint64_t)fs.f_blocks * fs.f_frsize);
  close_audit(a);
}

static void many_records_stay_in_order_and_are_all_written_at_the_end(void **state)
{
  (void)state;
  audit_t *a = open_audit("many");
  for (int i = 1; i <= 5000; i++)
    assert_int_equal(audit_append(a, json_pack("{s:s, s:i}", "event", "refused", "n", i), NULL, NULL),
                     SMPL_OK);
  close_audit(a);
  assert_chain("many", 5000);
  slurp("many");
  int n = 0;
  for (char *at = content; (at = strstr(at, "\"n\":")) != NULL; at++)
    assert_int_equal(strtol(at + 4, NULL, 10), ++n);
  assert_int_equal(n, 5000);
}

static void nobody_waits_for_a_lazy_record_and_it_waits_for_nobody_long(void **state)
{
  (void)state;
  audit_t *a = open_audit("audit.log");
  waiter_t w = {0, 0};
  assert_int_equal(audit_append_lazy(a, event("channel-end", "s1")), 0);
  usleep(AUDIT_LAZY_MS * 1000 / 2); /* the writer's thread would have had the time, but was not told */
  slurp("audit.log");
  assert_null(strstr(content, "channel-end"));
  for (int i = 0; i < LOOKS_MAX && strstr(content, "channel-end") == NULL; i++) {
    uv_run(&loop, UV_RUN_NOWAIT);
    usleep(2000);
    slurp("audit.log");
  }
  assert_non_null(strstr(content, "\"s1\""));
  /* one that is waited for takes along what came before it, in its order */
  assert_int_equal(audit_append_lazy(a, event("channel-end", "s2")), 0);
  assert_int_equal(audit_append(a, event("channel-open", "s3"), on_written, &w), 0);
  wait_for(&w, 1);
  slurp("audit.log");
  assert_non_null(strstr(content, "\"s2\""));
  assert_true(strstr(content, "\"s2\"") < strstr(content, "\"s3\""));
  /* and the end takes all */
  assert_int_equal(audit_append_lazy(a, event("channel-end", "s4")), 0);
  close_audit(a);
  assert_chain("audit.log", 4);
}

static void the_file_has_one_writer(void **state)
{
  (void)state;
  audit_t *a = open_audit("locked"), *b;
  diag_t diag = {""};
  assert_int_equal(audit_open(&loop, kit_path("locked"), NULL, &b, &diag), SMPL_EBUSY);
  assert_non_null(strstr(diag.text, "in use by another process"));
  close_audit(a);
  close_audit(open_audit("locked"));
}

static void other_files_are_not_taken_for_an_audit(void **state)
{
  (void)state;
  static const struct {
    const char *text;
    int mode;
    const char *saying;
  } bad[] = {{"hello\n", 0600, "bad:1: expected audit record 1"},
             {"\n", 0600, "bad:1: expected"},
             {"{\"seq\":2,\"prev\":\"\"}\n", 0600, "bad:1: expected audit record 1"},
             {"{\"seq\":1,\"event\":\"a\"}\n{\"seq\":3}\n", 0600, "bad:2: expected audit record 2"},
             {"{\"seq\":1,\"event\":\"session-start\",}\n", 0600, "bad:1: not JSON"},
             {"", 0644, "chmod 600"}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    audit_t *a;
    diag_t diag = {""};
    kit_write("bad", bad[i].text, bad[i].mode);
    if (audit_open(&loop, kit_path("bad"), NULL, &a, &diag) == SMPL_OK)
      fail_msg("accepted: %s", bad[i].text);
    if (strstr(diag.text, bad[i].saying) == NULL)
      fail_msg("%s says %s", bad[i].text, diag.text);
  }
  mkdir(kit_path("folder"), 0700);
  audit_t *a;
  assert_int_not_equal(audit_open(&loop, kit_path("folder"), NULL, &a, NULL), SMPL_OK);
}

static size_t count(const char *what)
{
  size_t n = 0;
  for (const char *at = content; (at = strstr(at, what)) != NULL; at++)
    n++;
  return n;
}

/* Whatever byte the writing stopped at, the records before it stay, the torn one is told, the open session
 * closed. */
static void a_cut_at_any_byte_is_recovered(void **state)
{
  (void)state;
  audit_t *a = open_audit("cut");
  audit_append(a, event("session-start", "aa"), NULL, NULL);
  audit_append(a, event("session-end", "aa"), NULL, NULL);
  audit_append(a, event("session-start", "bb"), NULL, NULL);
  close_audit(a);
  size_t len = slurp("cut");
  char *whole = strdup(content);
  for (size_t at = 0; at <= len; at += at < len - 3 ? 3 : 1) {
    kit_write("cut", "", 0600);
    assert_int_equal(truncate(kit_path("cut"), 0), 0);
    int fd = open(kit_path("cut"), O_WRONLY | O_CLOEXEC);
    assert_int_equal(write(fd, whole, at), (ssize_t)at);
    close(fd);
    size_t kept = 0, started = 0, ended = 0;
    for (size_t i = 0; i < at; i++)
      kept += whole[i] == '\n';
    started = kept >= 3 ? 2 : kept >= 1;
    ended = kept >= 2;
    bool torn = at > 0 && whole[at - 1] != '\n';
    close_audit(open_audit("cut"));
    assert_chain("cut", kept + torn + (started - ended));
    slurp("cut");
    assert_int_equal(count("audit-recovered"), torn);
    assert_int_equal(count("\"reason\":\"bastion-died\",\"recovered\":true"), started - ended);
    close_audit(open_audit("cut")); /* and once only */
    assert_chain("cut", kept + torn + (started - ended));
  }
  free(whole);
}

static void set_file_limit(rlim_t bytes)
{
  struct rlimit limit;
  getrlimit(RLIMIT_FSIZE, &limit);
  limit.rlim_cur = bytes;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_disk_that_refuses_fails_who_waits_and_keeps_the_rest(void **state)
{
  (void)state;
  audit_t *a = open_audit("full");
  waiter_t w = {0};
  audit_status_t status;
  audit_append(a, event("session-start", "a"), on_written, &w);
  wait_for(&w, 1);
  size_t before = slurp("full");
  set_file_limit(before + 50);                            /* room for a part of a record */
  audit_append(a, event("session-end", "a"), NULL, NULL); /* nobody waits: kept */
  audit_append(a, event("session-start", "b"), on_written, &w);
  wait_for(&w, 2);
  assert_int_equal(w.err, SMPL_ESYS);
  audit_append(a, event("session-start", "c"), on_written, &w);
  wait_for(&w, 3);
  assert_int_equal(w.err, SMPL_ESYS);
  assert_int_equal(slurp("full"), before); /* no half record */
  audit_status(a, &status);
  assert_true(status.failing);
  assert_int_equal(status.waiting, 1);
  set_file_limit(RLIM_INFINITY);
  audit_append(a, event("session-start", "d"), on_written, &w);
  wait_for(&w, 4);
  assert_int_equal(w.err, SMPL_OK);
  audit_status(a, &status);
  assert_false(status.failing);
  assert_int_equal(status.written, 3);
  close_audit(a);
  assert_chain("full", 3);
  slurp("full");
  assert_true(strstr(content, "session-end") < strstr(content, "\"d\"")); /* in their order */
}

static void kept_records_are_written_by_themselves_when_the_disk_takes_them(void **state)
{
  (void)state;
  audit_t *a = open_audit("later");
  set_file_limit(10);
  audit_append(a, event("session-end", "a"), NULL, NULL);
  audit_status_t status = {0};
  for (int i = 0; i < LOOKS_MAX && !status.failing; i++) {
    usleep(2000);
    audit_status(a, &status);
  }
  assert_true(status.failing);
  set_file_limit(RLIM_INFINITY);
  for (int i = 0; i < LOOKS_MAX && status.written == 0; i++) {
    usleep(2000);
    audit_status(a, &status);
  }
  assert_int_equal(status.written, 1);
  close_audit(a);
}

static void the_queue_has_its_limit(void **state)
{
  (void)state;
  audit_t *a = open_audit("queue");
  set_file_limit(10);
  int err = SMPL_OK, n = 0;
  while (err == SMPL_OK && n <= AUDIT_QUEUE_MAX) {
    err = audit_append(a, event("refused", "q"), NULL, NULL);
    n += err == SMPL_OK;
  }
  assert_int_equal(err, SMPL_ELIMIT);
  assert_int_equal(n, AUDIT_QUEUE_MAX);
  set_file_limit(RLIM_INFINITY);
  close_audit(a);
}

static void write_one(audit_t *a, const char *session, int want)
{
  waiter_t w = {0};
  audit_append(a, event("channel-open", session), on_written, &w);
  wait_for(&w, 1);
  assert_int_equal(w.err, want);
}

static void assert_failing(audit_t *a, bool failing)
{
  audit_status_t status;
  audit_status(a, &status);
  assert_int_equal(status.failing, failing);
}

static void a_removed_file_fails_who_waits(void **state)
{
  (void)state;
  audit_t *a = open_audit("gone");
  write_one(a, "a", SMPL_OK);
  assert_int_equal(unlink(kit_path("gone")), 0);
  write_one(a, "b", SMPL_ESYS);
  assert_failing(a, true);
  kit_write("gone", "", 0600); /* another one in its place is not it */
  write_one(a, "c", SMPL_ESYS);
  close_audit(a);
}

static void a_truncated_file_fails_and_is_not_made_long_again(void **state)
{
  (void)state;
  struct stat st;
  audit_t *a = open_audit("short");
  write_one(a, "a", SMPL_OK);
  assert_int_equal(truncate(kit_path("short"), 0), 0);
  write_one(a, "b", SMPL_ESYS);
  write_one(a, "c", SMPL_ESYS);
  assert_int_equal(stat(kit_path("short"), &st), 0);
  assert_int_equal(st.st_size, 0);
  close_audit(a);
}

static void a_line_by_somebody_else_fails(void **state)
{
  (void)state;
  audit_t *a = open_audit("added");
  write_one(a, "a", SMPL_OK);
  int fd = open(kit_path("added"), O_WRONLY | O_APPEND | O_CLOEXEC);
  assert_int_equal(write(fd, "{}\n", 3), 3);
  close(fd);
  write_one(a, "b", SMPL_ESYS);
  close_audit(a);
}

static void tampering_shows_while_nothing_is_written(void **state)
{
  (void)state;
  audit_t *a = open_audit("idle");
  audit_status_t status = {0};
  write_one(a, "a", SMPL_OK);
  assert_int_equal(truncate(kit_path("idle"), 0), 0);
  for (int i = 0; i < LOOKS_MAX && !status.failing; i++) {
    usleep(2000);
    audit_status(a, &status);
  }
  assert_true(status.failing);
  close_audit(a);
}

static void a_file_that_is_moved_is_written_to_for_a_while(void **state)
{
  (void)state;
  char from[256], to[256];
  audit_t *a = open_audit("moved");
  write_one(a, "a", SMPL_OK);
  snprintf(from, sizeof from, "%s", kit_path("moved"));
  snprintf(to, sizeof to, "%s", kit_path("moved.1"));
  assert_int_equal(rename(from, to), 0);
  write_one(a, "b", SMPL_OK);
  atomic_store(&ahead_ms, AUDIT_MOVED_MS);
  write_one(a, "c", SMPL_ESYS);
  assert_failing(a, true);
  assert_int_equal(rename(to, from), 0); /* back again: as if nothing had been */
  write_one(a, "d", SMPL_OK);
  assert_failing(a, false);
  close_audit(a);
  assert_chain("moved", 3);
  atomic_store(&ahead_ms, 0);
}

static void reopen(audit_t *a, bool want, const char *saying)
{
  diag_t diag = {""};
  bool reopened;
  int err = audit_reopen(a, &reopened, &diag);
  assert_int_equal(reopened, want);
  assert_int_equal(err != SMPL_OK, saying != NULL);
  if (saying != NULL && strstr(diag.text, saying) == NULL)
    fail_msg("\"%s\" does not say \"%s\"", diag.text, saying);
}

static void a_new_file_continues_the_chain_and_is_accepted_at_the_next_start(void **state)
{
  (void)state;
  char from[256], to[256], head[AUDIT_HASH_TEXT], want[512];
  audit_t *a = open_audit("rotated");
  audit_status_t status;
  snprintf(from, sizeof from, "%s", kit_path("rotated"));
  snprintf(to, sizeof to, "%s", kit_path("rotated.1"));
  write_one(a, "a", SMPL_OK);
  reopen(a, false, NULL);
  assert_int_equal(rename(from, to), 0);
  write_one(a, "b", SMPL_OK);
  kit_write("rotated", "not empty\n", 0600);
  reopen(a, false, "not empty");
  kit_write("rotated", "", 0644);
  reopen(a, false, "chmod 600");
  assert_int_equal(unlink(from), 0);
  audit_status(a, &status);
  memcpy(head, status.head, sizeof head);
  reopen(a, true, NULL);
  reopen(a, false, NULL);
  audit_append(a, event(AUDIT_SESSION_CONTINUED, "s"), NULL, NULL);
  write_one(a, "c", SMPL_OK);
  close_audit(a);
  assert_chain("rotated.1", 2);
  slurp("rotated");
  snprintf(want, sizeof want, "{\"seq\":3,\"prev\":\"%s\",\"time\":\"", head);
  assert_memory_equal(content, want, strlen(want));
  assert_int_equal(count("\"event\":\"audit-continued\",\"before\":\"moved\"}\n"), 1);
  assert_int_equal(count("\n"), 3);
  a = open_audit("rotated"); /* the session that went on has no end in it */
  write_one(a, "d", SMPL_OK);
  close_audit(a);
  slurp("rotated");
  assert_int_equal(count("\"seq\":7,"), 1);
  assert_int_equal(count("\"session\":\"s\",\"reason\":\"bastion-died\",\"recovered\":true"), 1);
}

static void a_removed_file_is_told_of_in_the_next(void **state)
{
  (void)state;
  audit_t *a = open_audit("lost");
  write_one(a, "a", SMPL_OK);
  assert_int_equal(unlink(kit_path("lost")), 0);
  audit_append(a, event("session-end", "kept"), NULL, NULL);
  reopen(a, true, NULL);
  write_one(a, "b", SMPL_OK);
  assert_failing(a, false);
  close_audit(a);
  slurp("lost");
  const char *told = strstr(content, "\"event\":\"audit-continued\",\"before\":\"removed\"");
  assert_non_null(told);
  assert_true(told < strchr(content, '\n'));
}

static void history_makes_rows_of_records(void **state)
{
  (void)state;
  audit_t *a = open_audit("history");
  audit_append(a,
               json_pack("{s:s,s:s,s:s,s:s}", "event", "session-start", "session", "s1", "user", "dev",
                         "source", "x:1"),
               NULL, NULL);
  audit_append(a,
               json_pack("{s:s,s:s,s:s,s:i}", "event", "channel-open", "session", "s1", "name", "c.d", "port",
                         80),
               NULL, NULL);
  audit_append(a, json_pack("{s:s,s:s}", "event", "channel-refused", "session", "s1"), NULL, NULL);
  audit_append(a,
               json_pack("{s:s,s:s,s:s,s:s}", "event", "login-failed", "session", "s2", "user", "eve",
                         "reason", "unknown-user"),
               NULL, NULL);
  audit_append(a,
               json_pack("{s:s,s:s,s:s,s:i,s:i}", "event", "session-end", "session", "s1", "reason", "idle",
                         "bytes_up", 5, "bytes_down", 7),
               NULL, NULL);
  close_audit(a);
  size_t compressed;
  json_t *rows;
  history_filter_t all = {0};
  assert_int_equal(history_read(kit_path("history"), &all, &compressed, &rows, NULL), SMPL_OK);
  assert_int_equal(json_array_size(rows), 2);
  const json_t *row = json_array_get(rows, 0);
  assert_string_equal(json_string_value(json_object_get(row, "user")), "dev");
  assert_string_equal(json_string_value(json_object_get(row, "reason")), "idle");
  assert_int_equal(json_integer_value(json_object_get(row, "channels")), 1);
  assert_int_equal(json_integer_value(json_object_get(row, "refused")), 1);
  assert_int_equal(json_integer_value(json_object_get(row, "bytes_down")), 7);
  json_decref(rows);
  history_filter_t eve = {.user = "eve"};
  assert_int_equal(history_read(kit_path("history"), &eve, &compressed, &rows, NULL), SMPL_OK);
  assert_int_equal(json_array_size(rows), 1);
  json_decref(rows);
  history_filter_t future = {.since = "2999-01-01"};
  assert_int_equal(history_read(kit_path("history"), &future, &compressed, &rows, NULL), SMPL_OK);
  assert_int_equal(json_array_size(rows), 0);
  json_decref(rows);
  char since[64];
  assert_int_equal(history_since("1h", 3600000 + 1500, since, sizeof since), SMPL_OK);
  assert_string_equal(since, "1970-01-01T00:00:01.500Z");
  assert_int_equal(history_since("2026-11-23T03:25:59Z", 0, since, sizeof since), SMPL_OK);
  assert_string_equal(since, "2026-11-23T03:25:59");
  assert_int_equal(history_since("yesterday", 0, since, sizeof since), SMPL_EINVAL);
  assert_int_equal(history_since("2026-11", 0, since, sizeof since), SMPL_EINVAL);
}

/* Whoever reads the file with another program relies on these bytes: no name may end its string or its line.
 */
static void hostile_names_stay_inside_their_strings(void **state)
{
  (void)state;
  static const char *const names[] = {
      "",
      "\"",
      "\\",
      "\\\"}",
      "a\nb",
      "a\r\n{\"seq\":1}",
      "\b\f\t\x01\x1f\x7f",
      "/</script>",
      "\u00e9\u4e16",
      "\u2028\u2029",
      "\U0001f600",
      "{}[],:",
      "%s%n",
  };
  waiter_t w = {0, 0};
  audit_t *a = open_audit("hostile");
  for (int i = 0; i < (int)(sizeof names / sizeof *names); i++) {
    json_t *r = event("channel-open", names[i]);
    assert_non_null(r);
    char *text = json_dumps(r, JSON_COMPACT);
    assert_non_null(text);
    assert_int_equal(audit_append(a, r, on_written, &w), SMPL_OK);
    wait_for(&w, i + 1);
    assert_int_equal(w.err, SMPL_OK);
    /* The file ends with the record's own keys, byte for byte, and one newline. */
    size_t size = slurp("hostile"), own = strlen(text) - 1;
    assert_true(size > own + 1);
    assert_memory_equal(content + size - 1 - own, text + 1, own);
    int lines = 0;
    for (size_t at = 0; at < size; at++)
      lines += content[at] == '\n';
    assert_int_equal(lines, i + 1);
    free(text);
  }
  close_audit(a);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_record_is_on_the_disk_when_its_callback_comes),
      cmocka_unit_test(many_records_stay_in_order_and_are_all_written_at_the_end),
      cmocka_unit_test(a_long_record_is_written_whole),
      cmocka_unit_test(nobody_waits_for_a_lazy_record_and_it_waits_for_nobody_long),
      cmocka_unit_test(the_file_has_one_writer),
      cmocka_unit_test(other_files_are_not_taken_for_an_audit),
      cmocka_unit_test(a_cut_at_any_byte_is_recovered),
      cmocka_unit_test(a_disk_that_refuses_fails_who_waits_and_keeps_the_rest),
      cmocka_unit_test(kept_records_are_written_by_themselves_when_the_disk_takes_them),
      cmocka_unit_test(what_a_record_takes_and_what_is_free_is_told_after_each_group),
      cmocka_unit_test(the_queue_has_its_limit),
      cmocka_unit_test(a_removed_file_fails_who_waits),
      cmocka_unit_test(a_truncated_file_fails_and_is_not_made_long_again),
      cmocka_unit_test(a_line_by_somebody_else_fails),
      cmocka_unit_test(tampering_shows_while_nothing_is_written),
      cmocka_unit_test(a_file_that_is_moved_is_written_to_for_a_while),
      cmocka_unit_test(a_new_file_continues_the_chain_and_is_accepted_at_the_next_start),
      cmocka_unit_test(a_removed_file_is_told_of_in_the_next),
      cmocka_unit_test(history_makes_rows_of_records),
      cmocka_unit_test(hostile_names_stay_inside_their_strings),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
