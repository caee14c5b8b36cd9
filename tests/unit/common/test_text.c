/* SPDX-License-Identifier: Apache-2.0 */
/* common/base/text.h, common/base/clock.h, common/ssh/reason.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/ssh/reason.h"
#include "common/base/text.h"

static int parse(const char *s, uint64_t max, uint64_t *out)
{
  return text_parse_u64(s, strlen(s), max, out);
}

static void numbers_are_digits_only_and_bounded(void **state)
{
  (void)state;
  uint64_t v = 0;
  assert_int_equal(parse("0", 10, &v), SMPL_OK);
  assert_int_equal(v, 0);
  assert_int_equal(parse("65535", 65535, &v), SMPL_OK);
  assert_int_equal(v, 65535);
  assert_int_equal(parse("65536", 65535, &v), SMPL_ELIMIT);
  assert_int_equal(parse("18446744073709551615", UINT64_MAX, &v), SMPL_OK);
  assert_true(v == UINT64_MAX);
  assert_int_equal(parse("18446744073709551616", UINT64_MAX, &v), SMPL_ELIMIT);
  const char *bad[] = {"", "-1", "+1", " 1", "1 ", "0x10", "1e3"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_int_equal(parse(bad[i], UINT64_MAX, &v), SMPL_EINVAL);
}

static void durations_need_a_unit_and_format_back(void **state)
{
  (void)state;
  static const struct {
    const char *text;
    uint64_t ms;
  } good[] = {{"0", 0},         {"500ms", 500},   {"30s", 30000},
              {"20m", 1200000}, {"8h", 28800000}, {"7d", 604800000}};
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    uint64_t ms = 1;
    char back[32];
    assert_int_equal(text_parse_duration(good[i].text, strlen(good[i].text), &ms), SMPL_OK);
    assert_true(ms == good[i].ms);
    assert_string_equal(text_format_duration(back, sizeof back, ms), good[i].text);
  }
  const char *bad[] = {"", "30", "s", "1.5s", "30S", "30 s", "1s1", "-1s"};
  uint64_t ms;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_int_not_equal(text_parse_duration(bad[i], strlen(bad[i]), &ms), SMPL_OK);
  assert_int_equal(text_parse_duration("18446744073709551615d", 21, &ms), SMPL_ELIMIT);
}

static void hostile_bytes_are_escaped_and_cut_at_whole_escapes(void **state)
{
  (void)state;
  char buf[64];
  assert_int_equal(text_escape(buf, sizeof buf, "a\n\\\x1b[\xc3\xa9", 7), 20);
  assert_string_equal(buf, "a\\x0a\\\\\\x1b[\\xc3\\xa9");
  /* At every capacity the result is a prefix made of whole escapes. */
  for (size_t cap = 1; cap < 20; cap++) {
    char cut[32];
    size_t n = text_escape(cut, cap, "\x01\x02\x03\x04", 4);
    assert_true(n < cap);
    assert_int_equal(n % 4, 0);
    assert_int_equal(cut[n], '\0');
  }
}

static void printable_text_keeps_utf8_and_escapes_the_rest(void **state)
{
  (void)state;
  char buf[64];
  text_printable(buf, sizeof buf, "\xc3\xa9\\\x07", 4);
  assert_string_equal(buf, "\xc3\xa9\\\\x07");
  text_printable(buf, sizeof buf, "\xc0\xaf\xed\xa0\x80\xc2\x9b", 7); /* overlong, surrogate, C1 control */
  assert_string_equal(buf, "\\xc0\\xaf\\xed\\xa0\\x80\\xc2\\x9b");
  text_printable(buf, 3, "a\xc3\xa9", 3); /* é does not fit whole */
  assert_string_equal(buf, "a");
}

