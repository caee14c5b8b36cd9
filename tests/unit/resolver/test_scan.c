/* SPDX-License-Identifier: Apache-2.0 */
/* Master files cut into words. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/error.h"
#include "resolver/limits.h"
#include "resolver/zone/scan.h"

/* All entries as "LINE[+]: word|word" a line, '+' for a blank owner; or the error's message. */
static const char *scan_text(const char *text, size_t len)
{
  static char out[4096];
  scan_t *scan;
  diag_t diag = {""};
  size_t used = 0;
  char *copy = malloc(len > 0 ? len : 1);
  assert_non_null(copy);
  memcpy(copy, text, len);
  assert_int_equal(scan_new("f", copy, len, &scan), 0);
  out[0] = '\0';
  for (;;) {
    scan_entry_t e;
    int err = scan_next(scan, &e, &diag);
    if (err == SMPL_ENOENT)
      break;
    if (err) {
      snprintf(out, sizeof out, "%s", diag.text);
      break;
    }
    used += (size_t)snprintf(out + used, sizeof out - used, "%s%u%s:", used > 0 ? "\n" : "", e.line,
                             e.blank_owner ? "+" : "");
    for (size_t i = 0; i < e.count; i++)
      used += (size_t)snprintf(out + used, sizeof out - used, "%s%.*s", i > 0 ? "|" : " ",
                               (int)e.words[i].len, e.words[i].text);
  }
  scan_free(scan);
  free(copy);
  return out;
}

static void expect(const char *text, const char *want)
{
  assert_string_equal(scan_text(text, strlen(text)), want);
}

static void words_lines_and_blank_owners(void **state)
{
  (void)state;
  expect("", "");
  expect("\n\n  \n;x\n", "");
  expect("a b\tc\n", "1: a|b|c");
  expect("a b", "1: a|b");
  expect("\n\na b\r\n  c d\r\n", "3: a|b\n4+: c|d");
  expect("a b ; c d\ne", "1: a|b\n2: e");
  expect(" ; only a comment\na", "2: a");
  expect("\xef\xbb\xbf$TTL 60\n", "1: $TTL|60");
}

static void parentheses_join_lines(void **state)
{
  (void)state;
  expect("a SOA ( 1 ; one\n 2\n\n3 ) 4\nb c", "1: a|SOA|1|2|3|4\n5: b|c");
  expect("a (b)c((d)\n)e", "1: a|b|c|d|e");
  expect("a(\nb\n)\nc", "1: a|b\n4: c");
  expect("( a\n b ) c", "1: a|b|c");
}

static void quotes_and_backslashes_keep_what_is_in_them(void **state)
{
  (void)state;
  expect("a TXT \"b ;( c\" d", "1: a|TXT|\"b ;( c\"|d");
  expect("a TXT \"b\\\"c\" d", "1: a|TXT|\"b\\\"c\"|d");
  expect("a\\;b c\\(d e\\ f", "1: a\\;b|c\\(d|e\\ f");
  expect("a k=\"x y\"z", "1: a|k=\"x y\"z");
  expect("a \"\"", "1: a|\"\"");
}

static void defects_are_named_with_their_line(void **state)
{
  (void)state;
  expect("\na \"b\nc\" d", "f:2: quoted text without its closing quote: expected '\"' before the line's end");
  expect("a \"b", "f:1: quoted text without its closing quote: expected '\"' before the line's end");
  expect("a \"b\\", "f:1: quoted text without its closing quote: expected '\"' before the line's end");
  expect("x\na (b\nc", "f:2: '(' is never closed: expected ')' before the file's end");
  expect("x\na b)\nc", "f:2: ')' without its '('");
  expect("a b\\\nc", "f:1: backslash at the end of the line: expected a character after it");
  expect("a b\\", "f:1: backslash at the end of the line: expected a character after it");
  expect("a\nb \001", "f:2: control character \\001: expected text");
  assert_string_equal(scan_text("a\0b", 3), "f:1: control character \\000: expected text");
  assert_string_equal(scan_text("a \"\0\"", 5),
                      "f:1: quoted text without its closing quote: expected '\"' before the line's end");
}

static int scan_words(size_t words, size_t word_len, size_t *count)
{
  char *text = malloc(words * (word_len + 1) + 1);
  assert_non_null(text);
  size_t used = 0;
  for (size_t i = 0; i < words; i++) {
    memset(text + used, 'a', word_len);
    used += word_len;
    text[used++] = ' ';
  }
  scan_t *scan;
  scan_entry_t e = {0};
  assert_int_equal(scan_new("f", text, used, &scan), 0);
  int err = scan_next(scan, &e, NULL);
  *count = e.count;
  scan_free(scan);
  free(text);
  return err;
}

static void limits_of_words_and_bytes_hold(void **state)
{
  (void)state;
  size_t count;
  assert_int_equal(scan_words(SCAN_TOKENS_MAX, 1, &count), 0);
  assert_int_equal(count, SCAN_TOKENS_MAX);
  assert_int_equal(scan_words(SCAN_TOKENS_MAX + 1, 1, &count), SMPL_ELIMIT);
  assert_int_equal(scan_words(1, SCAN_ENTRY_MAX, &count), 0);
  assert_int_equal(scan_words(1, SCAN_ENTRY_MAX + 1, &count), SMPL_ELIMIT);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(words_lines_and_blank_owners),
      cmocka_unit_test(parentheses_join_lines),
      cmocka_unit_test(quotes_and_backslashes_keep_what_is_in_them),
      cmocka_unit_test(defects_are_named_with_their_line),
      cmocka_unit_test(limits_of_words_and_bytes_hold),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
