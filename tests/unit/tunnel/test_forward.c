/* SPDX-License-Identifier: Apache-2.0 */
/* [BIND:]PORT:TARGET[:PORT]: every form that is meant, and what is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/error.h"
#include "tunnel/local/forward.h"

static void expect(const char *text, const char *bind, unsigned port, const char *target,
                   unsigned target_port)
{
  forward_t f;
  diag_t diag = {0};
  if (forward_parse(text, &f, &diag) != SMPL_OK)
    fail_msg("%s: %s", text, diag.text);
  char at[IP_TEXT_MAX] = "";
  if (f.bind_given)
    ip_format(&f.bind, at);
  assert_string_equal(at, bind);
  assert_int_equal(f.port, port);
  assert_string_equal(f.target, target);
  assert_int_equal(f.target_port, target_port);
}

static void expect_error(const char *text, int err, const char *words)
{
  forward_t f;
  diag_t diag = {0};
  assert_int_equal(forward_parse(text, &f, &diag), err);
  if (!strstr(diag.text, words))
    fail_msg("'%s' says '%s', not '%s'", text, diag.text, words);
}

static void test_every_form(void **state)
{
  (void)state;
  expect("8080:config.internal", "", 8080, "config.internal", 0);
  expect("8080:config.internal:8000", "", 8080, "config.internal", 8000);
  expect("127.0.0.9:8080:config.internal", "127.0.0.9", 8080, "config.internal", 0);
  expect("127.0.0.9:8080:config.internal:80", "127.0.0.9", 8080, "config.internal", 80);
  expect("localhost:8080:config.internal", "", 8080, "config.internal", 0);
  expect("[::1]:9000:app.internal", "::1", 9000, "app.internal", 0);
  expect("[::1]:9000:[fd00::5]:80", "::1", 9000, "fd00::5", 80);
  expect("9000:[fd00::5]:80", "", 9000, "fd00::5", 80);
  expect("9000:[fd00::5]", "", 9000, "fd00::5", 0);
  expect("9000:10.0.0.1:80", "", 9000, "10.0.0.1", 80);
  expect("0:x", "", 0, "x", 0);
}

static void test_ports_at_their_limits(void **state)
{
  (void)state;
  expect("65535:x:65535", "", 65535, "x", 65535);
  expect("1:x:1", "", 1, "x", 1);
  expect_error("65536:x", SMPL_EINVAL, "'65536' is not a port");
  expect_error("80:x:65536", SMPL_EINVAL, "'65536' is not a port");
  expect_error("80:x:0", SMPL_EINVAL, "cannot be 0");
  expect_error("80:x:8x", SMPL_EINVAL, "'8x' is not a port");
  expect_error("99999999999999999999999:x", SMPL_EINVAL, "is not a port");
}

static void test_addresses_that_others_reach_are_marked(void **state)
{
  (void)state;
  static const char *const wide[] = {"0.0.0.0:80:x", "[::]:80:x", "192.168.1.1:80:x"};
  forward_t f;
  for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) {
    assert_int_equal(forward_parse(wide[i], &f, NULL), SMPL_OK);
    assert_true(f.wide);
  }
  assert_int_equal(forward_parse("127.9.9.9:80:x", &f, NULL), SMPL_OK);
  assert_false(f.wide);
  expect_error("*:80:x", SMPL_EINVAL, "not an address");
  expect_error("127.1:80:x", SMPL_EINVAL, "not an address");
}

static void expect_socket(const char *text, const char *path, const char *target, unsigned port)
{
  forward_t f;
  assert_int_equal(forward_parse(text, &f, NULL), SMPL_OK);
  assert_int_equal(f.kind, FORWARD_SOCKET);
  assert_string_equal(f.path, path);
  assert_string_equal(f.target, target);
  assert_int_equal(f.target_port, port);
}

static void test_unix_sockets(void **state)
{
  (void)state;
  expect_socket("/tmp/x.sock:config.internal", "/tmp/x.sock", "config.internal", 0);
  expect_socket("./x:config.internal:80", "./x", "config.internal", 80);
  expect_socket("/tmp/x:[fd00::5]:80", "/tmp/x", "fd00::5", 80);
  expect_error("/tmp/x.sock", SMPL_EINVAL, "PATH:TARGET");
  expect_error("/tmp/x.sock:", SMPL_EINVAL, "PATH:TARGET");
  expect_error("/tmp/:x", SMPL_EINVAL, "PATH:TARGET");
  expect_error("/tmp/x:a:1:2", SMPL_EINVAL, "PATH:TARGET");
  char text[200];
  memset(text, 'a', sizeof text);
  text[0] = '/';
  memcpy(text + FORWARD_PATH_MAX - 1, ":x", 3);
  forward_t f;
  assert_int_equal(forward_parse(text, &f, NULL), SMPL_OK);
  assert_int_equal(strlen(f.path), FORWARD_PATH_MAX - 1);
  memcpy(text + FORWARD_PATH_MAX - 1, "a:x", 4);
  expect_error(text, SMPL_EINVAL, "at most");
}

static void test_the_local_end_of_socks(void **state)
{
  (void)state;
  forward_t f;
  assert_int_equal(forward_parse_socks("1080", &f, NULL), SMPL_OK);
  assert_true(f.kind == FORWARD_SOCKS && f.port == 1080 && !f.bind_given);
  assert_int_equal(forward_parse_socks("[::1]:0", &f, NULL), SMPL_OK);
  assert_true(f.bind_given && f.port == 0);
  static const char *const bad[] = {"", "x", "1080:x:1", ":1080", "1080:", "x:1080", "65536"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_int_equal(forward_parse_socks(bad[i], &f, NULL), SMPL_EINVAL);
}

static void test_a_target_alone(void **state)
{
  (void)state;
  forward_t f;
  assert_int_equal(forward_parse_target("config.internal", &f, NULL), SMPL_OK);
  assert_int_equal(f.target_port, 0);
  assert_int_equal(forward_parse_target("[fd00::5]:80", &f, NULL), SMPL_OK);
  assert_int_equal(f.target_port, 80);
  assert_int_equal(forward_parse_target("a:b:1", &f, NULL), SMPL_EINVAL);
  assert_int_equal(forward_parse_target("a:0", &f, NULL), SMPL_EINVAL);
  assert_int_equal(forward_parse_target("", &f, NULL), SMPL_EINVAL);
}

static void test_nonsense_is_named(void **state)
{
  (void)state;
  static const char *const bad[] = {"",        ":",           "x",         "80:",       ":80:x",
                                    "80::x",   "80:x:",       "a:b:c:d:e", "[::1:80:x", "80:[::1",
                                    "80:[]:1", "80:[::1]x:1", "80:[x]:1"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    expect_error(bad[i], SMPL_EINVAL, "");
  expect_error("80:81", SMPL_EINVAL, "not a target's name");
  expect_error("80:http://x", SMPL_EINVAL, "is not a port");
  expect_error("80:a b", SMPL_EINVAL, "cannot be a target's name");
  expect_error("80:a\nb", SMPL_EINVAL, "cannot be a target's name");
  expect_error("80:u@x", SMPL_EINVAL, "cannot be a target's name");
}

static void test_a_name_may_be_so_long_and_no_longer(void **state)
{
  (void)state;
  char text[400];
  memset(text, 'a', sizeof text);
  memcpy(text, "80:", 3);
  text[3 + FORWARD_TARGET_MAX - 1] = '\0';
  forward_t f;
  assert_int_equal(forward_parse(text, &f, NULL), SMPL_OK);
  assert_int_equal(strlen(f.target), FORWARD_TARGET_MAX - 1);
  text[3 + FORWARD_TARGET_MAX - 1] = 'a';
  text[3 + FORWARD_TARGET_MAX] = '\0';
  assert_int_equal(forward_parse(text, &f, NULL), SMPL_EINVAL);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_form),
      cmocka_unit_test(test_ports_at_their_limits),
      cmocka_unit_test(test_addresses_that_others_reach_are_marked),
      cmocka_unit_test(test_unix_sockets),
      cmocka_unit_test(test_the_local_end_of_socks),
      cmocka_unit_test(test_a_target_alone),
      cmocka_unit_test(test_nonsense_is_named),
      cmocka_unit_test(test_a_name_may_be_so_long_and_no_longer),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
