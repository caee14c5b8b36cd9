/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator of the account service has to look into (app/store/accounts.h), in a SQLite file. */
#pragma once

#include "app/store/accounts.h"
#include "app/store/sqlite/storage.h"

/* Any connection. revocations: the file's path, NULL if there is none; then nothing is missing in it. */
int account_counts(storage_db_t *db, const char *revocations, account_counts_t *out);
/* The same; calls say with a sentence for each kind. */
int account_each_notice(storage_db_t *db, const char *revocations, account_counts_t *out,
                        void (*say)(void *ctx, const char *text), void *ctx);
