/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "app/store/sqlite/account_store.h"
#include "app/store/ident.h"
#include "app/http/keys.h"
#include "common/base/error.h"

static void a_key_is_well_formed_and_unlike_the_next(void **state)
{
  char a[KEY_TEXT_MAX], b[KEY_TEXT_MAX];
  (void)state;
  for (int i = 0; i < 200; i++) {
    assert_int_equal(key_generate(a), SMPL_OK);
    assert_int_equal(key_generate(b), SMPL_OK);
    assert_int_equal(strlen(a), 43);
    assert_true(key_well_formed(a));
    assert_string_not_equal(a, b);
  }
}

static void any_changed_character_breaks_the_checksum(void **state)
{
  char key[KEY_TEXT_MAX];
  (void)state;
  assert_int_equal(key_generate(key), SMPL_OK);
  for (size_t i = 0; i < KEY_TEXT_LEN; i++) {
    char before = key[i];
    for (char c = '0'; c <= 'z'; c++) {
      key[i] = c;
      assert_int_equal(key_well_formed(key), c == before);
      bool base62 = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
      assert_int_equal(key_has_form(key), c == before || (i >= sizeof KEY_PREFIX - 1 && base62));
    }
    key[i] = before;
  }
}

static void the_checksum_is_the_crc32_that_others_compute(void **state)
{
  (void)state;
  /* zlib.crc32(b"sk_api_" + b"0" * 30) == 0xda8c1cc6, in base62. */
  assert_true(key_well_formed("sk_api_"
                              "000000000000000000000000000000"
                              "408kBa"));
}

/* Whatever is changed of the one, it never becomes the other: the prefix is in the checksum. */
static void an_internal_key_is_no_api_key_and_neither_can_be_made_of_the_other(void **state)
{
  char key[KEY_TEXT_MAX], internal[KEY_TEXT_MAX];
  (void)state;
  for (int i = 0; i < 200; i++) {
    assert_int_equal(key_generate(key), SMPL_OK);
    assert_int_equal(key_generate_internal(internal), SMPL_OK);
    assert_int_equal(strlen(internal), KEY_TEXT_LEN);
    assert_true(key_is_internal(internal));
    assert_false(key_well_formed(internal));
    assert_false(key_is_internal(key));
    memcpy(internal, KEY_PREFIX, sizeof KEY_PREFIX - 1);
    memcpy(key, KEY_INTERNAL_PREFIX, sizeof KEY_INTERNAL_PREFIX - 1);
    assert_false(key_well_formed(internal));
    assert_false(key_is_internal(key));
  }
}

static void keys_of_other_lengths_are_refused(void **state)
{
  char key[KEY_TEXT_MAX + 1];
  (void)state;
  assert_int_equal(key_generate(key), SMPL_OK);
  key[KEY_TEXT_LEN] = '0';
  key[KEY_TEXT_LEN + 1] = '\0';
  assert_false(key_well_formed(key) || key_has_form(key));
  key[KEY_TEXT_LEN - 1] = '\0';
  assert_false(key_well_formed(key) || key_has_form(key));
  assert_false(key_well_formed("") || key_has_form(""));
}

static void a_hash_is_sha256(void **state)
{
  static const uint8_t want[4] = {0xba, 0x78, 0x16, 0xbf}; /* FIPS 180-4, "abc" */
  uint8_t hash[KEY_HASH_LEN];
  (void)state;
  assert_int_equal(key_hash("abc", hash), SMPL_OK);
  assert_memory_equal(hash, want, sizeof want);
}

static void uuids_are_version_4_in_lower_case(void **state)
{
  char a[UUID_TEXT_MAX];
  (void)state;
  assert_int_equal(uuid_generate(a), SMPL_OK);
  assert_true(uuid_valid(a));
  assert_int_equal(a[14], '4');
  assert_non_null(strchr("89ab", a[19]));
  assert_false(uuid_valid("D290F1EE-6C54-4B01-90E6-D701748F0851"));
  assert_false(uuid_valid("d290f1ee-6c54-4b01-90e6-d701748f085"));
  assert_false(uuid_valid("d290f1ee-6c54-4b01-90e6-d701748f08511"));
  assert_false(uuid_valid("d290f1ee06c54-4b01-90e6-d701748f0851"));
  assert_false(uuid_valid(""));
}

