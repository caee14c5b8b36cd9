/* SPDX-License-Identifier: Apache-2.0 */
/* Telling the sisters of every account: PUT /internal/v1/accounts/{id} at each, or DELETE where it was
 * deleted, until each has acknowledged it. News that is still to be told is a table, written in the
 * transaction that changes the account. If a sister is down, or this process is killed, the news comes later,
 * not never. A failing sister is tried alone and with growing pauses; trying never ends.
 *
 * Each answer says which database the sister has. When that is another one than before, or an older one, the
 * sister is told of all accounts again, a few at a time beside what is new. Loop's thread. */
#pragma once

#include "app/limits.h"
#include "app/services/sister.h"
#include "app/store/accounts.h"

_Static_assert((int)OUTBOX_ROWS == 2 * (int)OUTBOX_PARALLEL, "a look finds what is not under way");

typedef struct outbox outbox_t;
typedef struct outbox_list outbox_list_t; /* who is told, at some time */

/* urls end with NULL. Accounts that a sister (perhaps one new in the configuration) was not told of yet are
 * found by themselves. SMPL_EINVAL, SMPL_ELIMIT, SMPL_ENOMEM. */
int outbox_new(uv_loop_t *loop, store_t *store, sisters_t *sisters, const char *const *urls, outbox_t **out,
               diag_t *diag);
/* Others are told from now on, or the same (after a reload): with an error nothing has changed. Rows of a
 * sister that is told no more stay where they are. Errors as above. */
int outbox_set(outbox_t *outbox, const char *const *urls, diag_t *diag);
/* After sisters_close. Calls of the store may still be under way until store_close is done: free with
 * outbox_free after that. */
void outbox_stop(outbox_t *outbox, void (*done)(void *ctx), void *ctx);
void outbox_free(outbox_t *outbox);

/* Whom a new account's rows are for (edit_t.sisters), held until the edit is over. When others are told by
 * then, rows that it is too late for are sown. */
outbox_list_t *outbox_hold(outbox_t *outbox);
const char *const *outbox_urls(const outbox_list_t *list);
void outbox_release(outbox_t *outbox, outbox_list_t *list);

/* Rows were committed: tells them at once. done is called later, once: when every sister has acknowledged, or
 * after wait_ms. account is copied. */
void outbox_tell(outbox_t *outbox, const char *account, uint64_t wait_ms, void (*done)(void *ctx), void *ctx);

/* Something may be due: a sister has another database. */
void outbox_look(outbox_t *outbox);

/* Gives {"provisioned": [names], "pending": [names]} of the account, the callee's; NULL on error. Once, now
 * or later. account lives until then. */
void outbox_report(outbox_t *outbox, const char *account, void (*done)(void *ctx, json_t *report), void *ctx);
