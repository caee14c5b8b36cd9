/* SPDX-License-Identifier: Apache-2.0 */
/* Commands about a service's database, run beside the service or while it is stopped: backup, restore,
 * resend. */
#pragma once

#include "app/http/handler.h"
#include "app/store/sqlite/restore.h"
#include "app/store/sqlite/storage.h"

/* What one service does besides. All may be NULL. */
typedef struct tool_extra {
  restore_hook on_restore;                                                    /* ctx is the call */
  int (*trust_keys)(storage_db_t *db, const tool_call_t *call, diag_t *diag); /* without a restore */
  int (*resend)(storage_db_t *db, const tool_call_t *call, diag_t *diag);
  int (*notices)(storage_db_t *db, const tool_call_t *call);
} tool_extra_t;

/* What the command asks for. */
int tool_run(const tool_call_t *call, const storage_schema_t *schema, const tool_extra_t *extra,
             diag_t *diag);
/* One sentence to whoever called. */
void tool_say(const tool_call_t *call, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
