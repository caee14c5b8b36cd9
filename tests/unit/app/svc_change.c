/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/app/svc_change.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "app/store/sqlite/account_store.h"
#include "common/base/error.h"
#include "tests/unit/app/svc_fake.h"

storage_db_t *change_db_open(const storage_schema_t *schema)
{
  storage_db_t *db = NULL;
  diag_t diag = {""};
  fake_folder();
  assert_int_equal(storage_db_open(fake_path("t.db"), STORAGE_WRITES, &db, &diag), SMPL_OK);
  assert_int_equal(storage_db_prepare(db, fake_path("t.db"), schema, &diag), SMPL_OK);
  assert_int_equal(
      storage_db_command(db, "INSERT INTO tenants (id, name, key, created_at, updated_at) VALUES ('" TENANT
                             "', 'T', 't', 0, 0);"
                             "INSERT INTO tenants (id, name, key, created_at, updated_at) VALUES ('" OTHER
                             "', 'O', 'o', 0, 0)"),
      SMPL_OK);
  return db;
}

storage_db_t *accounts_db_open(void)
{
  storage_db_t *db = NULL;
  diag_t diag = {""};
  fake_folder();
  assert_int_equal(storage_db_open(fake_path("t.db"), STORAGE_WRITES, &db, &diag), SMPL_OK);
  assert_int_equal(storage_db_prepare(db, fake_path("t.db"), &account_schema, &diag), SMPL_OK);
  assert_int_equal(account_insert(db, ACCOUNT, "Acme", 5), SMPL_OK);
  return db;
}

void change_db_close(storage_db_t *db)
{
  storage_db_close(db);
  fake_folder_remove();
}

int change_apply(storage_db_t *db, int (*run)(storage_db_t *, edit_t *), const char *account, const char *id,
                 const char *new_id, const char *attributes, edit_t *out)
{
  json_t *json = attributes != NULL ? json_loads(attributes, 0, NULL) : NULL;
  *out = (edit_t){.id = id, .new_id = new_id, .attributes = json, .now = 1000};
  memcpy(out->account, account, sizeof out->account);
  assert_int_equal(storage_db_command(db, "SAVEPOINT job"), SMPL_OK);
  int err = run(db, out);
  if (err)
    assert_int_equal(storage_db_command(db, "ROLLBACK TO job"), SMPL_OK);
  assert_int_equal(storage_db_command(db, "RELEASE job"), SMPL_OK);
  json_decref(json);
  assert_int_equal(err == SMPL_OK, out->problem.status == 0);
  return err ? out->problem.status : out->status;
}
