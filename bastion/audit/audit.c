/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/audit/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "bastion/audit/audit_file.h"
#include "bastion/audit/audit_kept.h"
#include "bastion/audit/rotated.h"
#include "common/base/clock.h"
#include "common/process/crash.h"
#include "common/base/error.h"
#include "common/base/fifo.h"
#include "common/base/log.h"
#include "common/ssh/reason.h"
#include "common/base/text.h"

enum {
  HEAD_BYTES = 90,     /* of number, hash and newline, about: of this program's accounts, not of the file */
  HEAD_MAX = 256,      /* bytes of what is put before a record's own keys */
  TORN_SHOWN_MAX = 256 /* bytes of a torn record that its warning quotes, escaped */
};

typedef struct entry {
  fifo_link_t next;
  char *body; /* the record as sent by the loop, "{...}", without NUL */
  size_t len;
  audit_cb cb;
  void *ctx;
  int err;
} entry_t;

struct audit {
  char *path;
  uv_async_t wake; /* the writer has finished something */
  uv_timer_t lazy; /* runs while lazy records wait */
  int handles;     /* of the loop's, not closed yet */
  pthread_t thread;
  pthread_mutex_t lock; /* for all below */
  pthread_cond_t work;
  fifo_t todo; /* entry_t */
  fifo_t done; /* callbacks to run on the loop */
  uint64_t waiting;
  bool urgent;  /* the writer is to take up what is in todo */
  bool crowded; /* several waited for the last group */
  bool stop;
  bool finished; /* the thread has been joined */
  bool failing;
  uint64_t seq;
  char head[AUDIT_HASH_TEXT];
  uint64_t free_bytes; /* on the file's disk */
  bool lost;           /* set before the thread starts */
  /* the loop's own */
  audit_space_cb on_space;
  void *space_ctx;
  /* The file: the writer's while it writes, and audit_reopen's. Taken before the other lock. */
  pthread_mutex_t file;
  int fd;
  uint64_t size;         /* of the file, up to the last whole record */
  bool torn;             /* what a failed attempt left behind is still to be cut off */
  uint64_t moved_at;     /* monotonic ms when the file was first seen to be renamed away, 0: it is there */
  const char *continues; /* the file has no record yet, and follows one that was moved, removed or changed */
  const char *wrong;     /* with the file, as last seen; NULL: nothing */
  /* the writer's own */
  char *buf;
  size_t used, cap;
};

/* ---- records that wait ---- */

static void entry_free(entry_t *e)
{
  free(e->body);
  free(e);
}

/* ---- the file ---- */

/* What has happened to the file behind our back; NULL: nothing. *moved: it was only renamed, and is whole. */
static const char *examine(const audit_t *a, bool *moved)
{
  struct stat own, there;
  *moved = false;
  if (fstat(a->fd, &own) < 0)
    return "the file cannot be examined";
  if (own.st_nlink == 0)
    return "the file was removed; reload to go on in a new one";
  if ((uint64_t)own.st_size != a->size)
    return "the file was changed by somebody else; move it away and reload to go on in a new one";
  *moved = lstat(a->path, &there) < 0 || there.st_dev != own.st_dev || there.st_ino != own.st_ino;
  return *moved ? "the file was moved away; reload to go on in a new one" : NULL;
}

/* A rotation renames the file and reloads a moment later: until then it is written to under its new name. */
static bool may_write(audit_t *a)
{
  bool moved;
  uint64_t now = clock_mono_ms();
  const char *wrong = examine(a, &moved);
  if (!moved)
    a->moved_at = 0;
  else if (a->moved_at == 0)
    a->moved_at = now;
  a->wrong = moved && now - a->moved_at < AUDIT_MOVED_MS ? NULL : wrong;
  return a->wrong == NULL;
}

/* With the file's lock held. What is kept for root alone counts for nobody. */
static uint64_t measure(const audit_t *a)
{
  struct statvfs fs;
  if (fstatvfs(a->fd, &fs) < 0 || (fs.f_frsize > 0 && fs.f_bavail > UINT64_MAX / fs.f_frsize))
    return UINT64_MAX;
  return (uint64_t)fs.f_bavail * fs.f_frsize;
}

/* Never makes it longer: a file that somebody cut short shall show it. */
static void cut_back(audit_t *a)
{
  struct stat st;
  a->torn = fstat(a->fd, &st) < 0 || ((uint64_t)st.st_size > a->size && ftruncate(a->fd, (off_t)a->size) < 0);
  if (a->torn)
    log_error("audit: a partly written record cannot be cut off: %s", strerror(errno));
}

