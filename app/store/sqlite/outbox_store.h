/* SPDX-License-Identifier: Apache-2.0 */
/* The outbox in a SQLite file: app/store/accounts.h has what it is asked. */
#pragma once

#include "app/store/accounts.h"
#include "app/store/sqlite/storage.h"

/* Writer thread: the rows of a new account. sisters ends with NULL. */
int outbox_add(storage_db_t *db, const char *const *sisters, const char *account);
int outbox_sow(storage_db_t *db, const outbox_sow_t *sow);
int outbox_done(storage_db_t *db, outbox_done_t *done);
/* Any connection. */
int outbox_due(storage_db_t *db, outbox_due_t *due);
int outbox_told(storage_db_t *db, outbox_told_t *told);
