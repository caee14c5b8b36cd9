/* SPDX-License-Identifier: Apache-2.0 */
/* Writing jobs of a service run by hand on one connection, as the writer thread would. */
#pragma once

#include "app/store/edit.h"
#include "app/store/sqlite/storage_db.h"

#define TENANT  "d290f1ee-6c54-4b01-90e6-d701748f0851"
#define ACCOUNT TENANT
#define OTHER   "11111111-2222-4333-8444-555555555555"

/* A database of the schema in a folder of its own, knowing the accounts TENANT and OTHER. */
storage_db_t *change_db_open(const storage_schema_t *schema);
/* One of the account service, with ACCOUNT. */
storage_db_t *accounts_db_open(void);
void change_db_close(storage_db_t *db);

/* Runs the change for account; returns its status (of success or of the problem) and leaves the rest in *out.
 */
int change_apply(storage_db_t *db, int (*run)(storage_db_t *, edit_t *), const char *account, const char *id,
                 const char *new_id, const char *attributes, edit_t *out);
