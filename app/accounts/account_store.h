/* SPDX-License-Identifier: Apache-2.0 */
/* Accounts in storage, and the schema of everything that the account service keeps. */
#pragma once

#include "app/services/change.h"
#include "app/services/jsonapi.h"
#include "app/services/storage.h"

enum {
  ACCOUNT_NAME_MAX = 255,
  ACCOUNT_KEY_MAX = 64, /* characters of the key made of the name, with NUL */
  ACCOUNT_TOMBSTONE_DAYS =
      90,                   /* a deleted account is remembered, for sisters whose data is older than that */
  ACCOUNT_BURIED_MAX = 256, /* forgotten for good in one transaction */
};

extern const storage_schema_t account_schema;
extern const jsonapi_list_spec_t account_list_spec;
enum { ACCOUNT_FILTER_SEARCH };

/* The account as a resource. SMPL_ENOENT. */
int account_get(storage_db_t *db, const char *id, json_t **resource);
/* A page of resources and, if asked for, the total. */
int account_list(storage_db_t *db, const jsonapi_list_t *list, json_t **data, int64_t *total);
/* Writer thread. Gives the account a key of its own, made of its name. */
int account_insert(storage_db_t *db, const char *id, const char *name, int64_t now);

/* Writer thread: marks it deleted, takes its keys away, and has the sisters told. SMPL_ENOENT. */
int account_delete(storage_db_t *db, const char *id, int64_t now);
/* Writer thread: forgets accounts that were deleted ACCOUNT_TOMBSTONE_DAYS ago, ACCOUNT_BURIED_MAX at a time.
 */
int account_bury(storage_db_t *db, int64_t now);

/* "Acme Corp." becomes "acme_corp"; out of ACCOUNT_KEY_MAX bytes. Pure. */
void account_key_of(const char *name, char *out);