/* ---- the writer ---- */

static int reserve(audit_t *a, size_t more)
{
  if (a->cap - a->used >= more)
    return SMPL_OK;
  size_t cap = (a->used + more) * 2;
  char *grown = realloc(a->buf, cap);
  if (grown == NULL)
    return SMPL_ENOMEM;
  a->buf = grown;
  a->cap = cap;
  return SMPL_OK;
}

/* Adds one record to the buffer. seq and head are the writer's running copies. */
static int compose(audit_t *a, const char *body, size_t body_len, uint64_t *seq, char *head)
{
  if (reserve(a, body_len + HEAD_MAX))
    return SMPL_ENOMEM;
  char *line = a->buf + a->used;
  int n = snprintf(line, HEAD_MAX, "{\"seq\":%llu,\"prev\":\"%s\",", (unsigned long long)++*seq, head);
  if (n < 0 || n >= HEAD_MAX)
    return SMPL_ELIMIT;
  memcpy(line + n, body + 1, body_len - 1);
  size_t len = (size_t)n + body_len - 1;
  audit_hash(line, len, head);
  line[len] = '\n';
  a->used += len + 1;
  return SMPL_OK;
}

static int write_all(audit_t *a)
{
  for (size_t at = 0; at < a->used;) {
    ssize_t n = write(a->fd, a->buf + at, a->used - at);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return SMPL_ESYS;
    at += (size_t)n;
  }
  return fdatasync(a->fd) < 0 ? SMPL_ESYS : SMPL_OK;
}

/* The first record of a file that follows another. */
static int compose_continued(audit_t *a, uint64_t *seq, char *head)
{
  char body[HEAD_MAX], when[CLOCK_ISO_MAX];
  int n = snprintf(body, sizeof body, "{\"time\":\"%s\",\"event\":\"%s\",\"before\":\"%s\"}",
                   clock_wall_iso(when), AUDIT_CONTINUED, a->continues);
  return n < 0 || n >= HEAD_MAX ? SMPL_ELIMIT : compose(a, body, (size_t)n, seq, head);
}

/* Writes and syncs a group. On failure the file is cut back to where it was: no half record stays. With the
 * file's lock held. */
static int write_group(audit_t *a, const fifo_t *group)
{
  if (a->torn)
    cut_back(a);
  if (!may_write(a))
    return SMPL_ESYS;
  uint64_t seq = a->seq;
  char head[AUDIT_HASH_TEXT];
  memcpy(head, a->head, sizeof head);
  a->used = 0;
  int err = a->continues != NULL ? compose_continued(a, &seq, head) : SMPL_OK;
  FIFO_EACH(const entry_t, e, group, next)
    err = err ? err : compose(a, e->body, e->len, &seq, head);
  if (!err)
    err = write_all(a);
  if (err) {
    int saved = errno;
    cut_back(a);
    errno = saved;
    return err;
  }
  a->size += a->used;
  a->continues = NULL;
  pthread_mutex_lock(&a->lock);
  a->seq = seq;
  memcpy(a->head, head, sizeof head);
  pthread_mutex_unlock(&a->lock);
  return SMPL_OK;
}

/* Hands back what was written, or what fails because somebody waits for it; keeps the rest for the next
 * attempt. Called with the lock held. */
static void settle(audit_t *a, fifo_t *group, int err)
{
  fifo_t keep;
  fifo_init(&keep);
  for (entry_t *e; (e = FIFO_TAKE(group, entry_t, next)) != NULL;) {
    e->err = err;
    if (err && e->cb == NULL) {
      fifo_add(&keep, &e->next);
      continue;
    }
    a->waiting--;
    if (e->cb != NULL)
      fifo_add(&a->done, &e->next);
    else
      entry_free(e);
  }
  if (!fifo_empty(&keep)) { /* before what came meanwhile */
    fifo_append(&keep, &a->todo);
    fifo_append(&a->todo, &keep);
    a->urgent = true;
  }
}

static void note_failure(audit_t *a, int err)
{
  bool was = a->failing;
  a->failing = err != SMPL_OK;
  if (a->failing && !was)
    log_error(
        "audit: records cannot be written (%s): no session starts and no connection opens until they can",
        a->wrong != NULL   ? a->wrong
        : err == SMPL_ESYS ? strerror(errno)
                           : smpl_strerror(err));
  if (!a->failing && was)
    log_info("audit: records are written again");
}

