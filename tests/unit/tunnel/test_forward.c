/* [BIND:]PORT:TARGET[:PORT]: every form that is meant, and what is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/error.h"
#include "tunnel/forward.h"

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

static void test_only_loopback_is_listened_on(void **state)
{
  (void)state;
  expect_error("0.0.0.0:80:x", SMPL_EDENIED, "not a loopback address");
  expect_error("[::]:80:x", SMPL_EDENIED, "not a loopback address");
  expect_error("192.168.1.1:80:x", SMPL_EDENIED, "not a loopback address");
  expect_error("*:80:x", SMPL_EINVAL, "not an address");
  expect_error("127.1:80:x", SMPL_EINVAL, "not an address");
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
      cmocka_unit_test(test_only_loopback_is_listened_on),
      cmocka_unit_test(test_nonsense_is_named),
      cmocka_unit_test(test_a_name_may_be_so_long_and_no_longer),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
