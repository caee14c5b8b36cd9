/* SPDX-License-Identifier: Apache-2.0 */
/* What counts as one source before the login. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "bastion/session/source.h"

static ip_t ip(const char *text)
{
  ip_t out;
  if (ip_parse(text, &out))
    fail_msg("%s", text);
  return out;
}

static void expect(const char *a, const char *b, bool same)
{
  ip_t x = ip(a), y = ip(b);
  if (source_same(&x, &y) != same || source_same(&y, &x) != same)
    fail_msg("%s and %s", a, b);
}

static void an_ipv4_address_and_an_ipv6_network_are_one_source(void **state)
{
  (void)state;
  expect("192.0.2.1", "192.0.2.1", true);
  expect("192.0.2.1", "192.0.2.2", false);
  expect("192.0.2.1", "::ffff:192.0.2.1", true);
  expect("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true);
  expect("2001:db8::1", "2001:db8:0:1::1", false);
  expect("::1", "192.0.2.1", false);
  expect("::1", "0.0.0.0", false);
}

static void sources_read_as_what_they_are(void **state)
{
  (void)state;
  char buf[SOURCE_TEXT_MAX];
  ip_t v4 = ip("192.0.2.7"), v6 = ip("2001:db8:1:2:3:4:5:6");
  assert_string_equal(source_format(&v4, buf), "192.0.2.7");
  assert_string_equal(source_format(&v6, buf), "2001:db8:1:2::/64");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_ipv4_address_and_an_ipv6_network_are_one_source),
      cmocka_unit_test(sources_read_as_what_they_are),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
