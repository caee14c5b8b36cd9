/* SPDX-License-Identifier: Apache-2.0 */
/* Asks each sister every few seconds which database it has, so that one which was lost or restored is
 * noticed although nobody makes an account. At the start, after such a change and once an hour it also goes
 * through the ids of all accounts that the sister knows, a page at a time, and compares them with ours
 * (STORE_SISTER_ANSWER). A list whose ids do not ascend, or whose pages are too long, is not compared before
 * the next hour. Loop's thread. */
#pragma once

#include "app/limits.h"
#include "app/accounts/outbox.h"

typedef struct sister_watch sister_watch_t;

/* urls are those of outbox_new, which has judged them; outbox is told when there is something to tell
 * again. SMPL_ELIMIT: too long a URL; SMPL_ENOMEM. */
int sister_watch_new(uv_loop_t *loop, store_t *store, sisters_t *sisters, outbox_t *outbox,
                     const char *const *urls, sister_watch_t **out, diag_t *diag);
/* A reload in two halves, both on one turn of the loop. The first makes room for these sisters, and asks
 * none of the new ones. With an error, as of sister_watch_new, the same are asked as before. */
int sister_watch_prepare(sister_watch_t *watch, const char *const *urls, diag_t *diag);
/* From now on it is these, for which sister_watch_prepare has made room. Cannot fail. */
void sister_watch_use(sister_watch_t *watch, const char *const *urls);
/* As outbox_stop and outbox_free. NULL allowed by the latter. */
void sister_watch_stop(sister_watch_t *watch, void (*done)(void *ctx), void *ctx);
void sister_watch_free(sister_watch_t *watch);
