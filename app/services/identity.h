/* SPDX-License-Identifier: Apache-2.0 */
/* Which database this is. Each file has an id, made with it, and an epoch, made with it and anew by each
 * restore. It also counts what the account service told it (heard). Together they tell the account service
 * that a sister's database is another one than before, or an older one: then everything is told again. */
#pragma once

#include <jansson.h>

#include "app/services/ident.h"
#include "app/services/storage.h"

typedef struct identity {
  char database[UUID_TEXT_MAX];
  char epoch[UUID_TEXT_MAX];
  int64_t heard; /* what changed by a call of the account service; never goes back but by another file */
} identity_t;

/* Writing connection, in a transaction: makes the table and its row if they are not there. */
int identity_ensure(storage_db_t *db);
/* Any connection. SMPL_ENOENT: the file is older than identities. */
int identity_read(storage_db_t *db, identity_t *out);
/* Writer thread: one more change was heard of. */
int identity_heard(storage_db_t *db);
/* Writing connection: from now on it counts as another database. */
int identity_renew(storage_db_t *db);

/* {"database": id, "epoch": id, "heard": n}, as sisters report it; NULL when out of memory. */
json_t *identity_report(const identity_t *identity);
/* What a sister reported, in `meta` of its answer. False if it said nothing of the kind. */
bool identity_of_report(const json_t *body, identity_t *out);
