/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/sqlite/storage.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "app/store/sqlite/data_lock.h"
#include "app/store/sqlite/storage_db.h"
#include "common/base/clock.h"
#include "common/process/crash.h"
#include "common/base/error.h"

enum { READER_NICE = 5 };

typedef struct queue {
  storage_job_t *first, **last;
  size_t count;
} queue_t;

/* A thread with its own connection, which is its alone from its start to its end. */
typedef struct worker {
  storage_t *storage;
  storage_db_t *db;
  uv_thread_t thread;
  uv_cond_t wake;
  turns_t *waiting; /* under the storage's lock */
  size_t pending;   /* loop's thread: queued and not yet reported */
} worker_t;

struct storage {
  storage_db_t *reader; /* loop's thread */
  int in_use;           /* data_lock_use */
  worker_t writer, readers;
  uv_async_t async; /* says: something is in `finished` */

  uv_mutex_t lock;
  queue_t finished; /* under the lock */
  bool ending;      /* the same */

  void (*closed)(void *ctx);
  void *closed_ctx;
};

static void queue_clear(queue_t *q)
{
  *q = (queue_t){.last = &q->first};
}

static void queue_push(queue_t *q, storage_job_t *job)
{
  job->next = NULL;
  *q->last = job;
  q->last = &job->next;
  q->count++;
}

static storage_job_t *queue_pop(queue_t *q)
{
  storage_job_t *job = q->first;
  if (job == NULL)
    return NULL;
  q->first = job->next;
  if (q->first == NULL)
    q->last = &q->first;
  q->count--;
  return job;
}

static int run_job(storage_db_t *db, storage_job_t *job)
{
  int err = storage_db_command(db, "SAVEPOINT job");
  if (err)
    return err;
  storage_db_limit(db, STORAGE_JOB_MS);
  job->err = job->run(db, job);
  storage_db_limit(db, 0);
  if (!storage_db_in_transaction(db)) /* SQLite gave up the whole transaction */
    return job->err == SMPL_EFULL ? SMPL_EFULL : SMPL_ESERVER;
  if (job->err && (err = storage_db_command(db, "ROLLBACK TO job")) != 0)
    return err;
  return storage_db_command(db, "RELEASE job");
}

static storage_job_t *job_of(turns_item_t *item)
{
  return item != NULL ? (storage_job_t *)((char *)item - offsetof(storage_job_t, item)) : NULL;
}

/* The job whose turn it is. NULL when there is none and none will come. */
static storage_job_t *wait_for_job(worker_t *w)
{
  storage_t *s = w->storage;
  uv_mutex_lock(&s->lock);
  while (turns_waiting(w->waiting) == 0 && !s->ending)
    uv_cond_wait(&w->wake, &s->lock);
  storage_job_t *job = job_of(turns_take(w->waiting));
  uv_mutex_unlock(&s->lock);
  return job;
}

/* One more for a group, if one waits. Whoever had the others wait long before does not hold up those in it:
 * he has to begin one. */
static storage_job_t *next_job(worker_t *w)
{
  uv_mutex_lock(&w->storage->lock);
  storage_job_t *job = job_of(turns_take_due(w->waiting));
  uv_mutex_unlock(&w->storage->lock);
  return job;
}

/* The job has run for that long: each STORAGE_GROUP_MS is a turn of its line. */
static void has_run(worker_t *w, storage_job_t *job, uint64_t ms)
{
  uv_mutex_lock(&w->storage->lock);
  turns_give_back(w->waiting, &job->item, ms / STORAGE_GROUP_MS);
  uv_mutex_unlock(&w->storage->lock);
}

/* Runs jobs, the first one and then whose turn it is, until nobody waits, or the group is large or has taken
 * long enough. err: there is no transaction. Then nothing is run, and the others fail with the first: they
 * would wait for the same in vain. */
static int run_jobs(worker_t *w, storage_job_t *job, int err, queue_t *group)
{
  uint64_t started = clock_mono_ms(), now = started;
  bool begun = !err;
  while (job != NULL) {
    uint64_t before = now;
    queue_push(group, job);
    if (!err)
      err = run_job(w->db, job);
    now = clock_mono_ms();
    has_run(w, job, now - before);
    if (group->count == STORAGE_GROUP_MAX || (begun && (err || now - started >= STORAGE_GROUP_MS)))
      break;
    job = next_job(w);
  }
  return err;
}

/* Runs a group in one transaction. Whatever ends the transaction as a whole becomes the result of every job
 * in it: no job may look acknowledged that is not on disk. */
