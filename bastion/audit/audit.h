/* SPDX-License-Identifier: Apache-2.0 */
/* The audit: one JSON object a line, appended by one writer thread, synced in groups (invariant 5). The
 * thread gives each record its sequence number and the SHA-256 of the line before it, so a missing or changed
 * record shows.
 *
 * Before each group the thread looks at the file. A file that somebody removed, truncated or wrote to is no
 * record any more, and fails like a disk that refuses. That lasts until audit_reopen has another, or, after a
 * rename, the file is back.
 *
 * Who needs its record on the disk before going on passes a callback: such a record fails at once when it
 * cannot be written. A record without callback is kept and tried again until it can be. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "bastion/limits.h"
#include "common/base/diag.h"

typedef struct audit audit_t;
struct audit_kept;

/* err: SMPL_OK when the record is on the disk, SMPL_ESYS when it could not be written. On the loop's thread,
 * never from inside audit_append. */
typedef void (*audit_cb)(void *ctx, int err);

typedef struct audit_state { /* not audit_status: linux/audit.h has one */
  bool failing;              /* the last attempt to write did not succeed */
  uint64_t written;          /* records in the file */
  uint64_t waiting;
  char head[AUDIT_HASH_TEXT]; /* hash of the last record */
  bool lost;                  /* at the start records were missing that had been written */
  uint64_t free_bytes; /* that this process may still write on the file's disk; UINT64_MAX: not known */
} audit_status_t;

/* How much is free on the file's disk. */
typedef void (*audit_space_cb)(void *ctx, uint64_t free_bytes);

/* Opens the file (made with mode 0600), takes its lock, checks its end: a last line that was only partly
 * written is cut off and told in a record of its own, sessions without an end get one. SMPL_EBUSY if another
 * process holds the file, SMPL_EINVAL if it is not an audit file. */
/* kept: the head that a run before left (audit_kept.h), NULL or seq 0 for none. An empty file where there
 * were records goes on with their number and hash: they were moved to a rotated file, or are lost. A file
 * without the record that was kept, or with another one there, gets a record that says so (AUDIT_LOST). Both
 * are errors in the log, unless the file was moved. */
int audit_open(uv_loop_t *loop, const char *path, const struct audit_kept *kept, audit_t **out, diag_t *diag);
/* Writes the waiting records once (a failure is logged, and they are lost), stops the thread, frees.
 * Callbacks that did not run are dropped. The loop must run once more for its handle. NULL allowed. */
void audit_close(audit_t *audit);
/* The first half of that, once: writes what waits and stops the thread; audit_status tells the last head
 * afterwards. */
void audit_finish(audit_t *audit);

/* Takes over the reference to record: an object whose first key is "event". Time, sequence number and hash
 * are put before it. cb may be NULL. SMPL_ELIMIT when the queue is full (cb is not called then), SMPL_ENOMEM.
 * */
int audit_append(audit_t *audit, json_t *record, audit_cb cb, void *ctx);

/* The same, and *bytes is what the record takes on the disk; bytes may be NULL. lazy: as audit_append_lazy,
 * without cb. */
int audit_append_sized(audit_t *audit, json_t *record, bool lazy, audit_cb cb, void *ctx, size_t *bytes);

/* The same without callback, for a record of what has happened and need not be known at once: it is written
 * with the next one of the others, or after AUDIT_LAZY_MS. */
int audit_append_lazy(audit_t *audit, json_t *record);

/* Goes on in a new file if the one at the path is not the open one any more: what stands there must be empty,
 * or is made. Its first record, audit-continued, goes on with number and hash of the one before. *reopened
 * says whether it did. On error nothing changes. The loop's thread; waits for the group that is being
 * written. */
int audit_reopen(audit_t *audit, bool *reopened, diag_t *diag);

/* Has the writer's thread ask how much is free, after each group that it writes and every AUDIT_CHECK_MS. cb
 * comes on the loop's thread, never from inside this. */
void audit_watch_space(audit_t *audit, audit_space_cb cb, void *ctx);

void audit_status(audit_t *audit, audit_status_t *out);