static void resource_ids_can_stand_in_a_path_as_they_are(void **state)
{
  char id[RESOURCE_ID_MAX + 2];
  (void)state;
  assert_true(resource_id_valid("user-service.v2_~"));
  assert_false(resource_id_valid(""));
  assert_false(resource_id_valid("."));
  assert_false(resource_id_valid(".."));
  assert_true(resource_id_valid("..."));
  assert_false(resource_id_valid("a/b"));
  assert_false(resource_id_valid("a%2fb"));
  assert_false(resource_id_valid("a b"));
  assert_false(resource_id_valid("\xc3\xa4"));
  memset(id, 'a', sizeof id);
  id[RESOURCE_ID_MAX] = '\0';
  assert_true(resource_id_valid(id));
  id[RESOURCE_ID_MAX] = 'a';
  id[RESOURCE_ID_MAX + 1] = '\0';
  assert_false(resource_id_valid(id));
}

static void times_are_read_as_rfc_3339_writes_them(void **state)
{
  uint64_t ms = 0;
  (void)state;
  assert_int_equal(time_parse("1970-01-01T00:00:00Z", &ms), SMPL_OK);
  assert_int_equal(ms, 0);
  assert_int_equal(time_parse("2027-03-20T11:02:16.616Z", &ms), SMPL_OK);
  assert_int_equal(ms, 1805540536616ULL);
  assert_int_equal(time_parse("2027-03-20T13:02:16.6160001+02:00", &ms), SMPL_OK);
  assert_int_equal(ms, 1805540536616ULL);
  assert_int_equal(time_parse("2024-02-29T00:00:00z", &ms), SMPL_OK);
  assert_int_equal(ms, 1709164800000ULL);
  static const char *const bad[] = {"",
                                    "2027",
                                    "2027-03-20",
                                    "2027-02-29T00:00:00Z",
                                    "2027-13-01T00:00:00Z",
                                    "2027-03-20T24:00:00Z",
                                    "2027-03-20T11:02:16",
                                    "2027-03-20T11:02:16.Z",
                                    "2027-03-20T11:02:16.1234567890Z",
                                    "2027-03-20T11:02:16Zx",
                                    "1969-12-31T23:59:59Z",
                                    "1970-01-01T00:00:00+00:01",
                                    "2027-03-20T11:02:16+2:00"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_int_equal(time_parse(bad[i], &ms), SMPL_EINVAL);
}

static void an_accounts_key_is_made_of_its_name(void **state)
{
  char key[ACCOUNT_KEY_MAX], longest[300];
  (void)state;
  account_key_of("Acme Corp.", key);
  assert_string_equal(key, "acme_corp");
  account_key_of("  --42 & Söhne--  ", key);
  assert_string_equal(key, "42_s_hne");
  account_key_of("???", key);
  assert_string_equal(key, "account");
  memset(longest, 'x', sizeof longest - 1);
  longest[sizeof longest - 1] = '\0';
  account_key_of(longest, key);
  assert_true(strlen(key) < ACCOUNT_KEY_MAX);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_key_is_well_formed_and_unlike_the_next),
      cmocka_unit_test(any_changed_character_breaks_the_checksum),
      cmocka_unit_test(the_checksum_is_the_crc32_that_others_compute),
      cmocka_unit_test(an_internal_key_is_no_api_key_and_neither_can_be_made_of_the_other),
      cmocka_unit_test(keys_of_other_lengths_are_refused),
      cmocka_unit_test(a_hash_is_sha256),
      cmocka_unit_test(uuids_are_version_4_in_lower_case),
      cmocka_unit_test(resource_ids_can_stand_in_a_path_as_they_are),
      cmocka_unit_test(times_are_read_as_rfc_3339_writes_them),
      cmocka_unit_test(an_accounts_key_is_made_of_its_name),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
