/* SPDX-License-Identifier: Apache-2.0 */
/* One service's data in one SQLite file (WAL, synchronous=FULL): what was acknowledged survives kill -9
 * (invariant 7).
 *
 * Short reads run on the loop's thread, on a connection of their own; long ones are jobs of a reading thread,
 * one after the other. Writes are jobs: queued, run by one writer thread in groups (one transaction, a
 * savepoint each, so that a failing job undoes only itself), and reported back on the loop's thread after
 * COMMIT has returned, never before. Several processes may have the same file open on one machine.
 *
 * Jobs wait in turns (common/base/turns.h) by the account, or whoever else they are for: those of one account
 * run in order, and those of others wait for one of them at a time. A job that took long is paid for with as
 * many turns, and ends its group.
 *
 * SQL texts are string literals or other memory that lives as long as the storage: statements are kept by
 * address. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "app/limits.h"
#include "app/store/store.h"
#include "common/base/diag.h"
#include "common/base/turns.h"

typedef struct storage storage_t;
typedef struct store_connection storage_db_t; /* a connection: the loop's, or the one a job is given */
typedef struct storage_stmt storage_stmt_t;   /* a statement under way */

/* What the file holds. Migration n leads from version n to n + 1; the list ends with NULL and only ever
 * grows. */
typedef struct storage_schema {
  const char *owner; /* "config": a file of another owner is refused */
  const char *const *migrations;
  /* What every file has besides: called after the migrations, in their transaction. NULL for nothing. */
  int (*ensure)(storage_db_t *db);
} storage_schema_t;

/* Opens or creates the file (mode 0600), migrates it, starts the writer. SMPL_EDENIED, SMPL_EINVAL (corrupt,
 * of another service, or newer than this program), SMPL_ESYS, SMPL_ENOMEM; diag names the file. */
int storage_open(uv_loop_t *loop, const char *path, const storage_schema_t *schema, storage_t **out,
                 diag_t *diag);
/* The same; at_start is called with the writing connection once the file is ready, before anything else reads
 * or writes here. Its error is that of the opening. NULL for none. */
int storage_open_at(uv_loop_t *loop, const char *path, const storage_schema_t *schema,
                    int (*at_start)(storage_db_t *db, void *ctx, diag_t *diag), void *ctx, storage_t **out,
                    diag_t *diag);
/* Runs what is queued, ends the thread, closes the file; done is called from the loop. */
void storage_close(storage_t *storage, void (*done)(void *ctx), void *ctx);

/* The reading connection; loop's thread only. */
storage_db_t *storage_reader(storage_t *storage);
/* The same for a read of unknown length: what is read until storage_reader is called again ends with
 * SMPL_EAGAIN when it passes STORAGE_LOOP_MS or STORAGE_LOOP_BYTES. Then it is one for storage_read. */
storage_db_t *storage_reader_bounded(storage_t *storage);
/* The same for a few rows by their keys, whose texts are not counted. */
storage_db_t *storage_reader_timed(storage_t *storage);

/* Loop's thread; costs no system call. False if it cannot be told now. */
bool storage_change(storage_t *storage, store_change_t *out);

/* One write or long read. Embed it in your own struct, which must live until done was called. run: on the
 * writer or the reading thread; a negative result undoes what this job wrote and is handed to done. done: on
 * the loop's thread, with run's result, or SMPL_EBUSY, SMPL_EFULL, SMPL_ESERVER when the transaction failed
 * as a whole. key: of the account, or of whoever it is for; zeroed: the service itself. The rest is
 * storage.c's. */
typedef struct store_job storage_job_t;

/* SMPL_ELIMIT when the queue is full, SMPL_ECLOSED after storage_close: done will not be called then. Another
 * job may be given up for this one: its done is called on a later turn of the loop, with SMPL_ELIMIT. */
int storage_write(storage_t *storage, storage_job_t *job);
/* The same for a read, which may take STORAGE_JOB_MS (SMPL_ETIMEOUT). */
int storage_read(storage_t *storage, storage_job_t *job);
/* Calls done with that error on a later turn of the loop, without running the job. */
void storage_refuse(storage_t *storage, storage_job_t *job, int err);

/* Writes queued and not reported back yet. Loop's thread. */
size_t storage_pending(const storage_t *storage);

/* Arguments ?1, ?2, ... of a statement. Text and blobs are copied. A NULL text is NULL. */
typedef struct storage_arg {
  enum { STORAGE_ARG_INT, STORAGE_ARG_TEXT, STORAGE_ARG_BLOB, STORAGE_ARG_NULL } kind;
  int64_t number;
  const void *data;
  size_t len;
} storage_arg_t;

static inline storage_arg_t storage_int_arg(int64_t number)
{
  return (storage_arg_t){STORAGE_ARG_INT, number, NULL, 0};
}

static inline storage_arg_t storage_text_arg(const char *text)
{
  return (storage_arg_t){text != NULL ? STORAGE_ARG_TEXT : STORAGE_ARG_NULL, 0, text, 0};
}

static inline storage_arg_t storage_blob_arg(const void *data, size_t len)
{
  return (storage_arg_t){STORAGE_ARG_BLOB, 0, data, len};
}

#define STORAGE_INT(n)     storage_int_arg(n)
#define STORAGE_TEXT(s)    storage_text_arg(s)
#define STORAGE_BLOB(p, n) storage_blob_arg(p, n)
#define STORAGE_NULL       ((storage_arg_t){STORAGE_ARG_NULL, 0, NULL, 0})
#define STORAGE_ARGS(...)                                                                                    \
  (const storage_arg_t[]){__VA_ARGS__}, sizeof((const storage_arg_t[]){__VA_ARGS__}) / sizeof(storage_arg_t)
#define STORAGE_NO_ARGS NULL, 0

/* Prepares (once) and binds. Never fails by itself: NULL makes the first storage_step fail. A statement is
 * one run at a time: finish it (storage_step to the end, or storage_finish) before the same text is asked
 * again. */
storage_stmt_t *storage_query(storage_db_t *db, const char *sql, const storage_arg_t *args, size_t count);
/* 1: a row; 0: the end, negative: SMPL_EEXIST (a constraint), SMPL_EBUSY, SMPL_ETIMEOUT (the job has taken
 * too long), SMPL_EFULL and SMPL_ESERVER (logged), SMPL_ENOMEM; both finish the statement. */
int storage_step(storage_stmt_t *stmt);
/* NULL allowed. */
void storage_finish(storage_stmt_t *stmt);
/* Runs a statement that gives no rows. *changed (may be NULL): rows it changed. */
int storage_exec(storage_db_t *db, const char *sql, const storage_arg_t *args, size_t count,
                 int64_t *changed);

/* The first column of the one row that it gives. SMPL_ENOENT if there is none. */
int storage_number(storage_db_t *db, const char *sql, const storage_arg_t *args, size_t count, int64_t *out);

/* Columns of the present row, from 0. Text and blobs live until the next step or finish; text is NULL if the
 * column is. */
int64_t storage_int(storage_stmt_t *stmt, int column);
bool storage_is_null(storage_stmt_t *stmt, int column);
const char *storage_text(storage_stmt_t *stmt, int column);
const void *storage_blob(storage_stmt_t *stmt, int column, size_t *len);
