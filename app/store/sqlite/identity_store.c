/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/sqlite/identity_store.h"

#include <string.h>

#include "app/store/sqlite/identity_store.sql.h"
#include "common/base/clock.h"
#include "common/base/error.h"

int identity_ensure(storage_db_t *db)
{
  char id[UUID_TEXT_MAX], epoch[UUID_TEXT_MAX];
  int err = storage_exec(db, sql_make_table, STORAGE_NO_ARGS, NULL);
  if (!err)
    err = uuid_generate(id);
  if (!err)
    err = uuid_generate(epoch);
  return err ? err
             : storage_exec(db, sql_make,
                            STORAGE_ARGS(STORAGE_TEXT(id), STORAGE_TEXT(epoch),
                                         STORAGE_INT((int64_t)clock_wall_ms())),
                            NULL);
}

int identity_read(storage_db_t *db, identity_t *out)
{
  storage_stmt_t *stmt = storage_query(db, sql_read, STORAGE_NO_ARGS);
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
  return storage_exec(db, sql_heard, STORAGE_NO_ARGS, NULL);
}

int identity_renew(storage_db_t *db)
{
  char epoch[UUID_TEXT_MAX];
  int err = uuid_generate(epoch);
  return err ? err : storage_exec(db, sql_renew, STORAGE_ARGS(STORAGE_TEXT(epoch)), NULL);
}
