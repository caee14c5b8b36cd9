/* SPDX-License-Identifier: Apache-2.0 */
/* The database's identity in its file. */
#pragma once

#include "app/store/identity.h"
#include "app/store/sqlite/storage.h"

/* Writing connection, in a transaction: makes the table and its row if they are not there. */
int identity_ensure(storage_db_t *db);
/* Any connection. SMPL_ENOENT: the file is older than identities. */
int identity_read(storage_db_t *db, identity_t *out);
/* Writer thread: one more change was heard of. */
int identity_heard(storage_db_t *db);
/* Writing connection: from now on it counts as another database. */
int identity_renew(storage_db_t *db);
