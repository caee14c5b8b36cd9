/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/sqlite/accounts_sqlite.h"

#include "app/store/accounts.h"
#include "app/store/sqlite/account_notices.h"
#include "app/store/sqlite/account_store.h"
#include "app/store/sqlite/key_store.h"
#include "app/store/sqlite/outbox_store.h"
#include "app/store/sqlite/revocation_store.h"
#include "app/store/sqlite/sister_store.h"
#include "common/base/error.h"

static const char *name_of(const edit_t *e)
{
  return json_string_value(json_object_get(e->attributes, "name"));
}

/* ---- accounts ---- */

/* Account, first key and what the sisters must be told: one transaction. */
static int create_account(storage_db_t *db, edit_t *e)
{
  json_t *account = NULL, *key = NULL;
  int err = account_insert(db, e->id, name_of(e), e->now);
  if (!err)
    err = key_insert(db, e->key, e->id, "Default", e->now, &key);
  if (!err)
    err = outbox_add(db, e->sisters, e->id);
  if (!err)
    err = account_get(db, e->id, &account);
  if (!err)
    e->document = json_pack("{s:O, s:[O]}", "data", account, "included", key);
  json_decref(account);
  json_decref(key);
  e->status = 201;
  return err;
}

static int no_account(edit_t *e, const char *id)
{
  return problem_at(&e->problem, 404, NULL, "there is no account '%s'", id);
}

static int delete_account(storage_db_t *db, void *state, store_call_t *call)
{
  edit_t *e = (edit_t *)call;
  int err = account_delete(db, e->id, e->now);
  if (!err)
    err = revocations_add(db, state, REVOCATION_ACCOUNT, e->id, e->now);
  e->status = 204;
  return err == SMPL_ENOENT ? no_account(e, e->id) : err;
}

static int get_account(storage_db_t *db, fetch_t *f)
{
  json_t *resource = NULL;
  int err = account_get(db, f->id, &resource);
  if (!err)
    f->document = jsonapi_document(resource);
  return err;
}

static int list_accounts(storage_db_t *db, fetch_t *f)
{
  json_t *data = NULL;
  int64_t total = 0;
  int err = account_list(db, &f->list, &data, &total);
  if (!err)
    f->document = jsonapi_list_document(data, &f->list, total);
  return err;
}

static void add_sentence(void *ctx, const char *text)
{
  json_array_append_new(ctx, json_string(text));
}

static int notices(storage_db_t *db, void *state, store_call_t *call)
{
  account_notices_t *n = (account_notices_t *)call;
  n->sentences = json_array();
  int err = n->sentences == NULL
                ? SMPL_ENOMEM
                : account_each_notice(db, revocations_path(state), &n->counts, add_sentence, n->sentences);
  if (err) {
    json_decref(n->sentences);
    n->sentences = NULL;
  }
  return err;
}

/* ---- keys ---- */

static int create_key(storage_db_t *db, edit_t *e)
{
  json_t *account = NULL, *resource = NULL;
  int err = account_get(db, e->account, &account);
  json_decref(account);
  if (err == SMPL_ENOENT)
    return no_account(e, e->account);
  if (!err)
    err = key_insert(db, e->key, e->account, name_of(e), e->now, &resource);
  if (err == SMPL_ELIMIT)
    return problem_at(&e->problem, 409, NULL, "this account has %d API keys, the most it can have",
                      API_KEYS_MAX);
  if (!err)
    e->document = jsonapi_document(resource);
  e->status = 201;
  return err;
}

static int no_key(edit_t *e)
{
  return problem_at(&e->problem, 404, NULL, "there is no API key '%s' in this account", e->id);
}

/* The key as it stands after a change that gave err. */
static int after_change(storage_db_t *db, edit_t *e, int err)
{
  json_t *resource = NULL;
  if (!err)
    err = key_get(db, e->account, e->id, &resource);
  if (!err)
    e->document = jsonapi_document(resource);
  e->status = 200;
  return err == SMPL_ENOENT ? no_key(e) : err;
}

static int replace_key(storage_db_t *db, edit_t *e)
{
  return after_change(db, e, key_update(db, e->account, e->id, name_of(e), e->key->expires_at, e->now));
}

static int revoke_key(storage_db_t *db, void *state, store_call_t *call)
{
  edit_t *e = (edit_t *)call;
  int err = key_revoke(db, e->account, e->id, e->now);
  if (!err)
    err = revocations_add(db, state, REVOCATION_KEY, e->id, e->now);
  return edit_end(e, after_change(db, e, err));
}

static int delete_key(storage_db_t *db, void *state, store_call_t *call)
{
  edit_t *e = (edit_t *)call;
  int err = key_delete(db, e->account, e->id);
  if (!err)
    err = revocations_add(db, state, REVOCATION_KEY, e->id, e->now);
  e->status = 204;
  return err == SMPL_ENOENT ? no_key(e) : err;
}

