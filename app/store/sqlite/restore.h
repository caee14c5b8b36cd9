/* SPDX-License-Identifier: Apache-2.0 */
/* Puts a backup in the place of a service's database. Killed at any instant it leaves the old database or
 * the new one, whole: the new one is made ready beside it, the old one's journal is brought into its file,
 * and one rename exchanges them. */
#pragma once

#include <limits.h>

#include "app/store/sqlite/data_file.h"

/* What else a service does to its restored database, in one transaction. negative: with diag. */
typedef int (*restore_hook)(storage_db_t *db, void *ctx, diag_t *diag);

typedef struct restore {
  const char *database, *backup;
  const storage_schema_t *schema;
  restore_hook hook; /* NULL for none */
  void *hook_ctx;
  data_stop stop; /* NULL for none; not asked any more once files change places */
  void *stop_ctx;

  /* restore.c's own until it is done; then what came of it. */
  data_info_t info;          /* of the backup */
  char fresh[PATH_MAX];      /* what is made ready */
  char aside[PATH_MAX + 32]; /* where the old database is kept; "" if there was none */
  bool broken;               /* the old one could not be read: its journals are kept beside it */
  int lock;
} restore_t;

/* One step after the other; restore_run does all of them. For tests that stop in between. */
enum { RESTORE_STEPS = 6 };
int restore_begin(restore_t *restore, diag_t *diag);
int restore_step(restore_t *restore, int step, diag_t *diag);
void restore_end(restore_t *restore);

/* SMPL_EBUSY: the service runs. SMPL_EINVAL: the backup is none of this service, corrupt, or newer than
 * this program. Then, as after every other failure, the old database is there as it was. */
int restore_run(restore_t *restore, diag_t *diag);
