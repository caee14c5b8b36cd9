/* SPDX-License-Identifier: Apache-2.0 */
/* Who is kept out, whatever the configuration says: users and keys that an administrator blocked. One
 * file, `blocks`, in the folder `state` of the configuration: a first line that says how many there are,
 * then one JSON object a line. It is written anew and renamed for each change, so that it is whole at any
 * instant. The loop's thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "bastion/limits.h"
#include "bastion/policy/config.h"
#include "bastion/contract/userkey.h"
#include "common/base/clock.h"
#include "common/base/diag.h"

typedef struct blocks blocks_t;

typedef struct block {
  char who[BLOCKS_WHO_MAX];
  char reason[BLOCKS_TEXT_MAX];
  char since[CLOCK_ISO_MAX];
  unsigned by_uid;
  bool leaving; /* an unblock of it is on the way to the audit */
} block_t;

/* Whether text can be blocked at all: a user's name, or a key's fingerprint (SHA256:...), which *is_key
 * says. */
bool blocks_can_be(const char *text, bool *is_key);

/* Takes the folder for this process: it must belong to it, be closed to others, and no other process may
 * hold it. Without a file nobody is blocked. A file that cannot be read whole is an error that names its
 * line, for whoever is blocked in it would get in. SMPL_EBUSY if another process holds the folder. */
int blocks_open(const char *folder, blocks_t **out, diag_t *diag);
/* The same without taking it, for `check`. */
int blocks_check(const char *folder, size_t *count, diag_t *diag);
/* NULL allowed. */
void blocks_close(blocks_t *blocks);

/* Whether this user, or this key of whomever, is blocked. blocks may be NULL. */
bool blocks_hold(const blocks_t *blocks, const char *user, const char *fingerprint);
/* NULL if it is not blocked. Valid until the next change. */
block_t *blocks_find(blocks_t *blocks, const char *who);
size_t blocks_count(const blocks_t *blocks);
/* The oldest first. index below blocks_count. */
const block_t *blocks_at(const blocks_t *blocks, size_t index);

/* In memory, at once; blocks_save keeps it. SMPL_EEXIST, SMPL_ELIMIT, SMPL_ENOMEM. */
int blocks_add(blocks_t *blocks, const block_t *block);
void blocks_remove(blocks_t *blocks, const char *who);

/* Writes and syncs the file. On error the one before stays on the disk. Waits for the disk. */
int blocks_save(blocks_t *blocks, diag_t *diag);
/* Whether the disk has what is in force. */
bool blocks_saved(const blocks_t *blocks);
/* Tries again what could not be written, every BLOCKS_RETRY_MS. now is monotonic ms. */
void blocks_retry(blocks_t *blocks, uint64_t now);