static int get_key(storage_db_t *db, fetch_t *f)
{
  json_t *resource = NULL;
  int err = key_get(db, f->account, f->id, &resource);
  if (!err)
    f->document = jsonapi_document(resource);
  return err;
}

static int list_keys(storage_db_t *db, fetch_t *f)
{
  json_t *data = NULL;
  int64_t total = 0;
  int err = key_list(db, f->account, &f->list, &data, &total);
  if (!err)
    f->document = jsonapi_list_document(data, &f->list, total);
  return err;
}

static int find_key(storage_db_t *db, void *state, store_call_t *call)
{
  key_find_t *k = (key_find_t *)call;
  (void)state;
  return key_find(db, k->key, k->now, &k->found);
}

static int touch_key(storage_db_t *db, void *state, store_call_t *call)
{
  const key_touch_t *t = (const key_touch_t *)call;
  (void)state;
  return key_touch(db, t->id, t->now);
}

/* ---- revocations, outbox, sisters ---- */

static int look_for_revocations(storage_db_t *db, void *state, store_call_t *call)
{
  (void)state;
  return revocations_missing(db, &((revocations_look_t *)call)->missing);
}

static int write_revocations(storage_db_t *db, void *state, store_call_t *call)
{
  revocations_write_t *w = (revocations_write_t *)call;
  return revocations_write(db, state, w->first, &w->more);
}

static int sow(storage_db_t *db, void *state, store_call_t *call)
{
  (void)state;
  return outbox_sow(db, (const outbox_sow_t *)call);
}

static int due(storage_db_t *db, void *state, store_call_t *call)
{
  (void)state;
  return outbox_due(db, (outbox_due_t *)call);
}

static int done(storage_db_t *db, void *state, store_call_t *call)
{
  (void)state;
  return outbox_done(db, (outbox_done_t *)call);
}

static int told(storage_db_t *db, void *state, store_call_t *call)
{
  (void)state;
  return outbox_told(db, (outbox_told_t *)call);
}

static int read_note(storage_db_t *db, void *state, store_call_t *call)
{
  sister_look_t *look = (sister_look_t *)call;
  (void)state;
  return sister_note_read(db, look->sister, &look->note);
}

static int hear(storage_db_t *db, void *state, store_call_t *call)
{
  (void)state;
  return sister_hear(db, (sister_answer_t *)call);
}

static const sqlite_op_t ops[STORE_OPS] = {
    [STORE_CHECK] = {OP_LOOKUP, .run = sqlite_check},
    [STORE_ACCOUNT_CREATE] = {OP_WRITE, .edit = create_account},
    [STORE_ACCOUNT_DELETE] = {OP_WRITE, .run = delete_account},
    [STORE_ACCOUNT_GET] = {OP_LOOKUP, .fetch = get_account},
    [STORE_ACCOUNT_LIST] = {OP_READ, .fetch = list_accounts},
    [STORE_ACCOUNT_NOTICES] = {OP_LOOKUP, .run = notices},
    [STORE_KEY_CREATE] = {OP_WRITE, .edit = create_key},
    [STORE_KEY_REPLACE] = {OP_WRITE, .edit = replace_key},
    [STORE_KEY_REVOKE] = {OP_WRITE, .run = revoke_key},
    [STORE_KEY_DELETE] = {OP_WRITE, .run = delete_key},
    [STORE_KEY_GET] = {OP_LOOKUP, .fetch = get_key},
    [STORE_KEY_LIST] = {OP_READ, .fetch = list_keys},
    [STORE_KEY_FIND] = {OP_LOOKUP, .run = find_key},
    [STORE_KEY_TOUCH] = {OP_WRITE, .run = touch_key},
    [STORE_REVOCATIONS_LOOK] = {OP_LOOKUP, .run = look_for_revocations},
    [STORE_REVOCATIONS_WRITE] = {OP_WRITE, .run = write_revocations},
    [STORE_OUTBOX_SOW] = {OP_WRITE, .run = sow},
    [STORE_OUTBOX_DUE] = {OP_LOOKUP, .run = due},
    [STORE_OUTBOX_DONE] = {OP_WRITE, .run = done},
    [STORE_OUTBOX_TOLD] = {OP_LOOKUP, .run = told},
    [STORE_SISTER_NOTE] = {OP_LOOKUP, .run = read_note},
    [STORE_SISTER_ANSWER] = {OP_WRITE, .run = hear},
};

static int new_revocations(const char *path, void **state)
{
  revocations_t *r = NULL;
  int err = revocations_new(path, &r);
  *state = r;
  return err;
}

static void free_revocations(void *state)
{
  revocations_free(state);
}

const sqlite_service_t accounts_sqlite = {.schema = &account_schema,
                                          .ops = ops,
                                          .state_new = new_revocations,
                                          .at_start = revocations_open,
                                          .state_free = free_revocations};
