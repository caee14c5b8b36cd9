/* SPDX-License-Identifier: Apache-2.0 */
/* What is noted of sisters' databases (app/store/accounts.h), and what a sister knows and this database does
 * not (strays), which nothing here deletes. */
#pragma once

#include "app/limits.h"
#include "app/store/accounts.h"
#include "app/store/sqlite/storage.h"

/* Any connection. All zero if there is no row yet. */
int sister_note_read(storage_db_t *db, const char *sister, sister_note_t *out);

/* Writer thread. report came in answer to a call that was made when `then` was noted. *generation: the one
 * that holds now. */
int sister_note_report(storage_db_t *db, const char *sister, const sister_note_t *then,
                       const identity_t *report, sister_news_t *news, int64_t *generation);
/* Writer thread, or a command: the sister is told all again. */
int sister_note_again(storage_db_t *db, const char *sister);
/* The same, of all sisters that are noted. */
int sister_all_again(storage_db_t *db);

/* Writer thread: a page of the ids that a sister knows. Those that are not here become strays, seen at
 * `round` (wall ms, the beginning of the walk); those that were deleted here are told again as such. ids:
 * strings. */
int sister_compare(storage_db_t *db, const char *sister, const json_t *ids, int64_t round, int64_t *strays);
/* The walk is over: strays that were not seen in it are none any more. count: of all seen. */
int sister_compared(storage_db_t *db, const char *sister, int64_t round, int64_t count);

/* Writer thread: the answer as a whole, which is all of the above. */
int sister_hear(storage_db_t *db, sister_answer_t *answer);

/* Writer thread: of sisters that have left; those that are there are compared again soon. */
int sister_forget_strays(storage_db_t *db);
/* Any connection: how many strays all sisters have. */
int sister_strays(storage_db_t *db, int64_t *out);
/* Calls say with one sentence for each sister that has strays. */
int sister_each_stray(storage_db_t *db, void (*say)(void *ctx, const char *text), void *ctx);
