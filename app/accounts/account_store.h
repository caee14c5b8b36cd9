/* Accounts in storage, and the schema of everything that the account service keeps. */
#pragma once

#include "app/services/change.h"
#include "app/services/jsonapi.h"
#include "app/services/storage.h"

enum {
  ACCOUNT_NAME_MAX = 255,
  ACCOUNT_KEY_MAX = 64, /* characters of the key made of the name, with NUL */
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

/* "Acme Corp." becomes "acme_corp"; out of ACCOUNT_KEY_MAX bytes. Pure. */
void account_key_of(const char *name, char *out);
