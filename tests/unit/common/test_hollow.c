/* SPDX-License-Identifier: Apache-2.0 */
/* common/ssh/hollow.c. That libssh takes hollow keys of every kind: tests/unit/bastion/test_keys.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <libssh/libssh.h>

#include "common/base/error.h"
#include "common/ssh/cursor.h"
#include "common/ssh/hollow.h"

enum { RSA_16384 = 2048 };

/* A key of this kind whose second field has so many bytes. */
static size_t make(uint8_t *blob, const char *kind, const void *first, size_t first_len, size_t second_len)
{
  static uint8_t second[HOLLOW_BLOB_MAX * 2];
  cursor_out_t w = cursor_into(blob, HOLLOW_BLOB_MAX * 3);
  memset(second, 0x81, sizeof second);
  second[0] = 0; /* a number that is not negative */
  cursor_put_text(&w, kind);
  cursor_put_string(&w, first, first_len);
  if (second_len > 0)
    cursor_put_string(&w, second, second_len);
  assert_false(w.full);
  return w.len;
}

static const uint8_t e[] = {1, 0, 1};
static uint8_t blob[HOLLOW_BLOB_MAX * 3];
static char text[HOLLOW_TEXT_MAX];

static void test_the_largest_rsa_key_has_room(void **state)
{
  (void)state;
  ssh_key key = NULL;
  size_t len = make(blob, "ssh-rsa", e, sizeof e, RSA_16384 + 1);
  assert_int_equal(hollow_text(blob, len, text, sizeof text), SMPL_OK);
  assert_int_equal(ssh_pki_import_privkey_base64(text, NULL, NULL, NULL, &key), SSH_OK);
  assert_true(ssh_key_is_private(key));
  ssh_key_free(key);
}

static void test_a_larger_one_is_refused(void **state)
{
  (void)state;
  size_t most = make(blob, "ssh-rsa", e, sizeof e, 1);
  size_t len = make(blob, "ssh-rsa", e, sizeof e, 1 + HOLLOW_BLOB_MAX - most);
  assert_int_equal(len, HOLLOW_BLOB_MAX);
  assert_int_equal(hollow_text(blob, len, text, sizeof text), SMPL_OK);
  len = make(blob, "ssh-rsa", e, sizeof e, 2 + HOLLOW_BLOB_MAX - most);
  assert_int_equal(hollow_text(blob, len, text, sizeof text), SMPL_ELIMIT);
}

static void test_text_that_does_not_fit_is_not_cut(void **state)
{
  (void)state;
  uint8_t point[32] = {7};
  size_t len = make(blob, "ssh-ed25519", point, sizeof point, 0);
  assert_int_equal(hollow_text(blob, len, text, sizeof text), SMPL_OK);
  size_t whole = strlen(text) + 1;
  assert_int_equal(hollow_text(blob, len, text, whole - 1), SMPL_ELIMIT);
}

static void test_what_is_no_key_of_these_kinds_is_refused(void **state)
{
  (void)state;
  uint8_t point[33] = {7};
  assert_int_equal(hollow_text(blob, make(blob, "ssh-ed25519", point, 31, 0), text, sizeof text),
                   SMPL_EINVAL);
  assert_int_equal(hollow_text(blob, make(blob, "ssh-ed25519", point, 33, 0), text, sizeof text),
                   SMPL_EINVAL);
  assert_int_equal(hollow_text(blob, make(blob, "ssh-dss", e, sizeof e, 20), text, sizeof text), SMPL_EINVAL);
  assert_int_equal(hollow_text(blob, make(blob, "ssh-rsa", e, sizeof e, 0), text, sizeof text), SMPL_EINVAL);
  assert_int_equal(hollow_text(blob, 0, text, sizeof text), SMPL_EINVAL);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_the_largest_rsa_key_has_room),
      cmocka_unit_test(test_a_larger_one_is_refused),
      cmocka_unit_test(test_text_that_does_not_fit_is_not_cut),
      cmocka_unit_test(test_what_is_no_key_of_these_kinds_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
