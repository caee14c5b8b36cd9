/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/sqlite/account_tool.h"

#include "app/store/sqlite/account_notices.h"
#include "app/store/sqlite/account_store.h"
#include "app/store/sqlite/account_tool.sql.h"
#include "app/store/sqlite/revocation_store.h"
#include "app/store/sqlite/sister_store.h"
#include "common/base/error.h"

static const char *why_incomplete(revocations_found_t found)
{
  switch (found) {
  case REVOCATIONS_NOT_CONFIGURED:
    return "the configuration names no file of revocations";
  case REVOCATIONS_MISSING:
    return "the file of revocations is not there";
  case REVOCATIONS_OTHER:
    return "the file of revocations is of another database";
  default:
    return "the file of revocations has less than the backup itself";
  }
}

/* Keys come back only as far as it is known that nobody has revoked them since. */
static int on_restore(storage_db_t *db, void *ctx, diag_t *diag)
{
  const tool_call_t *call = ctx;
  revocations_found_t found;
  int64_t applied = 0, held = 0;
  int err = revocations_apply(db, call->revocations, &found, &applied, diag);
  if (!err && found != REVOCATIONS_COMPLETE && !call->trust_keys)
    err = storage_exec(db, sql_hold_keys, STORAGE_NO_ARGS, &held);
  if (!err && call->trust_keys)
    err = storage_exec(db, sql_trust_keys, STORAGE_NO_ARGS, NULL);
  if (!err) /* what was deleted after the backup may be here again, and gone there */
    err = sister_all_again(db);
  if (err)
    return err;
  if (found == REVOCATIONS_COMPLETE)
    tool_say(call, "revocations since the backup: %lld keys and accounts", (long long)applied);
  else if (call->trust_keys)
    tool_say(call,
             "warning: %s: keys that were revoked since the backup are valid again, as --trust-keys asks",
             why_incomplete(found));
  else
    tool_say(call,
             "warning: %s: all API keys of the backup are disabled, since any of them may have been revoked "
             "since; new ones work. When that is judged: smpl-app restore --trust-keys",
             why_incomplete(found));
  return SMPL_OK;
}

static int trust_keys(storage_db_t *db, const tool_call_t *call, diag_t *diag)
{
  int64_t changed = 0;
  (void)diag;
  int err = storage_exec(db, sql_trust_keys, STORAGE_NO_ARGS, &changed);
  if (!err)
    tool_say(call, "%lld API keys are enabled again", (long long)changed);
  return err;
}

static int resend(storage_db_t *db, const tool_call_t *call, diag_t *diag)
{
  int64_t accounts = 0;
  (void)diag;
  int err = storage_number(db, sql_count_accounts, STORAGE_NO_ARGS, &accounts);
  for (const char *const *url = call->sister_urls; !err && *url != NULL; url++) {
    err = sister_note_again(db, *url);
    if (!err)
      tool_say(call, "%s is told of %lld accounts again", *url, (long long)accounts);
  }
  return err;
}

static int notices(storage_db_t *db, const tool_call_t *call)
{
  account_counts_t counts;
  return account_each_notice(db, call->revocations, &counts, call->say, call->ctx);
}

const tool_extra_t account_tool_extra = {.on_restore = on_restore,
                                         .trust_keys = trust_keys,
                                         .resend = resend,
                                         .notices = notices};
