/* SPDX-License-Identifier: Apache-2.0 */
/* SOCKS5: what is taken, what is refused and with which answer; never more bytes than are asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tunnel/local/socks.h"

/* Feeds bytes as they are wanted; returns how the last step went, *used how many were taken. */
static socks_step_t feed(socks_t *s, const void *data, size_t len, size_t *used)
{
  const uint8_t *at = data;
  socks_step_t step = SOCKS_MORE;
  *used = 0;
  socks_start(s);
  while (step == SOCKS_MORE && *used < len) {
    assert_true(s->want > 0 && s->want <= SOCKS_WANT_MAX);
    size_t n = len - *used < s->want ? len - *used : s->want;
    step = socks_take(s, at + *used, n);
    *used += n;
  }
  return step;
}

static void expect_target(const void *data, size_t len, const char *host, unsigned port)
{
  socks_t s;
  size_t used;
  uint8_t more[600];
  memcpy(more, data, len);
  memset(more + len, 'x', sizeof more - len);
  assert_int_equal(feed(&s, more, sizeof more, &used), SOCKS_TARGET);
  assert_int_equal(used, len); /* what lies behind is the target's */
  assert_string_equal(s.host, host);
  assert_int_equal(s.port, port);
}

static void test_every_kind_of_address(void **state)
{
  (void)state;
  static const uint8_t v4[] = {5, 1, 0, 5, 1, 0, 1, 10, 0, 0, 1, 0x1f, 0x90};
  static const uint8_t name[] = {5, 2, 2, 0, 5, 1, 0, 3, 3, 'a', '.', 'b', 0, 80};
  static const uint8_t v6[] = {5, 1, 0, 5, 1, 0, 4, 0xfd, 0, 0, 0,    0,   0,
                               0, 0, 0, 0, 0, 0, 0, 0,    0, 5, 0xff, 0xff};
  expect_target(v4, sizeof v4, "10.0.0.1", 8080);
  expect_target(name, sizeof name, "a.b", 80);
  expect_target(v6, sizeof v6, "fd00::5", 65535);
}

static void test_a_name_may_be_so_long_and_no_longer(void **state)
{
  (void)state;
  uint8_t data[300] = {5, 1, 0, 5, 1, 0, 3, FORWARD_TARGET_MAX - 1};
  memset(data + 8, 'a', FORWARD_TARGET_MAX - 1);
  data[8 + FORWARD_TARGET_MAX - 1] = 0;
  data[8 + FORWARD_TARGET_MAX] = 80;
  socks_t s;
  size_t used;
  assert_int_equal(feed(&s, data, 8 + FORWARD_TARGET_MAX + 1, &used), SOCKS_TARGET);
  assert_int_equal(strlen(s.host), FORWARD_TARGET_MAX - 1);
  data[7] = FORWARD_TARGET_MAX;
  assert_int_equal(feed(&s, data, sizeof data, &used), SOCKS_BAD);
}

static void expect_bad(const void *data, size_t len, size_t reply_len, unsigned code)
{
  socks_t s;
  size_t used;
  assert_int_equal(feed(&s, data, len, &used), SOCKS_BAD);
  assert_non_null(s.fault);
  assert_int_equal(s.reply_len, reply_len);
  if (reply_len > 0)
    assert_int_equal(s.reply[1], code);
}

static void test_what_is_not_meant_is_refused_with_its_code(void **state)
{
  (void)state;
  expect_bad("\4\1\0\x50", 4, 0, 0);
  expect_bad("GET ", 4, 0, 0);
  expect_bad("\5\0", 2, 0, 0);
  expect_bad("\5\1\2", 3, 2, 0xff);
  expect_bad("\5\1\0\5\2\0\1\1", 8, SOCKS_REPLY_SIZE, SOCKS_NO_COMMAND);
  expect_bad("\5\1\0\5\1\0\2\1", 8, SOCKS_REPLY_SIZE, SOCKS_NO_ADDRESS_TYPE);
  expect_bad("\5\1\0\5\1\1\1\1", 8, SOCKS_REPLY_SIZE, SOCKS_FAILED);
  expect_bad("\5\1\0\4\1\0\1\1", 8, SOCKS_REPLY_SIZE, SOCKS_FAILED);
  expect_bad("\5\1\0\5\1\0\3\0", 8, SOCKS_REPLY_SIZE, SOCKS_FAILED);
  expect_bad("\5\1\0\5\1\0\1\1\2\3\4\0\0", 13, SOCKS_REPLY_SIZE, SOCKS_FAILED);
  expect_bad("\5\1\0\5\1\0\3\3a\0b\0\x50", 13, SOCKS_REPLY_SIZE, SOCKS_FAILED);
  expect_bad("\5\1\0\5\1\0\3\3a/b\0\x50", 13, SOCKS_REPLY_SIZE, SOCKS_FAILED);
}

static void test_more_than_was_wanted_is_no_overflow(void **state)
{
  (void)state;
  socks_t s;
  socks_start(&s);
  assert_int_equal(socks_take(&s, (const uint8_t *)"\5\1\0", 3), SOCKS_BAD);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_kind_of_address),
      cmocka_unit_test(test_a_name_may_be_so_long_and_no_longer),
      cmocka_unit_test(test_what_is_not_meant_is_refused_with_its_code),
      cmocka_unit_test(test_more_than_was_wanted_is_no_overflow),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