static void run_group(worker_t *w, storage_job_t *first, queue_t *group)
{
  int err = run_jobs(w, first, storage_db_command(w->db, "BEGIN IMMEDIATE"), group);
  if (!err)
    err = storage_db_command(w->db, "COMMIT");
  if (!err)
    return;
  if (storage_db_in_transaction(w->db))
    storage_db_command(w->db, "ROLLBACK");
  for (storage_job_t *job = group->first; job != NULL; job = job->next)
    job->err = err;
}

static void hand_back(storage_t *s, queue_t *group)
{
  uv_mutex_lock(&s->lock);
  for (storage_job_t *job; (job = queue_pop(group)) != NULL;)
    queue_push(&s->finished, job);
  uv_mutex_unlock(&s->lock);
  uv_async_send(&s->async);
}

static void writer_main(void *arg)
{
  worker_t *w = arg;
  storage_job_t *job;
  crash_thread();
  while ((job = wait_for_job(w)) != NULL) {
    queue_t group;
    queue_clear(&group);
    run_group(w, job, &group);
    bool shared = storage_db_others_wrote(w->db);
    hand_back(w->storage, &group);
    if (shared)
      uv_sleep(STORAGE_SHARE_MS);
  }
}

/* Long reads give way to everything else where there is not a processor for each thread. */
static void reader_main(void *arg)
{
  worker_t *w = arg;
  storage_job_t *job;
  crash_thread();
  setpriority(PRIO_PROCESS, (id_t)gettid(), READER_NICE);
  while ((job = wait_for_job(w)) != NULL) {
    queue_t one;
    queue_clear(&one);
    uint64_t started = clock_mono_ms();
    storage_db_limit(w->db, STORAGE_JOB_MS);
    job->err = job->run(w->db, job);
    storage_db_limit(w->db, 0);
    job->took_ms = clock_mono_ms() - started;
    has_run(w, job, job->took_ms);
    queue_push(&one, job);
    hand_back(w->storage, &one);
  }
}

static void report_finished(storage_t *s)
{
  queue_t finished;
  queue_clear(&finished);
  uv_mutex_lock(&s->lock);
  for (storage_job_t *job; (job = queue_pop(&s->finished)) != NULL;)
    queue_push(&finished, job);
  uv_mutex_unlock(&s->lock);
  for (storage_job_t *job; (job = queue_pop(&finished)) != NULL;) {
    (job->reads ? &s->readers : &s->writer)->pending--;
    job->done(job, job->err);
  }
}

static void on_async(uv_async_t *async)
{
  report_finished(async->data);
}

static void free_storage(storage_t *s)
{
  turns_free(s->writer.waiting);
  turns_free(s->readers.waiting);
  storage_db_close(s->reader);
  storage_db_close(s->readers.db);
  storage_db_close(s->writer.db);
  if (s->in_use >= 0)
    close(s->in_use);
  free(s);
}

typedef struct start {
  int (*run)(storage_db_t *db, void *ctx, diag_t *diag); /* NULL for none */
  void *ctx;
} start_t;

static int open_files(storage_t *s, const char *path, const storage_schema_t *schema, const start_t *start,
                      diag_t *diag)
{
  int err = data_lock_use(path, &s->in_use, diag);
  if (!err)
    err = storage_db_open(path, STORAGE_WRITES, &s->writer.db, diag);
  if (!err)
    err = storage_db_prepare(s->writer.db, path, schema, diag);
  if (!err && start->run != NULL)
    err = start->run(s->writer.db, start->ctx, diag);
  if (!err)
    err = storage_db_open(path, STORAGE_READS, &s->reader, diag);
  if (!err)
    err = storage_db_open(path, STORAGE_READS, &s->readers.db, diag);
  return err;
}

static void on_start_failed(uv_handle_t *handle)
{
  free_storage(handle->data);
}

static int start_worker(worker_t *w, void (*run)(void *arg))
{
  if (uv_cond_init(&w->wake) != 0)
    return SMPL_ESYS;
  if (uv_thread_create(&w->thread, run, w) == 0)
    return SMPL_OK;
  uv_cond_destroy(&w->wake);
  return SMPL_ESYS;
}

/* Runs what is queued first. */
static void end_worker(worker_t *w)
{
  uv_mutex_lock(&w->storage->lock);
  w->storage->ending = true;
  uv_cond_signal(&w->wake);
  uv_mutex_unlock(&w->storage->lock);
  uv_thread_join(&w->thread);
  uv_cond_destroy(&w->wake);
}

