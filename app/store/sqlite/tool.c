/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/sqlite/tool.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "app/store/sqlite/backup.h"
#include "app/store/sqlite/identity_store.h"
#include "app/store/sqlite/storage_db.h"
#include "common/base/error.h"

void tool_say(const tool_call_t *call, const char *fmt, ...)
{
  char text[DIAG_TEXT_MAX];
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  call->say(call->ctx, text);
}

static int backup(const tool_call_t *call, const storage_schema_t *schema, diag_t *diag)
{
  data_info_t info;
  int err =
      backup_make(call->database, schema, call->argument, call->force, call->stop, call->ctx, &info, diag);
  if (!err)
    tool_say(call, "%s: the %s service's database %s, epoch %s, schema %lld, %lld bytes; checked",
             call->argument, schema->owner, info.identity.database, info.identity.epoch,
             (long long)info.version, (long long)info.bytes);
  return err;
}

static bool has_other_id(const char *id, storage_db_t *db)
{
  identity_t now;
  return id[0] != '\0' && identity_read(db, &now) == SMPL_OK && strcmp(now.database, id) != 0;
}

static void say_other(const tool_call_t *call, const restore_t *r)
{
  storage_db_t *old = NULL;
  if (r->aside[0] == '\0' || r->broken || storage_db_open(r->aside, STORAGE_READS, &old, NULL))
    return;
  if (has_other_id(r->info.identity.database, old))
    tool_say(call, "note: what was there was another database, not a later state of this one");
  storage_db_close(old);
}

static int restore(const tool_call_t *call, const storage_schema_t *schema, const tool_extra_t *extra,
                   diag_t *diag)
{
  restore_t r = {.database = call->database,
                 .backup = call->argument,
                 .schema = schema,
                 .hook = extra->on_restore,
                 .hook_ctx = (void *)(uintptr_t)call,
                 .stop = call->stop,
                 .stop_ctx = call->ctx};
  int err = restore_run(&r, diag);
  if (err)
    return err;
  tool_say(call, "%s: restored from %s, with a new epoch: sisters are told of it by themselves",
           call->database, call->argument);
  if (r.aside[0] != '\0')
    tool_say(call, "%s: what was there before%s; delete it when it is not needed any more", r.aside,
             r.broken ? ", which could not be read" : "");
  say_other(call, &r);
  return SMPL_OK;
}

/* With the database as it is, beside the running service. */
static int change(const tool_call_t *call, const storage_schema_t *schema,
                  int (*run)(storage_db_t *, const tool_call_t *, diag_t *), diag_t *diag)
{
  storage_db_t *db = NULL;
  struct stat st;
  if (stat(call->database, &st) != 0)
    return diag_fail_errno(diag, "%s: there is no database", call->database);
  int err = storage_db_open(call->database, STORAGE_WRITES, &db, diag);
  if (!err)
    err = storage_db_prepare(db, call->database, schema, diag);
  if (!err && (err = storage_db_command(db, "BEGIN IMMEDIATE")) == SMPL_OK) {
    err = run(db, call, diag);
    if (!err)
      err = storage_db_command(db, "COMMIT");
  }
  storage_db_close(db);
  return err ? diag_fail(diag, err, "%s: %s", call->database, smpl_strerror(err)) : SMPL_OK;
}

/* Only what a database of the present schema has to tell; a missing one has nothing. */
static int notices(const tool_call_t *call, const storage_schema_t *schema, const tool_extra_t *extra)
{
  storage_db_t *db = NULL;
  int64_t version = 0, newest = 0;
  struct stat st;
  while (schema->migrations[newest] != NULL)
    newest++;
  if (stat(call->database, &st) != 0 || storage_db_open(call->database, STORAGE_READS, &db, NULL))
    return SMPL_OK;
  int err = storage_number(db, "PRAGMA user_version", STORAGE_NO_ARGS, &version);
  if (!err && version == newest)
    extra->notices(db, call);
  storage_db_close(db);
  return SMPL_OK;
}

int tool_run(const tool_call_t *call, const storage_schema_t *schema, const tool_extra_t *extra, diag_t *diag)
{
  if (call->trust_keys && extra->trust_keys == NULL)
    return diag_fail(diag, SMPL_EINVAL, "--trust-keys: only the account service has API keys");
  switch (call->verb) {
  case TOOL_BACKUP:
    return backup(call, schema, diag);
  case TOOL_RESTORE:
    return call->argument != NULL ? restore(call, schema, extra, diag)
                                  : change(call, schema, extra->trust_keys, diag);
  case TOOL_RESEND:
    return extra->resend != NULL
               ? change(call, schema, extra->resend, diag)
               : diag_fail(diag, SMPL_EINVAL,
                           "resend: only the account service tells its sisters of accounts");
  default:
    return extra->notices != NULL ? notices(call, schema, extra) : SMPL_OK;
  }
}
