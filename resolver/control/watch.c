/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/control/watch.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "resolver/limits.h"

enum { BUFFER = 16 << 10, EVENTS = IN_CLOSE_WRITE | IN_MOVED_TO };

static const char swapped_folder[] = "..data";

/* A name within a watched folder. */
typedef struct file {
  int folder; /* inotify's number */
  char *name;
} file_t;

typedef struct files {
  file_t *items; /* sorted */
  size_t count;
} files_t;

struct watch {
  uv_poll_t poll;
  uv_timer_t timer;
  int fd;
  void (*changed)(void *ctx);
  void *ctx;
  files_t files;
  bool all;          /* any file in these folders counts */
  uint64_t first_ms; /* of the changes not told yet */
  unsigned handles;  /* still open */
};

static int file_order(const void *left, const void *right)
{
  const file_t *a = left;
  const file_t *b = right;
  return a->folder != b->folder ? (a->folder > b->folder) - (a->folder < b->folder)
                                : strcmp(a->name, b->name);
}

static void files_free(files_t *f)
{
  for (size_t i = 0; i < f->count; i++)
    free(f->items[i].name);
  free(f->items);
  *f = (files_t){0};
}

/* The next change within WATCH_QUIET_MS puts it off, but not for ever. */
static void on_quiet(uv_timer_t *timer)
{
  watch_t *w = timer->data;
  w->first_ms = 0;
  w->changed(w->ctx);
}

static void note_change(watch_t *w)
{
  uint64_t now = clock_mono_ms();
  if (w->first_ms == 0)
    w->first_ms = now;
  uint64_t waited = now - w->first_ms;
  uint64_t left = waited < WATCH_WAIT_MAX_MS ? WATCH_WAIT_MAX_MS - waited : 0;
  uv_timer_start(&w->timer, on_quiet, left < WATCH_QUIET_MS ? left : WATCH_QUIET_MS, 0);
}

static bool is_ours(const watch_t *w, const struct inotify_event *e)
{
  if (e->mask & IN_Q_OVERFLOW)
    return true;
  if (e->len == 0)
    return false;
  file_t key = {e->wd, (char *)(uintptr_t)e->name};
  return w->all || strcmp(e->name, swapped_folder) == 0 ||
         (w->files.count > 0 &&
          bsearch(&key, w->files.items, w->files.count, sizeof key, file_order) != NULL);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
  watch_t *w = poll->data;
  _Alignas(struct inotify_event) char buf[BUFFER];
  (void)status;
  (void)events;
  ssize_t n = read(w->fd, buf, sizeof buf);
  bool ours = false;
  for (ssize_t at = 0; at < n;) {
    const struct inotify_event *e = (const struct inotify_event *)(const void *)(buf + at);
    ours = is_ours(w, e) || ours;
    at += (ssize_t)(sizeof *e + e->len);
  }
  if (ours)
    note_change(w);
}

int watch_open(uv_loop_t *loop, void (*changed)(void *ctx), void *ctx, watch_t **out, diag_t *diag)
{
  *out = NULL;
  watch_t *w = calloc(1, sizeof *w);
  if (w == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  w->changed = changed;
  w->ctx = ctx;
  w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (w->fd < 0 || uv_poll_init(loop, &w->poll, w->fd) != 0) {
    int err = diag_fail_errno(diag, "watch: inotify");
    if (w->fd >= 0)
      close(w->fd);
    free(w);
    return err;
  }
  uv_timer_init(loop, &w->timer);
  w->poll.data = w;
  w->timer.data = w;
  w->handles = 2;
  *out = w;
  if (uv_poll_start(&w->poll, UV_READABLE, on_readable) != 0) {
    watch_close(w);
    *out = NULL;
    return diag_fail(diag, SMPL_ESYS, "watch: inotify cannot be polled");
  }
  return SMPL_OK;
}

static void on_closed(uv_handle_t *handle)
{
  watch_t *w = handle->data;
  if (--w->handles > 0)
    return;
  close(w->fd);
  files_free(&w->files);
  free(w);
}

void watch_close(watch_t *w)
{
  if (w == NULL)
    return;
  uv_close((uv_handle_t *)&w->poll, on_closed);
  uv_close((uv_handle_t *)&w->timer, on_closed);
}

static int add(watch_t *w, files_t *f, const char *path, diag_t *diag)
{
  const char *slash = strrchr(path, '/');
  const char *name = slash != NULL ? slash + 1 : path;
  char *folder = slash == NULL   ? strdup(".")
                 : slash == path ? strdup("/")
                                 : strndup(path, (size_t)(slash - path));
  char *copy = strdup(name);
  if (folder == NULL || copy == NULL) {
    free(folder);
    free(copy);
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  }
  int number = inotify_add_watch(w->fd, folder, EVENTS);
  bool absent = number < 0 && (errno == ENOENT || errno == ENOTDIR || errno == EACCES);
  if (absent) { /* of a zone that could not be read: nothing changes there that could be noticed */
    free(folder);
    free(copy);
    return SMPL_OK;
  }
  int err = number < 0 ? diag_fail_errno(diag, "watch: folder '%s'%s", folder,
                                         errno == ENOSPC ? " (see fs.inotify.max_user_watches)" : "")
                       : SMPL_OK;
  free(folder);
  if (err)
    free(copy);
  else
    f->items[f->count++] = (file_t){number, copy};
  return err;
}

/* Folders that no file of f is in need no watching any more. */
static void drop_unused(watch_t *w, const files_t *f)
{
  int last = -1;
  for (size_t i = 0; i < w->files.count; i++) {
    int folder = w->files.items[i].folder;
    bool used = folder == last;
    for (size_t lo = 0, hi = f->count; !used && lo < hi;) {
      size_t mid = lo + (hi - lo) / 2;
      used = f->items[mid].folder == folder;
      if (f->items[mid].folder < folder)
        lo = mid + 1;
      else
        hi = mid;
    }
    if (!used)
      inotify_rm_watch(w->fd, folder);
    last = folder;
  }
}

int watch_set(watch_t *w, const char *config, const snapshot_t *s, diag_t *diag)
{
  size_t count = 1;
  for (size_t i = 0; i < snapshot_zone_count(s); i++)
    count += zone_file_count(snapshot_zone(s, i));
  files_t f = {.items = calloc(count, sizeof(file_t))};
  if (f.items == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  int err = add(w, &f, config, diag);
  for (size_t i = 0; i < snapshot_zone_count(s); i++) {
    const zone_t *z = snapshot_zone(s, i);
    for (size_t j = 0; !err && j < zone_file_count(z); j++)
      err = add(w, &f, zone_file(z, j), diag);
  }
  if (err) {
    files_free(&f);
    return err;
  }
  qsort(f.items, f.count, sizeof *f.items, file_order);
  drop_unused(w, &f);
  files_free(&w->files);
  w->files = f;
  w->all = false;
  return SMPL_OK;
}

void watch_all(watch_t *w)
{
  if (w != NULL)
    w->all = true;
}
