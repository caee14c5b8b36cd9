/* SPDX-License-Identifier: Apache-2.0 */
#include "app/accounts/account_tool.h"

#include <string.h>

#include "app/accounts/account_notices.h"
#include "app/accounts/account_store.h"
#include "app/accounts/revocations.h"
#include "app/accounts/sister_store.h"
#include "app/services/sister.h"
#include "app/services/tool.h"
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
    err = storage_exec(db, "UPDATE api_keys SET held = 1 WHERE status = 'ACTIVE' AND held = 0",
                       STORAGE_NO_ARGS, &held);
  if (!err && call->trust_keys)
    err = storage_exec(db, "UPDATE api_keys SET held = 0 WHERE held = 1", STORAGE_NO_ARGS, NULL);
  if (!err) /* what was deleted after the backup may be here again, and gone there */
    err = storage_exec(db, "UPDATE sisters SET generation = generation + 1", STORAGE_NO_ARGS, NULL);
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
  int err = storage_exec(db, "UPDATE api_keys SET held = 0 WHERE held = 1", STORAGE_NO_ARGS, &changed);
  if (!err)
    tool_say(call, "%lld API keys are enabled again", (long long)changed);
  return err;
}

/* By its URL, or by its host alone. */
static bool is_named(const char *url, const char *name)
{
  sister_url_t parsed;
  return name == NULL || strcmp(url, name) == 0 ||
         (sister_url_parse(url, &parsed, NULL) == SMPL_OK && strcmp(parsed.host, name) == 0);
}

static int resend(storage_db_t *db, const tool_call_t *call, diag_t *diag)
{
  int64_t accounts = 0;
  size_t sisters = 0;
  int err = storage_number(db, "SELECT count(*) FROM accounts", STORAGE_NO_ARGS, &accounts);
  for (const char *const *url = call->sister_urls; !err && *url != NULL; url++) {
    if (!is_named(*url, call->argument))
      continue;
    err = sister_note_again(db, *url);
    sisters++;
    if (!err)
      tool_say(call, "%s is told of %lld accounts again", *url, (long long)accounts);
  }
  if (!err && sisters == 0)
    return diag_fail(diag, SMPL_ENOENT, "resend: the configuration has no sister%s%s",
                     call->argument != NULL ? " " : "s", call->argument != NULL ? call->argument : "");
  return err;
}

static int notices(storage_db_t *db, const tool_call_t *call)
{
  return account_each_notice(db, call->revocations, call->say, call->ctx);
}

static const tool_extra_t extra = {.on_restore = on_restore,
                                   .trust_keys = trust_keys,
                                   .resend = resend,
                                   .notices = notices};

int account_tool(const tool_call_t *call, diag_t *diag)
{
  return tool_run(call, &account_schema, &extra, diag);
}