static struct timespec after(int ms)
{
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += ms / 1000;
  return until;
}

/* A file that is tampered with while nothing is written shows too. With the lock held; lets go of it. */
static void look_at_file(audit_t *a)
{
  pthread_mutex_unlock(&a->lock);
  pthread_mutex_lock(&a->file);
  bool fine = may_write(a);
  uint64_t free_bytes = measure(a);
  pthread_mutex_unlock(&a->file);
  pthread_mutex_lock(&a->lock);
  a->free_bytes = free_bytes;
  uv_async_send(&a->wake);
  if (!fine)
    note_failure(a, SMPL_ESYS); /* the next record that is written says that all is well again */
}

/* How many wait for a record of the queue, counted up to `most`. */
static unsigned waiters(const fifo_t *q, unsigned most)
{
  unsigned n = 0;
  FIFO_EACH(const entry_t, e, q, next) {
    n += e->cb != NULL;
    if (n == most)
      break;
  }
  return n;
}

/* While the disk refuses, a group that somebody waits for is tried at once, the others after a pause. */
static void wait_for_work(audit_t *a)
{
  while (!a->urgent && !a->stop) {
    struct timespec look = after(AUDIT_CHECK_MS);
    if (pthread_cond_timedwait(&a->work, &a->lock, &look) == ETIMEDOUT)
      look_at_file(a);
  }
  if (!a->failing || a->stop)
    return;
  struct timespec until = after(AUDIT_RETRY_MS);
  while (!a->stop && waiters(&a->todo, 1) == 0)
    if (pthread_cond_timedwait(&a->work, &a->lock, &until) == ETIMEDOUT)
      return;
}

/* While several wait for each sync, those that come a moment later are worth waiting for: one sync is dearer
 * than what they lose. Whoever waits alone is not held up. With the lock held; lets go of it. */
static void gather(audit_t *a)
{
  if (!a->crowded || a->stop)
    return;
  pthread_mutex_unlock(&a->lock);
  clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){0, AUDIT_GATHER_US * 1000L}, NULL);
  pthread_mutex_lock(&a->lock);
}

static void *writer(void *arg)
{
  audit_t *a = arg;
  crash_thread();
  pthread_mutex_lock(&a->lock);
  for (;;) {
    wait_for_work(a);
    gather(a);
    if (fifo_empty(&a->todo))
      break; /* told to stop, and nothing is left */
    fifo_t group;
    fifo_init(&group);
    fifo_append(&group, &a->todo);
    bool last = a->stop;
    a->urgent = false;
    a->crowded = waiters(&group, 2) == 2;
    pthread_mutex_unlock(&a->lock);
    pthread_mutex_lock(&a->file);
    int err = write_group(a, &group);
    uint64_t free_bytes = measure(a);
    pthread_mutex_unlock(&a->file);
    pthread_mutex_lock(&a->lock);
    a->free_bytes = free_bytes;
    note_failure(a, err);
    settle(a, &group, err);
    uv_async_send(&a->wake);
    if (err && last)
      break;
  }
  pthread_mutex_unlock(&a->lock);
  return NULL;
}

/* ---- the loop's side ---- */

static void on_wake(uv_async_t *wake)
{
  audit_t *a = wake->data;
  for (;;) {
    pthread_mutex_lock(&a->lock);
    entry_t *e = FIFO_TAKE(&a->done, entry_t, next);
    uint64_t free_bytes = a->free_bytes;
    pthread_mutex_unlock(&a->lock);
    if (e == NULL && a->on_space != NULL)
      a->on_space(a->space_ctx, free_bytes);
    if (e == NULL)
      return;
    e->cb(e->ctx, e->err);
    entry_free(e);
  }
}

/* The record as text, its time before its own keys: without a second tree, since each connection has two
 * records. */
static char *timed(const json_t *record, size_t *len)
{
  enum { SHORT = 1024, TIME_MAX = sizeof "{\"time\":\"\"," + CLOCK_ISO_MAX };
  char when[CLOCK_ISO_MAX], head[TIME_MAX], body[SHORT];
  int head_len = snprintf(head, sizeof head, "{\"time\":\"%s\",", clock_wall_iso(when));
  size_t body_len = json_dumpb(record, body, sizeof body, JSON_COMPACT);
  if (head_len < 0 || head_len >= TIME_MAX || body_len < 2)
    return NULL;
  char *text = malloc((size_t)head_len + body_len);
  if (text == NULL)
    return NULL;
  char *at = text + head_len - 1; /* where the body's brace would stand */
  if (body_len <= sizeof body)
    memcpy(at, body, body_len);
  else
    json_dumpb(record, at, body_len, JSON_COMPACT);
  memcpy(text, head, (size_t)head_len);
  *len = (size_t)head_len - 1 + body_len;
  return text;
}