/* From here on the loop knows us: failures free by a close callback. */
static int start_threads(uv_loop_t *loop, storage_t *s, diag_t *diag)
{
  int code = uv_async_init(loop, &s->async, on_async);
  if (code != 0) {
    free_storage(s);
    return diag_fail(diag, SMPL_ESYS, "cannot start the writer: %s", uv_strerror(code));
  }
  s->async.data = s;
  if (uv_mutex_init(&s->lock) != 0)
    goto no_lock;
  if (start_worker(&s->writer, writer_main))
    goto no_writer;
  if (start_worker(&s->readers, reader_main) == SMPL_OK)
    return SMPL_OK;
  end_worker(&s->writer);
no_writer:
  uv_mutex_destroy(&s->lock);
no_lock:
  uv_close((uv_handle_t *)&s->async, on_start_failed);
  return diag_fail(diag, SMPL_ESYS, "cannot start the database's threads");
}

/* One job at a time is out of each, so that its line pays for it before its next one. */
static bool make_queues(storage_t *s)
{
  s->writer.waiting = turns_new(&(turns_conf_t){.places = STORAGE_QUEUE_MAX, .out = 1});
  s->readers.waiting = turns_new(&(turns_conf_t){.places = STORAGE_READS_MAX, .out = 1});
  return s->writer.waiting != NULL && s->readers.waiting != NULL;
}

int storage_open(uv_loop_t *loop, const char *path, const storage_schema_t *schema, storage_t **out,
                 diag_t *diag)
{
  return storage_open_at(loop, path, schema, NULL, NULL, out, diag);
}

int storage_open_at(uv_loop_t *loop, const char *path, const storage_schema_t *schema,
                    int (*at_start)(storage_db_t *db, void *ctx, diag_t *diag), void *ctx, storage_t **out,
                    diag_t *diag)
{
  const start_t start = {at_start, ctx};
  *out = NULL;
  storage_t *s = calloc(1, sizeof *s);
  if (s == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  s->in_use = -1;
  s->writer.storage = s->readers.storage = s;
  queue_clear(&s->finished);
  int err = make_queues(s) ? open_files(s, path, schema, &start, diag)
                           : diag_fail(diag, SMPL_ENOMEM, "out of memory");
  if (err) {
    free_storage(s);
    return err;
  }
  err = start_threads(loop, s, diag);
  if (!err)
    *out = s;
  return err;
}

static void on_closed(uv_handle_t *handle)
{
  storage_t *s = handle->data;
  void (*closed)(void *) = s->closed;
  void *ctx = s->closed_ctx;
  uv_mutex_destroy(&s->lock);
  free_storage(s);
  closed(ctx);
}

void storage_close(storage_t *s, void (*done)(void *ctx), void *ctx)
{
  s->closed = done;
  s->closed_ctx = ctx;
  end_worker(&s->readers);
  end_worker(&s->writer);
  report_finished(s);
  uv_close((uv_handle_t *)&s->async, on_closed);
}

storage_db_t *storage_reader(storage_t *s)
{
  storage_db_bound(s->reader, 0, 0);
  return s->reader;
}

storage_db_t *storage_reader_bounded(storage_t *s)
{
  storage_db_bound(s->reader, STORAGE_LOOP_MS, STORAGE_LOOP_BYTES);
  return s->reader;
}

storage_db_t *storage_reader_timed(storage_t *s)
{
  storage_db_bound(s->reader, STORAGE_LOOP_MS, SIZE_MAX);
  return s->reader;
}

bool storage_change(storage_t *s, store_change_t *out)
{
  return storage_db_change(s->reader, out);
}

/* Under the lock: it will be reported without having run. */
static void give_up(storage_t *s, storage_job_t *job, int err)
{
  job->err = err;
  queue_push(&s->finished, job);
  uv_async_send(&s->async);
}

void storage_refuse(storage_t *s, storage_job_t *job, int err)
{
  (job->reads ? &s->readers : &s->writer)->pending++;
  uv_mutex_lock(&s->lock);
  give_up(s, job, err);
  uv_mutex_unlock(&s->lock);
}

static int enqueue(worker_t *w, storage_job_t *job)
{
  storage_t *s = w->storage;
  turns_item_t *displaced;
  if (s->closed != NULL)
    return SMPL_ECLOSED;
  job->err = SMPL_OK;
  uv_mutex_lock(&s->lock);
  int err = turns_join(w->waiting, &job->key, 1, &job->item, &displaced);
  if (displaced != NULL)
    give_up(s, job_of(displaced), SMPL_ELIMIT);
  uv_cond_signal(&w->wake);
  uv_mutex_unlock(&s->lock);
  w->pending += !err;
  return err;
}

int storage_write(storage_t *s, storage_job_t *job)
{
  job->reads = false;
  return enqueue(&s->writer, job);
}

int storage_read(storage_t *s, storage_job_t *job)
{
  job->reads = true;
  return enqueue(&s->readers, job);
}

size_t storage_pending(const storage_t *s)
{
  return s->writer.pending;
}
