/* SPDX-License-Identifier: Apache-2.0 */
/* A database as a file that no service has open: what backup and restore make, judge and put in its place. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "app/store/identity.h"
#include "app/store/sqlite/storage.h"

typedef struct data_info {
  identity_t identity; /* database "" if the file is older than identities */
  int64_t version;     /* of its schema */
  int64_t bytes;
} data_info_t;

/* Says whether to give up; called often while a long check runs. */
typedef bool (*data_stop)(void *ctx);

/* Whether it is whole and a database of this service that this program knows: SMPL_EINVAL with what it is
 * instead. shown: its name in messages. Reads all of it; stop may be NULL (SMPL_ECLOSED when it said so).
 * */
int data_file_check(const char *path, const char *shown, const storage_schema_t *schema, data_stop stop,
                    void *stop_ctx, data_info_t *out, diag_t *diag);
/* Makes it one file without journals beside it, synced. SMPL_EBUSY: another process has it open;
 * SMPL_EINVAL: not a database, or corrupt; SMPL_EFULL, SMPL_ESYS. */
int data_file_settle(const char *path, diag_t *diag);

/* path + tail; SMPL_ELIMIT. */
int data_file_beside(const char *path, const char *tail, char out[], size_t cap, diag_t *diag);
/* The database and its journals, if they are there. */
void data_file_remove(const char *path);
/* Of a file, and of the folder that its name is in. */
int data_file_sync(const char *path, diag_t *diag);
int data_file_sync_folder(const char *path, diag_t *diag);