static void on_lazy(uv_timer_t *timer)
{
  audit_t *a = timer->data;
  pthread_mutex_lock(&a->lock);
  if (!fifo_empty(&a->todo)) {
    a->urgent = true;
    pthread_cond_signal(&a->work);
  }
  pthread_mutex_unlock(&a->lock);
}

int audit_append_sized(audit_t *a, json_t *record, bool lazy, audit_cb cb, void *ctx, size_t *bytes)
{
  if (bytes != NULL)
    *bytes = 0;
  entry_t *e = calloc(1, sizeof *e);
  if (e != NULL)
    e->body = timed(record, &e->len);
  json_decref(record);
  if (e == NULL || e->body == NULL) {
    free(e);
    return SMPL_ENOMEM;
  }
  if (bytes != NULL)
    *bytes = e->len + HEAD_BYTES;
  e->cb = cb;
  e->ctx = ctx;
  pthread_mutex_lock(&a->lock);
  bool full = a->waiting >= AUDIT_QUEUE_MAX || e->len + HEAD_MAX >= AUDIT_LINE_MAX;
  if (!full) {
    a->waiting++;
    fifo_add(&a->todo, &e->next);
  }
  if (!full && !lazy) {
    a->urgent = true;
    pthread_cond_signal(&a->work);
  }
  pthread_mutex_unlock(&a->lock);
  if (!full && lazy && !uv_is_active((uv_handle_t *)&a->lazy))
    uv_timer_start(&a->lazy, on_lazy, AUDIT_LAZY_MS, 0);
  if (full) {
    log_error("audit: a record was dropped, %d wait for the disk", AUDIT_QUEUE_MAX);
    entry_free(e);
  }
  return full ? SMPL_ELIMIT : SMPL_OK;
}

int audit_append(audit_t *a, json_t *record, audit_cb cb, void *ctx)
{
  return audit_append_sized(a, record, false, cb, ctx, NULL);
}

int audit_append_lazy(audit_t *a, json_t *record)
{
  return audit_append_sized(a, record, true, NULL, NULL, NULL);
}

void audit_watch_space(audit_t *a, audit_space_cb cb, void *ctx)
{
  a->on_space = cb;
  a->space_ctx = ctx;
}

void audit_status(audit_t *a, audit_status_t *out)
{
  pthread_mutex_lock(&a->lock);
  *out = (audit_status_t){.failing = a->failing,
                          .written = a->seq,
                          .waiting = a->waiting,
                          .lost = a->lost,
                          .free_bytes = a->free_bytes};
  memcpy(out->head, a->head, sizeof out->head);
  pthread_mutex_unlock(&a->lock);
}

/* ---- start and end ---- */

static int check_file(int fd, const char *path, diag_t *diag)
{
  struct stat st;
  if (fstat(fd, &st) < 0)
    return diag_fail_errno(diag, "%s", path);
  if (!S_ISREG(st.st_mode))
    return diag_fail(diag, SMPL_EINVAL, "%s: the audit must be a regular file", path);
  if ((st.st_mode & 077) != 0)
    return diag_fail(diag, SMPL_EDENIED,
                     "%s: the audit must not be open to others (mode %03o); try: chmod 600 %s", path,
                     (unsigned)(st.st_mode & 0777), path);
  if (flock(fd, LOCK_EX | LOCK_NB) < 0)
    return errno == EWOULDBLOCK ? diag_fail(diag, SMPL_EBUSY, "%s: in use by another process", path)
                                : diag_fail_errno(diag, "%s: cannot be locked", path);
  return SMPL_OK;
}

/* *fd is -1 on error. */
static int open_file(const char *path, int *fd, diag_t *diag)
{
  *fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW, 0600);
  if (*fd < 0)
    return diag_fail_errno(diag, "%s: the audit cannot be opened", path);
  int err = check_file(*fd, path, diag);
  if (err) {
    close(*fd);
    *fd = -1;
  }
  return err;
}

