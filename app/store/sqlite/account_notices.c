/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/sqlite/account_notices.h"

#include <stdio.h>

#include "app/store/sqlite/account_notices.sql.h"
#include "app/store/sqlite/sister_store.h"
#include "common/base/diag.h"
#include "common/base/error.h"

static int count(storage_db_t *db, const char *sql, int64_t *out)
{
  return storage_number(db, sql, STORAGE_ARGS(STORAGE_INT(NOTICE_COUNT_MAX)), out);
}

int account_counts(storage_db_t *db, const char *revocations, account_counts_t *out)
{
  *out = (account_counts_t){0};
  int err = sister_strays(db, &out->strays);
  if (!err)
    err = count(db, sql_held, &out->held);
  if (!err && revocations != NULL)
    err = count(db, sql_unwritten, &out->unwritten);
  if (!err)
    err = count(db, sql_untold, &out->untold);
  if (!err)
    err = count(db, sql_told_before, &out->told_before);
  return err;
}

int account_each_notice(storage_db_t *db, const char *revocations, account_counts_t *out,
                        void (*say)(void *ctx, const char *text), void *ctx)
{
  char text[DIAG_TEXT_MAX];
  account_counts_t counts;
  int err = account_counts(db, revocations, &counts);
  *out = counts;
  if (!err && counts.held > 0) {
    snprintf(
        text, sizeof text,
        "%lld API keys are disabled, because a restore did not know which were revoked since its backup: "
        "smpl-app restore --trust-keys enables them",
        (long long)counts.held);
    say(ctx, text);
  }
  if (!err && counts.unwritten > 0) {
    snprintf(text, sizeof text,
             "%lld revocation%s in force and not in %s yet, which cannot be written: after a restore they "
             "would be "
             "forgotten",
             (long long)counts.unwritten, counts.unwritten == 1 ? " is" : "s are", revocations);
    say(ctx, text);
  }
  return err ? err : sister_each_stray(db, say, ctx);
}
