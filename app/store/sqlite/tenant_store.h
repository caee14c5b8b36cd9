/* SPDX-License-Identifier: Apache-2.0 */
/* The accounts that a product was told of ("tenants"), and how much each has stored. */
#pragma once

#include "app/store/edit.h"
#include "app/store/sqlite/storage.h"

enum {
  TENANT_BYTES_MAX =
      64 << 20, /* that an account may have stored in one product; writes that would add to more are 409 */
};

/* 1 if the account service told of this account, 0 if not (yet), negative on error. Any thread, with its
 * connection. */
int tenants_known(storage_db_t *db, const char *account);
/* For jobs, and for reads that found nothing: SMPL_OK, or an error with the problem filled. */
int tenants_require(storage_db_t *db, const char *account, problem_t *problem);

/* Of a job, before it writes: how many bytes the account has stored. */
int tenants_bytes(storage_db_t *db, const char *account, int64_t *bytes);
/* After it wrote: problem, if it has added to what is more than TENANT_BYTES_MAX now. */
int tenants_check_bytes(storage_db_t *db, const char *account, int64_t before, problem_t *problem);

/* What a product does besides with the rows of its own. */
typedef int (*tenant_provision)(storage_db_t *db, const char *account, int64_t now);
typedef int (*tenant_forget)(storage_db_t *db, const char *account);

/* Writer thread: id and attributes (name, key). provision: rows that a new account begins with; NULL for
 * none. */
int tenant_put(storage_db_t *db, edit_t *edit, tenant_provision provision);
/* Writer thread: id. forget: all rows of the account but for the tenant's own. */
int tenant_remove(storage_db_t *db, edit_t *edit, tenant_forget forget);
/* As a document. SMPL_ENOENT. */
int tenant_get(storage_db_t *db, const char *id, json_t **document);
/* A document of at most so many ids that come after that one. */
int tenant_list(storage_db_t *db, const char *after, int64_t most, json_t **document);