int audit_reopen(audit_t *a, bool *reopened, diag_t *diag)
{
  struct stat own, there;
  int fd = -1, err = SMPL_OK;
  *reopened = false;
  pthread_mutex_lock(&a->file);
  if (fstat(a->fd, &own) < 0)
    err = diag_fail_errno(diag, "%s", a->path);
  else if (lstat(a->path, &there) == 0 && there.st_dev == own.st_dev && there.st_ino == own.st_ino)
    goto out;
  if (!err)
    err = open_file(a->path, &fd, diag);
  if (!err && fstat(fd, &there) < 0)
    err = diag_fail_errno(diag, "%s", a->path);
  else if (!err && there.st_size != 0)
    err = diag_fail(diag, SMPL_EINVAL,
                    "%s: another file than the audit, and not empty; move it away and reload", a->path);
  if (err) {
    if (fd >= 0)
      close(fd);
    goto out;
  }
  if (a->continues == NULL)
    a->continues = own.st_nlink == 0 ? "removed" : (uint64_t)own.st_size != a->size ? "changed" : "moved";
  if (own.st_nlink == 0)
    log_error("audit: the file was removed; its records are lost, the new one begins with number %llu",
              (unsigned long long)a->seq + 1);
  close(a->fd);
  a->fd = fd;
  a->size = 0;
  a->moved_at = 0;
  a->torn = false;
  *reopened = true;
out:
  pthread_mutex_unlock(&a->file);
  return err;
}

/* The torn end of the file, for the record that tells of it. */
static json_t *torn_record(int fd, const audit_tail_t *tail)
{
  char raw[TORN_SHOWN_MAX], shown[TORN_SHOWN_MAX * 4 + 1];
  size_t want = tail->torn < sizeof raw ? (size_t)tail->torn : sizeof raw;
  ssize_t n = pread(fd, raw, want, (off_t)tail->whole);
  text_escape(shown, sizeof shown, raw, n > 0 ? (size_t)n : 0);
  return json_pack("{s:s, s:I, s:s}", "event", "audit-recovered", "torn_bytes", (json_int_t)tail->torn,
                   "torn_start", shown);
}

/* Whether a file that this one was rotated into ends with what was kept. */
static bool was_moved(const char *path, const audit_kept_t *kept)
{
  rotated_t files;
  bool found = false;
  if (rotated_find(path, &files, NULL))
    return false;
  for (size_t i = 0; i < files.count && !found; i++) {
    audit_tail_t tail;
    int fd = open(files.paths[i], O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd >= 0 && audit_file_tail(fd, files.paths[i], kept->seq, kept->head, &tail, NULL) == SMPL_OK) {
      found = tail.kept_found;
      audit_tail_free(&tail);
    }
    if (fd >= 0)
      close(fd);
  }
  rotated_free(&files);
  return found;
}

/* An empty file, where records had been written. */
static void go_on_after_kept(audit_t *a, const char *path, const audit_kept_t *kept)
{
  bool moved = was_moved(path, kept);
  a->seq = kept->seq;
  memcpy(a->head, kept->head, sizeof a->head);
  a->continues = moved ? "moved" : "removed";
  a->lost = !moved;
  if (moved)
    log_info("audit: %s was moved away while no bastion had it; the new one begins with number %llu", path,
             (unsigned long long)a->seq + 1);
  else
    log_error("audit: %s was removed while no bastion had it: records up to number %llu are lost; the new "
              "one begins "
              "with the next",
              path, (unsigned long long)a->seq);
}

static int tell_lost(audit_t *a, const char *path, const audit_kept_t *kept, const audit_tail_t *tail)
{
  log_error("audit: %s was changed while no bastion had it: record %llu is not there as it was written", path,
            (unsigned long long)kept->seq);
  a->lost = true;
  return audit_append(a,
                      json_pack("{s:s, s:I, s:s, s:I}", "event", AUDIT_LOST, "kept_seq",
                                (json_int_t)kept->seq, "kept_head", kept->head, "found_seq",
                                (json_int_t)tail->seq),
                      NULL, NULL);
}

