/* SPDX-License-Identifier: Apache-2.0 */
/* API keys in storage. */
#pragma once

#include "app/services/change.h"
#include "app/services/ident.h"
#include "app/services/jsonapi.h"
#include "app/http/keys.h"
#include "app/services/storage.h"

enum {
  API_KEY_NAME_MAX = 255,
  API_KEYS_MAX = 1000,          /* in one account */
  API_KEY_TOUCH_MS = 60 * 1000, /* last_used_at is not more exact than that */
};

extern const jsonapi_list_spec_t key_list_spec;
enum { KEY_FILTER_STATUS, KEY_FILTER_SEARCH };

/* A key that may be used now. */
typedef struct key_found {
  char id[UUID_TEXT_MAX];
  char account[UUID_TEXT_MAX];
  int64_t expires_at;   /* wall clock ms; -1: never */
  int64_t last_used_at; /* -1: never */
} key_found_t;

/* SMPL_ENOENT: unknown, revoked or expired at now. */
int key_find(storage_db_t *db, const char *key, int64_t now, key_found_t *out);

/* A key on its way into storage: only its hash goes there. */
typedef struct key_new {
  char id[UUID_TEXT_MAX];
  char text[KEY_TEXT_MAX]; /* wiped by key_insert once the resource holds it */
  uint8_t hash[KEY_HASH_LEN];
  int64_t expires_at;     /* -1: never */
  const char *created_by; /* name of an internal caller, NULL if the account itself makes it; lives as long as
                             the request */
} key_new_t;

/* Fills id, text and hash. SMPL_ESYS. */
int key_make(key_new_t *key);
/* Writer thread. Stores the key; *resource is it with its text, this once. SMPL_ELIMIT: API_KEYS_MAX. */
int key_insert(storage_db_t *db, key_new_t *key, const char *account, const char *name, int64_t now,
               json_t **resource);

/* The key as a resource, without its text. SMPL_ENOENT. */
int key_get(storage_db_t *db, const char *account, const char *id, json_t **resource);
int key_list(storage_db_t *db, const char *account, const jsonapi_list_t *list, json_t **data,
             int64_t *total);

/* Writer thread; SMPL_ENOENT. */
int key_update(storage_db_t *db, const char *account, const char *id, const char *name, int64_t expires_at,
               int64_t now);
int key_revoke(storage_db_t *db, const char *account, const char *id, int64_t now);
int key_delete(storage_db_t *db, const char *account, const char *id);
int key_touch(storage_db_t *db, const char *id, int64_t now);
