/* SPDX-License-Identifier: Apache-2.0 */
/* What may not come back by a restore: revoked and deleted keys, deleted accounts. They are rows of the
 * database, and also lines of a file that lies elsewhere, on another disk where there is one: appended and
 * synced before the revocation is acknowledged. A restored database is compared with that file.
 *
 * The file: "smpl-app revocations of database ID", then lines of "N TIME key|account ID". A line that a
 * crash has torn counts as none.
 *
 * Where the file cannot be written, revocations take effect all the same, and their lines follow later: a
 * customer must be able to revoke a key. ready and metrics tell of it. */
#pragma once

#include "app/limits.h"
#include "app/store/sqlite/storage.h"

typedef enum revocation_kind { REVOCATION_KEY, REVOCATION_ACCOUNT } revocation_kind_t;

typedef struct revocations revocations_t;

/* path NULL: there is no file, and rows are kept alone. SMPL_ENOMEM. */
int revocations_new(const char *path, revocations_t **out);
/* For storage_open_at: opens the file, or makes it if there is none; then all rows are written again. What
 * it has and the database has not is revoked in the database. SMPL_EINVAL: the file is of another database,
 * or no such file; SMPL_ESYS. */
int revocations_open(storage_db_t *db, void *revocations, diag_t *diag);
void revocations_free(revocations_t *revocations);

/* NULL: there is no file. */
const char *revocations_path(const revocations_t *revocations);

/* Writer thread, in the job that revokes: the row and, if it can be written, the line. revocations NULL:
 * the row alone. */
int revocations_add(storage_db_t *db, revocations_t *revocations, revocation_kind_t kind, const char *id,
                    int64_t now);

/* Any connection: whether lines are missing in the file. */
int revocations_missing(storage_db_t *db, bool *missing);
/* Writer thread: writes REVOCATIONS_BATCH of them at most. *more: there were as many, and they could be
 * written. first: rows that the file was found without count as missing. */
int revocations_write(storage_db_t *db, revocations_t *revocations, bool first, bool *more);

/* What a restore finds. */
typedef enum revocations_found {
  REVOCATIONS_COMPLETE,
  REVOCATIONS_NOT_CONFIGURED,
  REVOCATIONS_MISSING,
  REVOCATIONS_OTHER, /* another database's, or no such file */
  REVOCATIONS_BEHIND /* it has less than the backup itself */
} revocations_found_t;

/* Writing connection, in a transaction: revokes in the restored database what the file lists. *applied:
 * keys and accounts that this changed. SMPL_ESYS when it cannot be read, with diag. */
int revocations_apply(storage_db_t *db, const char *path, revocations_found_t *found, int64_t *applied,
                      diag_t *diag);
