/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/sqlite/sister_store.h"

#include <stdio.h>
#include <string.h>

#include "app/store/sqlite/sister_store.sql.h"
#include "common/base/error.h"
#include "common/base/text.h"

int sister_note_read(storage_db_t *db, const char *sister, sister_note_t *out)
{
  *out = (sister_note_t){.epoch = ""};
  storage_stmt_t *stmt = storage_query(db, sql_note, STORAGE_ARGS(STORAGE_TEXT(sister)));
  int row = storage_step(stmt);
  if (row != 1)
    return row;
  const char *epoch = storage_text(stmt, 0);
  if (epoch != NULL)
    text_copy(out->epoch, sizeof out->epoch, epoch);
  out->heard = storage_int(stmt, 1);
  out->generation = storage_int(stmt, 2);
  storage_finish(stmt);
  return SMPL_OK;
}

static int note(storage_db_t *db, const char *sister, const char *epoch, int64_t heard, int64_t generation)
{
  return storage_exec(db, sql_write_note,
                      STORAGE_ARGS(STORAGE_TEXT(sister), STORAGE_TEXT(epoch), STORAGE_INT(heard),
                                   STORAGE_INT(generation)),
                      NULL);
}

int sister_note_report(storage_db_t *db, const char *sister, const sister_note_t *then,
                       const identity_t *report, sister_news_t *news, int64_t *generation)
{
  sister_note_t now;
  int err = sister_note_read(db, sister, &now);
  if (err)
    return err;
  *news = sister_judge(&now, then, report);
  *generation = now.generation;
  if (*news == SISTER_LATE || (*news == SISTER_SAME && report->heard <= now.heard))
    return SMPL_OK;
  *generation += *news != SISTER_SAME;
  return note(db, sister, report->epoch, report->heard, *generation);
}

int sister_note_again(storage_db_t *db, const char *sister)
{
  sister_note_t now;
  int err = sister_note_read(db, sister, &now);
  return err ? err : note(db, sister, now.epoch[0] != '\0' ? now.epoch : NULL, now.heard, now.generation + 1);
}

/* ---- what is there and not here ---- */

/* 1: here; 0: not here; 2: deleted here. */
static int state_of(storage_db_t *db, const char *account)
{
  storage_stmt_t *stmt = storage_query(db, sql_account_state, STORAGE_ARGS(STORAGE_TEXT(account)));
  int row = storage_step(stmt);
  if (row != 1)
    return row;
  row = storage_is_null(stmt, 0) ? 1 : 2;
  storage_finish(stmt);
  return row;
}

static int add_stray(storage_db_t *db, const char *sister, const char *account, int64_t round)
{
  return storage_exec(db, sql_add_stray,
                      STORAGE_ARGS(STORAGE_TEXT(sister), STORAGE_TEXT(account), STORAGE_INT(round),
                                   STORAGE_INT(STRAYS_MAX)),
                      NULL);
}

static int tell_again(storage_db_t *db, const char *sister, const char *account)
{
  return storage_exec(db, sql_tell_again, STORAGE_ARGS(STORAGE_TEXT(account), STORAGE_TEXT(sister)), NULL);
}

int sister_compare(storage_db_t *db, const char *sister, const json_t *ids, int64_t round, int64_t *strays)
{
  int err = SMPL_OK;
  for (size_t i = 0; i < json_array_size(ids) && !err; i++) {
    const char *id = json_string_value(json_array_get(ids, i));
    if (id == NULL || !uuid_valid(id))
      continue;
    int state = state_of(db, id);
    err = state < 0 ? state : state == 2 ? tell_again(db, sister, id) : SMPL_OK;
    if (state == 0 && (*strays)++ < STRAYS_MAX)
      err = add_stray(db, sister, id, round);
  }
  return err;
}

int sister_compared(storage_db_t *db, const char *sister, int64_t round, int64_t count)
{
  int err = storage_exec(db, sql_drop_unseen, STORAGE_ARGS(STORAGE_TEXT(sister), STORAGE_INT(round)), NULL);
  return err ? err
             : storage_exec(db, sql_count_strays, STORAGE_ARGS(STORAGE_TEXT(sister), STORAGE_INT(count)),
                            NULL);
}

int sister_forget_strays(storage_db_t *db)
{
  return storage_exec(db, sql_forget_strays, STORAGE_NO_ARGS, NULL);
}

int sister_strays(storage_db_t *db, int64_t *out)
{
  return storage_number(db, sql_all_strays, STORAGE_NO_ARGS, out);
}

/* "..., ID, ID and 3 more" */
static int name_strays(storage_db_t *db, const char *sister, int64_t count, char *text, size_t used)
{
  int64_t named = 0;
  int row;
  storage_stmt_t *stmt =
      storage_query(db, sql_name_strays, STORAGE_ARGS(STORAGE_TEXT(sister), STORAGE_INT(STRAYS_TOLD_MAX)));
  while ((row = storage_step(stmt)) == 1) {
    int n =
        snprintf(text + used, STRAYS_TEXT_MAX - used, "%s %s", named > 0 ? "," : ":", storage_text(stmt, 0));
    used += n > 0 && (size_t)n < STRAYS_TEXT_MAX - used ? (size_t)n : 0;
    named++;
  }
  if (row == 0 && named < count)
    snprintf(text + used, STRAYS_TEXT_MAX - used, " and %lld more", (long long)(count - named));
  return row;
}

int sister_each_stray(storage_db_t *db, void (*say)(void *ctx, const char *text), void *ctx)
{
  char text[STRAYS_TEXT_MAX];
  int row;
  storage_stmt_t *stmt = storage_query(db, sql_with_strays, STORAGE_NO_ARGS);
  while ((row = storage_step(stmt)) == 1) {
    const char *url = storage_text(stmt, 0);
    int64_t count = storage_int(stmt, 1);
    int n = snprintf(text, sizeof text / 2, "%s knows %lld account%s that this database does not", url,
                     (long long)count, count == 1 ? "" : "s");
    size_t used = n < 0 ? 0 : (size_t)n < sizeof text / 2 ? (size_t)n : sizeof text / 2 - 1;
    row = name_strays(db, url, count, text, used);
    if (row < 0)
      break;
    say(ctx, text);
  }
  if (row < 0)
    storage_finish(stmt);
  return row;
}

int sister_all_again(storage_db_t *db)
{
  return storage_exec(db, sql_all_again, STORAGE_NO_ARGS, NULL);
}

int sister_hear(storage_db_t *db, sister_answer_t *a)
{
  int64_t generation;
  a->compared = false;
  int err = sister_note_report(db, a->sister, &a->then, &a->report, &a->news, &generation);
  if (err || a->ids == NULL || a->news != SISTER_SAME)
    return err;
  err = sister_compare(db, a->sister, a->ids, a->round, &a->strays);
  a->compared = a->last || a->strays >= a->strays_most;
  return err || !a->compared ? err : sister_compared(db, a->sister, a->round, a->strays);
}