static int recover(audit_t *a, const char *path, const audit_kept_t *kept, diag_t *diag)
{
  audit_tail_t tail;
  int err = audit_file_tail(a->fd, path, kept->seq, kept->head, &tail, diag);
  if (err)
    return err;
  a->seq = tail.seq;
  a->size = tail.whole;
  memcpy(a->head, tail.head, sizeof a->head);
  if (kept->seq > 0 && tail.seq == 0 && tail.torn == 0)
    go_on_after_kept(a, path, kept);
  else if (kept->seq > 0 && !tail.kept_found && kept->seq >= tail.first)
    err = tell_lost(a, path, kept, &tail);
  if (!err && tail.torn > 0) {
    json_t *record = torn_record(a->fd, &tail);
    if (ftruncate(a->fd, (off_t)tail.whole) < 0)
      err = diag_fail_errno(diag, "%s: a torn record cannot be cut off", path);
    else
      log_warn("audit: the last record of %s was only partly written; %llu bytes are set aside in a record "
               "of their own",
               path, (unsigned long long)tail.torn);
    if (!err)
      err = audit_append(a, record, NULL, NULL);
    else
      json_decref(record);
  }
  for (size_t i = 0; i < tail.open_count && !err; i++)
    err = audit_append(a,
                       json_pack("{s:s, s:s, s:s, s:b}", "event", "session-end", "session", tail.open[i],
                                 "reason", reason_name(REASON_BASTION_DIED), "recovered", 1),
                       NULL, NULL);
  if (tail.open_count > 0)
    log_warn("audit: %zu sessions of an earlier run had no end; closed in the record", tail.open_count);
  audit_tail_free(&tail);
  return err;
}

static void init_queues(audit_t *a)
{
  pthread_condattr_t attr;
  pthread_condattr_init(&attr);
  pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
  pthread_cond_init(&a->work, &attr);
  pthread_condattr_destroy(&attr);
  pthread_mutex_init(&a->lock, NULL);
  pthread_mutex_init(&a->file, NULL);
  fifo_init(&a->todo);
  fifo_init(&a->done);
}

int audit_open(uv_loop_t *loop, const char *path, const audit_kept_t *kept, audit_t **out, diag_t *diag)
{
  static const audit_kept_t nothing = {0};
  *out = NULL;
  audit_t *a = calloc(1, sizeof *a);
  if (a == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  init_queues(a);
  a->fd = -1;
  a->path = strdup(path);
  int err = a->path != NULL ? open_file(path, &a->fd, diag) : diag_fail(diag, SMPL_ENOMEM, "out of memory");
  if (!err)
    err = recover(a, path, kept != NULL ? kept : &nothing, diag);
  if (!err)
    a->free_bytes = measure(a);
  if (!err && uv_async_init(loop, &a->wake, on_wake) != 0)
    err = diag_fail(diag, SMPL_ENOMEM, "audit: no event for the writer");
  if (err)
    goto fail;
  a->wake.data = a;
  uv_timer_init(loop, &a->lazy);
  a->lazy.data = a;
  a->handles = 2;
  if (pthread_create(&a->thread, NULL, writer, a) != 0) {
    uv_close((uv_handle_t *)&a->wake, NULL);
    uv_close((uv_handle_t *)&a->lazy, NULL);
    uv_run(loop, UV_RUN_NOWAIT);
    err = diag_fail(diag, SMPL_ESYS, "audit: the writer's thread cannot be started");
    goto fail;
  }
  *out = a;
  return SMPL_OK;
fail:
  for (entry_t *e; (e = FIFO_TAKE(&a->todo, entry_t, next)) != NULL;)
    entry_free(e);
  if (a->fd >= 0)
    close(a->fd);
  free(a->path);
  free(a);
  return err;
}

static void on_closed(uv_handle_t *handle)
{
  audit_t *a = handle->data;
  if (--a->handles == 0)
    free(a);
}

void audit_finish(audit_t *a)
{
  if (a->finished)
    return;
  pthread_mutex_lock(&a->lock);
  a->stop = true;
  pthread_cond_signal(&a->work);
  pthread_mutex_unlock(&a->lock);
  pthread_join(a->thread, NULL);
  a->finished = true;
}

void audit_close(audit_t *a)
{
  if (a == NULL)
    return;
  audit_finish(a);
  uint64_t lost = 0;
  for (entry_t *e; (e = FIFO_TAKE(&a->todo, entry_t, next)) != NULL; lost++)
    entry_free(e);
  if (lost > 0)
    log_error("audit: %llu records could not be written and are lost", (unsigned long long)lost);
  for (entry_t *e; (e = FIFO_TAKE(&a->done, entry_t, next)) != NULL;)
    entry_free(e);
  pthread_mutex_destroy(&a->lock);
  pthread_mutex_destroy(&a->file);
  pthread_cond_destroy(&a->work);
  close(a->fd);
  free(a->path);
  free(a->buf);
  uv_close((uv_handle_t *)&a->lazy, on_closed);
  uv_close((uv_handle_t *)&a->wake, on_closed);
}
