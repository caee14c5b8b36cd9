/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/sqlite/outbox_store.h"

#include "app/store/sqlite/account_store.h"
#include "app/store/sqlite/outbox_store.sql.h"
#include "app/store/sqlite/sister_store.h"
#include "common/base/error.h"
#include "common/base/text.h"

int outbox_add(storage_db_t *db, const char *const *sisters, const char *account)
{
  int err = SMPL_OK;
  for (; *sisters != NULL && !err; sisters++)
    err = storage_exec(db, sql_add, STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(*sisters)), NULL);
  return err;
}

int outbox_sow(storage_db_t *db, const outbox_sow_t *sow)
{
  int err = SMPL_OK;
  for (const char *const *sister = sow->sisters; *sister != NULL && !err; sister++)
    err = storage_exec(db, sql_sow, STORAGE_ARGS(STORAGE_TEXT(*sister)), NULL);
  if (!err)
    err = sister_forget_strays(db);
  return err ? err : account_bury(db, sow->now);
}

static int note_told(storage_db_t *db, const outbox_done_t *d, int64_t generation)
{
  return storage_exec(db, sql_told,
                      STORAGE_ARGS(STORAGE_TEXT(d->account), STORAGE_TEXT(d->sister), STORAGE_INT(d->now),
                                   STORAGE_INT(generation), STORAGE_INT(d->deletes)),
                      NULL);
}

static int note_untold(storage_db_t *db, const outbox_done_t *d, int64_t generation)
{
  return storage_exec(db, sql_untold,
                      STORAGE_ARGS(STORAGE_TEXT(d->account), STORAGE_TEXT(d->sister), STORAGE_TEXT(d->error),
                                   STORAGE_INT(generation)),
                      NULL);
}

/* An answer to a call from before the sister's database changed tells nothing: the row stays as it is, and is
 * tried again. */
int outbox_done(storage_db_t *db, outbox_done_t *d)
{
  sister_note_t now;
  int err = sister_note_read(db, d->sister, &now);
  d->news = now.generation != d->then.generation ? SISTER_LATE : SISTER_SAME;
  if (!err && d->reported)
    err = sister_note_report(db, d->sister, &d->then, &d->report, &d->news, &now.generation);
  if (err || d->news == SISTER_LATE)
    return err;
  return d->acknowledged ? note_told(db, d, now.generation) : note_untold(db, d, now.generation);
}

static int read_row(storage_stmt_t *stmt, outbox_row_t *out)
{
  out->deleted = !storage_is_null(stmt, 3);
  int err = text_copy(out->account, sizeof out->account, storage_text(stmt, 0));
  if (!err)
    err = text_copy(out->name, sizeof out->name, storage_text(stmt, 1));
  return err ? err : text_copy(out->key, sizeof out->key, storage_text(stmt, 2));
}

static int read_rows(storage_stmt_t *stmt, outbox_row_t *rows, size_t *count)
{
  int row;
  *count = 0;
  while ((row = storage_step(stmt)) == 1)
    if (read_row(stmt, &rows[*count]) == SMPL_OK) /* else it is none that we have written */
      (*count)++;
  return row;
}

int outbox_due(storage_db_t *db, outbox_due_t *due)
{
  int err = sister_note_read(db, due->sister, &due->note);
  const storage_arg_t args[] = {STORAGE_TEXT(due->sister), STORAGE_INT(OUTBOX_ROWS),
                                STORAGE_INT(due->note.generation)};
  if (!err)
    err = read_rows(storage_query(db, sql_again, args, 3), due->again, &due->again_count);
  return err ? err : read_rows(storage_query(db, sql_fresh, args, 2), due->fresh, &due->fresh_count);
}

int outbox_told(storage_db_t *db, outbox_told_t *told)
{
  int err = SMPL_OK;
  for (size_t i = 0; told->sisters[i] != NULL && !err; i++) {
    sister_note_t note;
    int64_t count = 0;
    err = sister_note_read(db, told->sisters[i], &note);
    if (!err)
      err = storage_number(db, sql_told_count,
                           STORAGE_ARGS(STORAGE_TEXT(told->account), STORAGE_TEXT(told->sisters[i]),
                                        STORAGE_INT(note.generation)),
                           &count);
    told->told[i] = count > 0;
  }
  return err;
}
