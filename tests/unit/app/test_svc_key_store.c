/* SPDX-License-Identifier: Apache-2.0 */
/* API keys in a SQLite file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "app/store/sqlite/key_store.h"
#include "common/base/error.h"
#include "tests/unit/app/svc_change.h"

static storage_db_t *db;

static int set_up(void **state)
{
  (void)state;
  db = accounts_db_open();
  return 0;
}

static int tear_down(void **state)
{
  (void)state;
  change_db_close(db);
  return 0;
}

/* Stores a new key; its text stays in text. */
static int insert(key_new_t *key, char *text, int64_t expires_at)
{
  json_t *resource = NULL;
  assert_int_equal(key_make(key), SMPL_OK);
  memcpy(text, key->text, KEY_TEXT_MAX);
  key->expires_at = expires_at;
  int err = key_insert(db, key, ACCOUNT, "name", 1000, &resource);
  const json_t *attributes = json_object_get(resource, "attributes");
  const char *made_by = json_string_value(json_object_get(attributes, "created_by"));
  if (!err) {
    assert_string_equal(json_string_value(json_object_get(attributes, "key")), text);
    assert_string_equal(made_by != NULL ? made_by : "", key->created_by != NULL ? key->created_by : "");
  }
  json_decref(resource);
  assert_int_equal(key->text[0], '\0'); /* wiped */
  return err;
}

static void a_key_is_found_until_it_is_revoked_deleted_or_expired(void **state)
{
  key_new_t plain = {.created_by = NULL}, expiring = {.created_by = "onboarding"};
  key_found_t found;
  char text[KEY_TEXT_MAX], late[KEY_TEXT_MAX];
  (void)state;
  assert_int_equal(insert(&plain, text, -1), SMPL_OK);
  assert_int_equal(insert(&expiring, late, 2000), SMPL_OK);
  assert_int_equal(key_find(db, text, INT64_MAX, &found), SMPL_OK);
  assert_string_equal(found.account, ACCOUNT);
  assert_string_equal(found.id, plain.id);
  assert_int_equal(key_find(db, late, 1999, &found), SMPL_OK);
  assert_int_equal(key_find(db, late, 2000, &found), SMPL_ENOENT);
  assert_int_equal(key_revoke(db, ACCOUNT, plain.id, 3000), SMPL_OK);
  assert_int_equal(key_revoke(db, ACCOUNT, plain.id, 4000), SMPL_OK);
  assert_int_equal(key_find(db, text, 1, &found), SMPL_ENOENT);
  assert_int_equal(key_delete(db, ACCOUNT, expiring.id), SMPL_OK);
  assert_int_equal(key_delete(db, ACCOUNT, expiring.id), SMPL_ENOENT);
  assert_int_equal(key_find(db, late, 1, &found), SMPL_ENOENT);
}

static void of_two_keys_with_one_tag_the_whole_hash_decides(void **state)
{
  key_new_t key = {.created_by = NULL};
  key_found_t found;
  char text[KEY_TEXT_MAX];
  uint8_t other[KEY_HASH_LEN];
  (void)state;
  assert_int_equal(insert(&key, text, -1), SMPL_OK);
  memcpy(other, key.hash, sizeof other);
  other[KEY_HASH_LEN - 1] ^= 1;
  assert_int_equal(
      storage_exec(db,
                   "INSERT INTO api_keys (id, account, name, tag, hash, status, created_at, updated_at)"
                   " VALUES ('00000000-0000-4000-8000-000000000000', ?1, 'x', ?2, ?3, 'ACTIVE', 0, 0)",
                   STORAGE_ARGS(STORAGE_TEXT(ACCOUNT), STORAGE_BLOB(other, KEY_TAG_LEN),
                                STORAGE_BLOB(other, KEY_HASH_LEN)),
                   NULL),
      SMPL_OK);
  assert_int_equal(key_find(db, text, 1, &found), SMPL_OK);
  assert_string_equal(found.id, key.id);
  assert_int_equal(key_delete(db, ACCOUNT, key.id), SMPL_OK);
  assert_int_equal(key_find(db, text, 1, &found), SMPL_ENOENT);
}

static void last_use_is_noted_once_a_minute(void **state)
{
  key_new_t key = {.created_by = NULL};
  key_found_t found;
  char text[KEY_TEXT_MAX];
  (void)state;
  assert_int_equal(insert(&key, text, -1), SMPL_OK);
  static const int64_t times[][2] = {{100000, 100000},
                                     {100000 + API_KEY_TOUCH_MS - 1, 100000},
                                     {100000 + API_KEY_TOUCH_MS, 100000 + API_KEY_TOUCH_MS}};
  for (size_t i = 0; i < 3; i++) {
    assert_int_equal(key_touch(db, key.id, times[i][0]), SMPL_OK);
    assert_int_equal(key_find(db, text, 1, &found), SMPL_OK);
    assert_int_equal(found.last_used_at, times[i][1]);
  }
}

static void an_account_has_at_most_1000_keys(void **state)
{
  key_new_t key = {.created_by = NULL};
  char text[KEY_TEXT_MAX];
  (void)state;
  for (int i = 0; i < API_KEYS_MAX; i++)
    assert_int_equal(insert(&key, text, -1), SMPL_OK);
  json_t *resource = NULL;
  assert_int_equal(key_make(&key), SMPL_OK);
  assert_int_equal(key_insert(db, &key, ACCOUNT, "name", 1, &resource), SMPL_ELIMIT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(a_key_is_found_until_it_is_revoked_deleted_or_expired),
      TEST(of_two_keys_with_one_tag_the_whole_hash_decides),
      TEST(last_use_is_noted_once_a_minute),
      TEST(an_account_has_at_most_1000_keys),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
