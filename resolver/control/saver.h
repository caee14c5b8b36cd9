/* SPDX-License-Identifier: Apache-2.0 */
/* Has the keeper write copies of the zones that are served, one snapshot at a time, in a thread of libuv's
 * pool. If the disk refuses, it tries again after a while. Snapshots that were replaced meanwhile live as
 * long as it reads them. Belongs to the loop's thread. */
#pragma once

#include <uv.h>

#include "resolver/control/keeper.h"

typedef struct saver saver_t;

/* Takes keeper over (NULL: nothing is saved). NULL when out of memory; the keeper is freed then too. */
saver_t *saver_new(uv_loop_t *loop, keeper_t *keeper);
/* What is served from now on. */
void saver_save(saver_t *saver, const snapshot_t *snapshot);
/* Frees a snapshot that was replaced, at once or as soon as it has been read. */
void saver_retire(saver_t *saver, snapshot_t *old);
/* False while a zone's copy could not be kept. */
bool saver_works(const saver_t *saver);
/* The keeper's, for the walls; -1: there is none. */
int saver_socket(const saver_t *saver);
/* It gives up the copy that is being written. The handles close on the loop's next turns; then saver_free. */
void saver_close(saver_t *saver);
void saver_free(saver_t *saver);
