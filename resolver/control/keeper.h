/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps the last good copies of zones in the folder `state`. The process that serves may write no file. A
 * second one does it, made before anything is read, and sealed to that folder. It takes whole copies over a
 * socket, writes each beside the one before, syncs, and renames. It ends when this process does. */
#pragma once

#include <stdbool.h>

#include "common/base/diag.h"
#include "resolver/view/settings.h"
#include "resolver/view/snapshot.h"

enum {
  KEEPER_WAIT_MS = 30000,  /* for the other process, at each step; then it counts as gone */
  KEEPER_RETRY_MS = 60000, /* until copies that could not be written are tried again */
};

typedef struct keeper keeper_t;

/* Makes the other process, as the user that will serve. While this one has one thread and has read no zone.
 * *out is NULL where no `state` is configured. A folder that another resolver uses is an error (SMPL_EAGAIN,
 * with the place); one that cannot be used otherwise is said in the log and by keeper_works, and does not
 * keep the resolver from starting. */
int keeper_start(const settings_t *settings, keeper_t **out, diag_t *diag);
void keeper_free(keeper_t *keeper);

/* Writes copies of all zones that came from their files and are not kept yet as they are. Any thread, one at
 * a time; takes as long as the disk does. NULL allowed. */
void keeper_save(keeper_t *keeper, const snapshot_t *snapshot);

/* Whether the other process is there. NULL: no. */
bool keeper_can(const keeper_t *keeper);

/* What keeper_give_up shuts down, for the walls; -1: nothing. */
int keeper_socket(const keeper_t *keeper);

/* For an end: a copy under way is given up, and no more is written. Any thread. NULL allowed. */
void keeper_give_up(keeper_t *keeper);

/* False from when a copy could not be kept until all could; true for NULL. Any thread. */
bool keeper_works(const keeper_t *keeper);
