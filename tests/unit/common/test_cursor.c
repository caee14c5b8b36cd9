/* SPDX-License-Identifier: Apache-2.0 */
/* common/ssh/cursor.h and common/ssh/base64.h: SSH's data is read within its bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/error.h"
#include "common/ssh/base64.h"
#include "common/ssh/cursor.h"

static const uint8_t bytes[] = {7, 0, 0, 0, 3, 'a', 'b', 'c', 1, 2, 3, 4, 5, 6, 7, 8};

static void numbers_and_strings_are_taken_from_the_front(void **state)
{
  (void)state;
  cursor_t c = {bytes, sizeof bytes}, s;
  uint8_t one;
  uint64_t eight;
  assert_int_equal(cursor_u8(&c, &one), SMPL_OK);
  assert_int_equal(one, 7);
  assert_int_equal(cursor_string(&c, &s), SMPL_OK);
  assert_true(cursor_is(s, "abc"));
  assert_false(cursor_is(s, "ab"));
  assert_int_equal(cursor_u64(&c, &eight), SMPL_OK);
  assert_int_equal(eight, 0x0102030405060708);
  assert_int_equal(c.len, 0);
  assert_int_equal(cursor_u8(&c, &one), SMPL_ETRUNC);
}

/* For every shorter message: what does not fit takes nothing. */
static void what_is_cut_off_takes_nothing(void **state)
{
  (void)state;
  for (size_t len = 0; len < 7; len++) {
    uint8_t *copy = malloc(len + 1); /* a sanitizer sees a read behind it */
    memcpy(copy, bytes + 1, len);
    cursor_t c = {copy, len}, s;
    uint32_t four;
    uint64_t eight;
    assert_int_equal(cursor_string(&c, &s), SMPL_ETRUNC);
    assert_int_equal(cursor_u64(&c, &eight), SMPL_ETRUNC);
    assert_int_equal(c.len, len);
    assert_int_equal(cursor_u32(&c, &four), len < 4 ? SMPL_ETRUNC : SMPL_OK);
    free(copy);
  }
}

static void a_length_beyond_the_end_is_refused(void **state)
{
  (void)state;
  static const uint8_t huge[] = {0xff, 0xff, 0xff, 0xff, 'x'};
  cursor_t c = {huge, sizeof huge}, s;
  assert_int_equal(cursor_string(&c, &s), SMPL_ETRUNC);
  assert_int_equal(c.len, sizeof huge);
}

static void an_empty_string_is_one(void **state)
{
  (void)state;
  static const uint8_t none[] = {0, 0, 0, 0};
  char text[4];
  cursor_t c = {none, sizeof none}, s = {NULL, 1};
  assert_int_equal(cursor_string(&c, &s), SMPL_OK);
  assert_int_equal(s.len, 0);
  assert_true(cursor_is(s, ""));
  assert_int_equal(cursor_text(s, text, 1), SMPL_OK);
  assert_true(cursor_is((cursor_t){NULL, 0}, ""));
  assert_int_equal(cursor_text((cursor_t){bytes + 5, 3}, text, 3), SMPL_ELIMIT);
  assert_int_equal(cursor_text((cursor_t){bytes + 5, 3}, text, 4), SMPL_OK);
  assert_string_equal(text, "abc");
  assert_int_equal(cursor_text((cursor_t){bytes, 2}, text, 4), SMPL_EINVAL);
}

static void what_was_written_is_read_again_and_a_full_buffer_stays_full(void **state)
{
  (void)state;
  uint8_t buf[12];
  cursor_out_t w = cursor_into(buf, sizeof buf);
  cursor_put_u8(&w, 9);
  cursor_put_text(&w, "abc");
  cursor_put_u32(&w, 77);
  assert_false(w.full);
  assert_int_equal(w.len, sizeof buf);
  cursor_put_u8(&w, 1);
  assert_true(w.full);
  cursor_put_bytes(&w, "", 0);
  assert_true(w.full);
  cursor_t c = {buf, w.len}, s;
  uint8_t one;
  uint32_t four;
  assert_int_equal(cursor_u8(&c, &one) + cursor_string(&c, &s) + cursor_u32(&c, &four), SMPL_OK);
  assert_int_equal(four, 77);
}

static void base64_in_new_memory_is_as_strict(void **state)
{
  (void)state;
  size_t len = 0;
  uint8_t *data = base64_decode_new("TWE=", 4, 4, &len);
  assert_non_null(data);
  assert_int_equal(len, 2);
  assert_memory_equal(data, "Ma", 2);
  free(data);
  static const char *const bad[] = {"", "TWE", "TW=a", "T\nE=", "TWE= ", "====", "TW\377u"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_null(base64_decode_new(bad[i], strlen(bad[i]), 100, &len));
  assert_null(base64_decode_new("TWFu", 4, 3, &len));
  char text[BASE64_TEXT(5)];
  base64_encode((const uint8_t *)"hello", 5, text);
  assert_string_equal(text, "aGVsbG8=");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(numbers_and_strings_are_taken_from_the_front),
      cmocka_unit_test(what_is_cut_off_takes_nothing),
      cmocka_unit_test(a_length_beyond_the_end_is_refused),
      cmocka_unit_test(an_empty_string_is_one),
      cmocka_unit_test(what_was_written_is_read_again_and_a_full_buffer_stays_full),
      cmocka_unit_test(base64_in_new_memory_is_as_strict),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
