/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator of the account service has to look into although all is served: `ready`, metrics and
 * smpl-app check tell it. */
#pragma once

#include "app/services/storage.h"

enum { NOTICE_COUNT_MAX = 10000 }; /* rows that are counted; more is that many */

typedef struct account_counts {
  int64_t strays;      /* accounts that sisters know and this database does not */
  int64_t held;        /* keys that a restore has disabled */
  int64_t unwritten;   /* revocations that are not in their file yet */
  int64_t untold;      /* rows of accounts that sisters were not told of */
  int64_t told_before; /* the same, that only an earlier database of the sister was told */
} account_counts_t;

/* Any connection. revocations: the file's path, NULL if there is none; then nothing is missing in it. */
int account_counts(storage_db_t *db, const char *revocations, account_counts_t *out);
/* Calls say with a sentence for each kind. */
int account_each_notice(storage_db_t *db, const char *revocations, void (*say)(void *ctx, const char *text),
                        void *ctx);
