/* SPDX-License-Identifier: Apache-2.0 */
/* Notices (inotify) that the configuration or a file of a zone was written or replaced. Looks at folders, so
 * that a file renamed into place counts, and a whole folder swapped by a link named "..data" (Kubernetes)
 * too. Main thread. */
#pragma once

#include <uv.h>

#include "common/base/diag.h"
#include "resolver/view/snapshot.h"

typedef struct watch watch_t;

/* changed is called on the loop, once for writes that come close together (WATCH_* in limits.h). */
int watch_open(uv_loop_t *loop, void (*changed)(void *ctx), void *ctx, watch_t **out, diag_t *diag);
/* Freed on the loop afterwards. NULL allowed. */
void watch_close(watch_t *w);

/* The files to watch from now on: the configuration and what the zones of s were read from. Nothing that
 * happens meanwhile is missed in folders that were watched before. On error the old ones stay. */
int watch_set(watch_t *w, const char *config, const snapshot_t *s, diag_t *diag);
/* Until the next watch_set every file in the watched folders counts: a reload failed, and its mend may be in
 * a file that the data in force does not know. NULL allowed. */
void watch_all(watch_t *w);
