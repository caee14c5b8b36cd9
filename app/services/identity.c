/* SPDX-License-Identifier: Apache-2.0 */
#include "app/services/identity.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/error.h"

int identity_ensure(storage_db_t *db)
{
  char id[UUID_TEXT_MAX], epoch[UUID_TEXT_MAX];
  int err =
      storage_exec(db,
                   "CREATE TABLE IF NOT EXISTS database_identity (one INTEGER PRIMARY KEY CHECK (one = 1),"
                   " id TEXT NOT NULL, epoch TEXT NOT NULL, heard INTEGER NOT NULL DEFAULT 0,"
                   " made_at INTEGER NOT NULL)",
                   STORAGE_NO_ARGS, NULL);
  if (!err)
    err = uuid_generate(id);
  if (!err)
    err = uuid_generate(epoch);
  return err ? err
             : storage_exec(db,
                            "INSERT OR IGNORE INTO database_identity (one, id, epoch, made_at)"
                            " VALUES (1, ?1, ?2, ?3)",
                            STORAGE_ARGS(STORAGE_TEXT(id), STORAGE_TEXT(epoch),
                                         STORAGE_INT((int64_t)clock_wall_ms())),
                            NULL);
}

int identity_read(storage_db_t *db, identity_t *out)
{
  storage_stmt_t *stmt =
      storage_query(db, "SELECT id, epoch, heard FROM database_identity WHERE one = 1", STORAGE_NO_ARGS);
  int row = storage_step(stmt);
  if (row != 1)
    return row == 0 ? SMPL_ENOENT : row;
  const char *id = storage_text(stmt, 0), *epoch = storage_text(stmt, 1);
  bool sound = id != NULL && epoch != NULL && uuid_valid(id) && uuid_valid(epoch);
  if (sound) {
    memcpy(out->database, id, sizeof out->database);
    memcpy(out->epoch, epoch, sizeof out->epoch);
    out->heard = storage_int(stmt, 2);
  }
  storage_finish(stmt);
  return sound ? SMPL_OK : SMPL_EINVAL;
}

int identity_heard(storage_db_t *db)
{
  return storage_exec(db, "UPDATE database_identity SET heard = heard + 1", STORAGE_NO_ARGS, NULL);
}

int identity_renew(storage_db_t *db)
{
  char epoch[UUID_TEXT_MAX];
  int err = uuid_generate(epoch);
  return err ? err
             : storage_exec(db, "UPDATE database_identity SET epoch = ?1", STORAGE_ARGS(STORAGE_TEXT(epoch)),
                            NULL);
}

json_t *identity_report(const identity_t *identity)
{
  return json_pack("{s:s, s:s, s:I}", "database", identity->database, "epoch", identity->epoch, "heard",
                   (json_int_t)identity->heard);
}

bool identity_of_report(const json_t *body, identity_t *out)
{
  const json_t *meta = json_object_get(body, "meta");
  const char *database = json_string_value(json_object_get(meta, "database"));
  const char *epoch = json_string_value(json_object_get(meta, "epoch"));
  const json_t *heard = json_object_get(meta, "heard");
  if (database == NULL || epoch == NULL || !uuid_valid(database) || !uuid_valid(epoch) ||
      !json_is_integer(heard) || json_integer_value(heard) < 0)
    return false;
  memcpy(out->database, database, sizeof out->database);
  memcpy(out->epoch, epoch, sizeof out->epoch);
  out->heard = json_integer_value(heard);
  return true;
}
