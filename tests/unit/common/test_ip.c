/* SPDX-License-Identifier: Apache-2.0 */
/* common/base/ip.h */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/error.h"
#include "common/base/ip.h"

static ip_t ip(const char *text)
{
  ip_t out;
  assert_int_equal(ip_parse(text, &out), SMPL_OK);
  return out;
}

static ip_net_t net(const char *text)
{
  ip_net_t out;
  assert_int_equal(ip_net_parse(text, &out), SMPL_OK);
  return out;
}

static bool contains(const char *n, const char *a)
{
  ip_net_t the_net = net(n);
  ip_t addr = ip(a);
  return ip_net_contains(&the_net, &addr);
}

static void a_mapped_address_is_the_ipv4_address_it_maps(void **state)
{
  (void)state;
  ip_t a = ip("10.1.2.3"), b = ip("::ffff:10.1.2.3");
  char text[IP_TEXT_MAX];
  assert_true(ip_equal(&a, &b));
  assert_true(ip_is_v4(&b));
  assert_string_equal(ip_format(&b, text), "10.1.2.3");
  assert_true(contains("10.0.0.0/8", "::ffff:10.1.2.3"));
  assert_true(contains("::ffff:10.0.0.0/104", "10.1.2.3"));
}

static void a_network_holds_its_own_family_only(void **state)
{
  (void)state;
  assert_false(contains("::/0", "10.0.0.1"));
  assert_true(contains("::/0", "2001:db8::1"));
  assert_true(contains("0.0.0.0/0", "203.0.113.9"));
  assert_false(contains("0.0.0.0/0", "::1"));
}

static void only_whole_textual_forms_are_addresses(void **state)
{
  (void)state;
  const char *bad[] = {"",         "1.2.3",     "010.1.1.1", "0x7f.1", "1.2.3.4 ",
                       " 1.2.3.4", "1.2.3.256", "::1%lo",    "[::1]",  "2130706433"};
  ip_t out;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_int_equal(ip_parse(bad[i], &out), SMPL_EINVAL);
}

static void networks_refuse_host_bits_and_bad_prefixes(void **state)
{
  (void)state;
  ip_net_t out;
  char text[IP_NET_TEXT_MAX];
  assert_int_equal(ip_net_parse("10.0.0.1/8", &out), SMPL_ELIMIT);
  assert_int_equal(ip_net_parse("fd00::1/64", &out), SMPL_ELIMIT);
  const char *bad[] = {"10.0.0.0/",   "10.0.0.0/33", "::/129",       "10.0.0.0/08x",
                       "10.0.0.0/-1", "/8",          "10.0.0.0/1000"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_int_equal(ip_net_parse(bad[i], &out), SMPL_EINVAL);
  out = net("10.0.0.0/8");
  assert_string_equal(ip_net_format(&out, text), "10.0.0.0/8");
  out = net("fd00::/8");
  assert_string_equal(ip_net_format(&out, text), "fd00::/8");
  out = net("192.0.2.1");
  assert_string_equal(ip_net_format(&out, text), "192.0.2.1/32");
  assert_true(contains("0.0.0.0/0", "255.255.255.255"));
  assert_true(contains("10.0.0.128/25", "10.0.0.128"));
  assert_false(contains("10.0.0.128/25", "10.0.0.127"));
}

static void endpoints_parse_and_format_back(void **state)
{
  (void)state;
  const char *good[] = {"127.0.0.1:53", "[::1]:5300", "0.0.0.0:0", "[2001:db8::1]:65535"};
  const char *bad[] = {"",
                       ":53",
                       "127.0.0.1",
                       "127.0.0.1:",
                       "127.0.0.1:65536",
                       "127.0.0.1:+1",
                       "::1:53",
                       "[127.0.0.1]:53",
                       "[::1]53",
                       "[::1",
                       "127.0.0.1:000053",
                       "]:1",
                       "[]:1",
                       "localhost:53"};
  endpoint_t ep;
  char text[ENDPOINT_TEXT_MAX];
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    assert_int_equal(endpoint_parse(good[i], &ep), SMPL_OK);
    assert_string_equal(endpoint_format(&ep, text), good[i]);
    struct sockaddr_storage sa;
    endpoint_t back;
    endpoint_to_sockaddr(&ep, &sa);
    assert_int_equal(endpoint_from_sockaddr((struct sockaddr *)&sa, &back), SMPL_OK);
    assert_true(ip_equal(&ep.ip, &back.ip) && ep.port == back.port);
  }
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_int_equal(endpoint_parse(bad[i], &ep), SMPL_EINVAL);
}

static void private_means_the_named_ranges_and_their_edges(void **state)
{
  (void)state;
  const char *inside[] = {"10.0.0.0",    "10.255.255.255",
                          "172.16.0.0",  "172.31.255.255",
                          "192.168.0.0", "192.168.255.255",
                          "100.64.0.0",  "100.127.255.255",
                          "127.0.0.1",   "::1",
                          "fc00::",      "fdff:ffff::1"};
  const char *outside[] = {"9.255.255.255",  "11.0.0.0",        "172.15.255.255",
                           "172.32.0.0",     "192.167.255.255", "192.169.0.0",
                           "100.63.255.255", "100.128.0.0",     "::2",
                           "fbff::",         "fe80::1",         "2001:db8::1",
                           "0.0.0.0",        "169.254.169.254"};
  for (size_t i = 0; i < sizeof inside / sizeof *inside; i++) {
    ip_t a = ip(inside[i]);
    assert_true(ip_is_private(&a));
  }
  for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
    ip_t a = ip(outside[i]);
    assert_false(ip_is_private(&a));
  }
  ip_t any4 = ip("0.0.0.0"), any6 = ip("::"), one = ip("0.0.0.1");
  assert_true(ip_is_unspecified(&any4) && ip_is_unspecified(&any6) && !ip_is_unspecified(&one));
}

static void ipv4_addresses_are_written_as_the_system_writes_them(void **state)
{
  char ours[IP_TEXT_MAX], theirs[IP_TEXT_MAX];
  ip_t ip;
  (void)state;
  assert_int_equal(ip_parse("0.0.0.0", &ip), SMPL_OK);
  for (unsigned i = 0; i < 1024; i++) {
    ip.b[12 + i / 256] = (uint8_t)i;
    assert_non_null(inet_ntop(AF_INET, ip.b + 12, theirs, sizeof theirs));
    assert_string_equal(ip_format(&ip, ours), theirs);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(ipv4_addresses_are_written_as_the_system_writes_them),
      cmocka_unit_test(a_mapped_address_is_the_ipv4_address_it_maps),
      cmocka_unit_test(a_network_holds_its_own_family_only),
      cmocka_unit_test(only_whole_textual_forms_are_addresses),
      cmocka_unit_test(networks_refuse_host_bits_and_bad_prefixes),
      cmocka_unit_test(endpoints_parse_and_format_back),
      cmocka_unit_test(private_means_the_named_ranges_and_their_edges),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