static void printable_text_shows_what_would_turn_or_break_a_line(void **state)
{
  (void)state;
  static const struct {
    unsigned first, last;
  } ranges[] = {{0x61c, 0x61c}, {0x200e, 0x200f}, {0x2028, 0x202e}, {0x2066, 0x2069}};
  for (unsigned c = 0x80; c < 0x3000; c++) {
    bool escaped = c < 0xa0;
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
      escaped = escaped || (c >= ranges[i].first && c <= ranges[i].last);
    char buf[32];
    uint8_t s[3] = {(uint8_t)(0xe0 | c >> 12), (uint8_t)(0x80 | (c >> 6 & 63)), (uint8_t)(0x80 | (c & 63))};
    size_t skip = c < 0x800 ? 1 : 0;
    if (skip)
      s[1] = (uint8_t)(0xc0 | c >> 6);
    text_printable(buf, sizeof buf, s + skip, sizeof s - skip);
    if (escaped != (buf[0] == '\\'))
      fail_msg("U+%04X becomes %s", c, buf);
  }
  char buf[32];
  text_printable(buf, sizeof buf,
                 "a\xe2\x80\xae"
                 "b",
                 5);
  assert_string_equal(buf, "a\\xe2\\x80\\xaeb");
}

static void copies_fit_or_are_refused(void **state)
{
  (void)state;
  char buf[4];
  assert_int_equal(text_copy(buf, sizeof buf, "abc"), SMPL_OK);
  assert_int_equal(text_copy(buf, sizeof buf, "abcd"), SMPL_ELIMIT);
  assert_string_equal(buf, "");
}

static void every_reason_has_a_name_of_its_own(void **state)
{
  (void)state;
  for (unsigned i = 0; i < REASON_COUNT; i++) {
    const char *name = reason_name((reason_t)i);
    assert_true(strlen(name) > 0);
    assert_true(strlen(reason_text((reason_t)i)) > 0);
    assert_int_equal(reason_from_name(name), (reason_t)i);
  }
  assert_string_equal(reason_name((reason_t)REASON_COUNT), "none");
  assert_int_equal(reason_from_name("no-such"), REASON_NONE);
}

static void time_is_written_as_rfc3339(void **state)
{
  (void)state;
  char buf[CLOCK_ISO_MAX];
  assert_string_equal(clock_format_iso(buf, 1700000000123), "2023-11-14T22:13:20.123Z");
  uint64_t a = clock_mono_us();
  assert_true(clock_mono_us() >= a);
}

static void distance_counts_edits(void **state)
{
  (void)state;
  static const struct {
    const char *a, *b;
    unsigned distance;
  } pairs[] = {{"", "", 0},
               {"a", "", 1},
               {"", "abc", 3},
               {"config", "config", 0},
               {"config", "confg", 1},
               {"config", "conffig", 1},
               {"config", "conxig", 1},
               {"config", "cofnig", 1},
               {"config", "ocfnig", 2},
               {"config", "flags", 6},
               {"kitten", "sitting", 3},
               {"ab", "ba", 1},
               {"abcd", "badc", 2}};
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    assert_int_equal(text_distance(pairs[i].a, pairs[i].b), pairs[i].distance);
    assert_int_equal(text_distance(pairs[i].b, pairs[i].a), pairs[i].distance);
  }
}

static void only_the_beginning_of_long_texts_counts(void **state)
{
  (void)state;
  char a[TEXT_DISTANCE_MAX + 2], b[TEXT_DISTANCE_MAX + 2];
  memset(a, 'a', sizeof a);
  memset(b, 'a', sizeof b);
  a[TEXT_DISTANCE_MAX + 1] = b[TEXT_DISTANCE_MAX + 1] = '\0';
  b[TEXT_DISTANCE_MAX] = 'b'; /* beyond what is looked at */
  assert_int_equal(text_distance(a, b), 0);
  b[TEXT_DISTANCE_MAX - 1] = 'b';
  assert_int_equal(text_distance(a, b), 1);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(distance_counts_edits),
      cmocka_unit_test(only_the_beginning_of_long_texts_counts),
      cmocka_unit_test(numbers_are_digits_only_and_bounded),
      cmocka_unit_test(durations_need_a_unit_and_format_back),
      cmocka_unit_test(hostile_bytes_are_escaped_and_cut_at_whole_escapes),
      cmocka_unit_test(printable_text_keeps_utf8_and_escapes_the_rest),
      cmocka_unit_test(printable_text_shows_what_would_turn_or_break_a_line),
      cmocka_unit_test(copies_fit_or_are_refused),
      cmocka_unit_test(every_reason_has_a_name_of_its_own),
      cmocka_unit_test(time_is_written_as_rfc3339),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
