/* SPDX-License-Identifier: Apache-2.0 */
/* What makes a zone, and what does not. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/dns/dns_wire.h"
#include "resolver/limits.h"

#define HEAD "@ 60 SOA ns admin 7 3600 600 604800 30\n@ 60 NS ns\nns 60 A 192.0.2.1\n"

static void check_error(const char *text, const char *want)
{
  const char *got = harness_zone_error("example.org", text);
  if (strstr(got, want) == NULL)
    fail_msg("zone:\n%s\nexpected: %s\ngot:      %s", text, want, got);
}

static const char *ask_zone(const char *text, const char *name, uint16_t type)
{
  zone_t *z = harness_zone("example.org", text);
  view_t *v = harness_view("v", z, NULL, NULL);
  ask_t ask = {.name = name, .type = type, .edns = true};
  const char *answer_text = harness_text(v, &ask);
  view_free(v);
  zone_free(z);
  return answer_text;
}

static void minimal_zone_loads(void **state)
{
  (void)state;
  zone_t *z = harness_zone("example.org@tag", HEAD);
  zone_facts_t f = zone_facts(z);
  assert_int_equal(f.serial, 7);
  assert_int_equal(f.names, 2);
  assert_int_equal(f.records, 3);
  assert_int_equal(f.warnings, 0);
  assert_string_equal(zone_name(z), "example.org@tag");
  zone_free(z);
}

static void byte_order_mark_before_the_first_record_is_passed_over(void **state)
{
  (void)state;
  assert_string_equal(ask_zone("\xef\xbb\xbf" HEAD, "ns.example.org", DNS_TYPE_A),
                      "NOERROR aa | ns.example.org. 60 IN A 192.0.2.1;");
  /* it says nothing elsewhere, and half a mark is none */
  check_error(HEAD "a 60 \xef\xbb\xbf"
                   "A 192.0.2.1\n",
              "z:4: expected a record type");
  check_error("\xef\xbb" HEAD, "z:1: ");
}

static void service_bindings_have_a_whole_target(void **state)
{
  (void)state;
  zone_free(harness_zone("example.org", HEAD "a 60 TYPE65 \\# 3 000100\na 60 TYPE64 \\# 5 0001016100\n"));
  static const char *const bad[] = {"0", "2 0001", "3 000101", "4 00010161", "4 0001c00c", "1 00"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    char text[300];
    snprintf(text, sizeof text, HEAD "a 60 TYPE65 \\# %s\n", bad[i]);
    check_error(text, "z:4: expected the data of a ");
  }
}

static void soa_and_ns_are_needed_at_the_apex(void **state)
{
  (void)state;
  check_error("", "z: no SOA record at the zone's name");
  check_error("@ 60 NS ns\n", "z: no SOA record at the zone's name: expected one there");
  check_error("@ 60 SOA ns admin 7 3600 600 604800 30\n",
              "z: no NS record at the zone's name: expected at least one there");
  check_error(HEAD "@ 60 SOA ns2 admin 7 3600 600 604800 30\n",
              "z:4: example.org. SOA: a second one: expected one at a name (z:1)");
  check_error(HEAD "a 60 SOA ns admin 7 3600 600 604800 30\n",
              "z:4: a.example.org.: SOA below the zone's name");
}

static void names_outside_the_zone_are_refused(void **state)
{
  (void)state;
  check_error(HEAD "a.example.com. 60 A 192.0.2.1\n",
              "z:4: a.example.com. is outside the zone: expected a name at or below example.org.");
  check_error(HEAD "xexample.org. 60 A 192.0.2.1\n", "outside the zone");
  check_error(HEAD "org. 60 A 192.0.2.1\n", "outside the zone");
  check_error(HEAD "$ORIGIN com.\na 60 A 192.0.2.1\n", "z:5: a.com. is outside the zone");
}

static void cname_stands_alone(void **state)
{
  (void)state;
  check_error(
      HEAD "a 60 CNAME b\n\na 60 A 192.0.2.1\n",
      "z:4: a.example.org. CNAME: other data at the same name: expected a CNAME to stand alone (z:6)");
  check_error(HEAD "a 60 CNAME b\na 60 CNAME c\n",
              "z:5: a.example.org. CNAME: a second one: expected one at a name (z:4)");
  check_error(HEAD "@ 60 CNAME b\n", "expected a CNAME to stand alone");
}

static void dname_has_nothing_below_it(void **state)
{
  (void)state;
  check_error(HEAD "a 60 DNAME b\nx.a 60 A 192.0.2.1\n", "z:5: x.a.example.org. A: below a DNAME");
  check_error(HEAD "a 60 DNAME b\na 60 DNAME c\n", "a second one");
  check_error(HEAD "*.a 60 DNAME b\n", "DNAME at a wildcard");
  check_error(HEAD "*.a 60 NS b\n", "NS at a wildcard");
}

static void the_same_record_twice_is_refused(void **state)
{
  (void)state;
  check_error(HEAD "a 60 A 192.0.2.1\nb 60 A 192.0.2.1\nA 60 A 192.0.2.1\n",
              "z:6: a.example.org. A: the same record twice: first (z:4)");
  check_error(HEAD "a 60 MX 5 b\na 60 MX 5 B.example.org.\n", "the same record twice");
}

static void ttl_is_bounded_and_needed(void **state)
{
  (void)state;
  check_error(HEAD "a 2147483648 A 192.0.2.1\n",
              "z:4: expected a TTL from 0 to 2147483647 seconds, got '2147483648'");
  check_error("$TTL 5x\n" HEAD, "z:1: expected a TTL");
  check_error("$TTL\n" HEAD, "z:1: expected one TTL after $TTL");
  check_error("@ SOA ns admin 7 3600 600 604800 30\n",
              "z:1: expected a TTL: give the record one or put $TTL before it");
  assert_string_equal(ask_zone(HEAD "a 2147483647 A 192.0.2.7\n", "a.example.org", DNS_TYPE_A),
                      "NOERROR aa | a.example.org. 2147483647 IN A 192.0.2.7;");
  assert_string_equal(ask_zone("$TTL 1h30m\n" HEAD "a A 192.0.2.7\n", "a.example.org", DNS_TYPE_A),
                      "NOERROR aa | a.example.org. 5400 IN A 192.0.2.7;");
  assert_string_equal(ask_zone(HEAD "a IN 5 A 192.0.2.7\n", "a.example.org", DNS_TYPE_A),
                      "NOERROR aa | a.example.org. 5 IN A 192.0.2.7;");
  assert_string_equal(ask_zone(HEAD "a A 192.0.2.7\n", "a.example.org", DNS_TYPE_A),
                      "NOERROR aa | a.example.org. 60 IN A 192.0.2.7;");
}

static void differing_ttls_of_an_rrset_become_the_lowest(void **state)
{
  (void)state;
  static const char text[] = HEAD "a 60 A 192.0.2.7\na 50 A 192.0.2.8\n";
  zone_t *z = harness_zone("example.org", text);
  assert_int_equal(zone_facts(z).warnings, 1);
  zone_free(z);
  assert_string_equal(ask_zone(text, "a.example.org", DNS_TYPE_A),
                      "NOERROR aa | a.example.org. 50 IN A 192.0.2.7; a.example.org. 50 IN A 192.0.2.8;");
}

static void bad_data_is_named(void **state)
{
  (void)state;
  static const struct {
    const char *record, *want;
  } cases[] = {
      {"a 60 A 192.0.2\n", "z:4: expected an IPv4 address, got '192.0.2'"},
      {"a 60 A 192.0.2.1 x\n", "z:4: expected 1 word of data in a A record, got 2"},
      {"a 60 A\n", "expected 1 word of data"},
      {"a 60 AAAA 192.0.2.1\n", "expected an IPv6 address"},
      {"a 60 MX mail\n", "expected 2 words of data in a MX record, got 1"},
      {"a 60 MX 65536 mail\n", "expected a number up to 65535, got '65536'"},
      {"a 60 MX -1 mail\n", "expected a number up to 65535, got '-1'"},
      {"a 60 SRV 0 0 80000 x\n", "expected a number up to 65535, got '80000'"},
      {"a 60 CNAME b..c\n", "expected a domain name: 'b..c'"},
      {"a 60 CNAME \"b\"\n", "expected a domain name"},
      {"a 60 FOO b\n", "expected a record type, got 'FOO'"},
      {"a 60 OPT b\n", "expected a record type, got 'OPT'"},
      {"a 60 ANY b\n", "expected a record type, got 'ANY'"},
      {"a 60 TYPE0 b\n", "expected a record type"},
      {"a 60 TYPE252 b\n", "expected a record type"},
      {"a 60\n", "z:4: expected a record type"},
      {"a CH A 192.0.2.1\n", "expected class IN, got 'CH'"},
      {"a 60 TXT \"x\n", "z:4: quoted text without its closing quote"},
      {"a 60 TXT\n", "z:4: expected the data of a TXT record"},
      {"a 60 TXT \"\\300\"\n", "z:4: expected the data of a TXT record"},
      {"a 60 TYPE65280 \\# 2 aa\n", "expected 2 bytes in hexadecimal after \\#, got 2 digits"},
      {"a 60 TYPE65280 \\# 2 aabbcc\n", "expected 2 bytes in hexadecimal after \\#"},
      {"a 60 TYPE65280 \\# 65536 aa\n", "expected a length up to 65535"},
      {"a 60 A \\# 3 aabbcc\n", "expected the data of a A record"},
      {"a 60 CNAME \\# 3 c00c00\n", "expected the data of a CNAME record"},
      {"a 60 CAA 256 issue \"x\"\n", "expected a number up to 255, got '256'"},
      {"$FOO x\n", "z:4: expected $ORIGIN, $TTL, $INCLUDE or $GENERATE, got '$FOO'"},
      {"$INCLUDE\n", "expected a file and perhaps an origin"},
      {"$INCLUDE /nonexistent/file\n", "z:4: /nonexistent/file"},
      {"$GENERATE 1-1000001 a$ A 192.0.2.1\n", "z:4: expected at most 1000000 records of one $GENERATE"},
      {"$GENERATE 5-1 a$ A 192.0.2.1\n", "z:4: expected START-STOP[/STEP]"},
      {"$GENERATE 1-2 a${x} A 192.0.2.1\n", "z:4: expected $ or ${OFFSET"},
      {"$GENERATE 1-2 a A 192.0.2.9\n", "the same record twice"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char text[1024];
    snprintf(text, sizeof text, "%s%s", HEAD, cases[i].record);
    check_error(text, cases[i].want);
  }
  check_error("@ 60 SOA ns admin 4294967296 3600 600 604800 30\n",
              "expected a number up to 4294967295, got '4294967296'");
  check_error("@ 60 SOA ns admin 1 -1 600 604800 30\n", "z:1: expected seconds up to 2147483647, got '-1'");
  check_error("  60 A 192.0.2.1\n", "z:1: expected an owner");
}

static void long_names_are_refused(void **state)
{
  (void)state;
  char label[65];
  char text[2048];
  memset(label, 'a', 64);
  label[64] = '\0';
  snprintf(text, sizeof text, "%s%s 60 A 192.0.2.1\n", HEAD, label);
  check_error(text, "z:4: expected a name of labels up to 63 bytes and at most 255 in all");
  label[63] = '\0';
  snprintf(text, sizeof text, "%s%s 60 A 192.0.2.1\n", HEAD, label);
  zone_free(harness_zone("example.org", text));
  /* 3 * 64 + 13 of the origin = 205: a label of 49 is the longest before it */
  snprintf(text, sizeof text, "%s%.49s.%s.%s.%s 60 A 192.0.2.1\n", HEAD, label, label, label, label);
  zone_free(harness_zone("example.org", text));
  snprintf(text, sizeof text, "%s%.50s.%s.%s.%s 60 A 192.0.2.1\n", HEAD, label, label, label, label);
  check_error(text, "z:4: expected a name of labels");
  snprintf(text, sizeof text, "%sa 60 CNAME %.50s.%s.%s.%s\n", HEAD, label, label, label, label);
  check_error(text, "name too long");
}

static void any_type_is_kept_as_data(void **state)
{
  (void)state;
  assert_string_equal(ask_zone(HEAD "a 60 TYPE65280 \\# 3 ab cd ef\n", "a.example.org", 65280),
                      "NOERROR aa | a.example.org. 60 IN TYPE65280 \\# 3 abcdef;");
  assert_string_equal(ask_zone(HEAD "a 60 TYPE1 \\# 4 c0000207\n", "a.example.org", DNS_TYPE_A),
                      "NOERROR aa | a.example.org. 60 IN A 192.0.2.7;");
  assert_string_equal(ask_zone(HEAD "a 60 HTTPS 1 . alpn=\"h2,h3\" port=8443\n", "a.example.org", 65),
                      "NOERROR aa | a.example.org. 60 IN HTTPS 1 . alpn=h2,h3 port=8443;");
  assert_string_equal(ask_zone(HEAD "a 60 TXT \"a;b\" c \"d\\\"e\"\n", "a.example.org", DNS_TYPE_TXT),
                      "NOERROR aa | a.example.org. 60 IN TXT \"a;b\" \"c\" \"d\\\"e\";");
  assert_string_equal(
      ask_zone(HEAD "a 60 LOC 51 30 12.748 N 0 7 39.611 W 0m\n", "a.example.org", 29),
      "NOERROR aa | a.example.org. 60 IN LOC 51 30 12.748 N 00 07 39.611 W 0m 1m 10000m 10m;");
}

static void owners_follow_origin_and_the_record_before(void **state)
{
  (void)state;
  static const char text[] = HEAD "$ORIGIN sub\n@ 60 A 192.0.2.7\n  60 AAAA 2001:db8::1\nx 60 CNAME "
                                  "@\n$ORIGIN example.org.\ny 60 A 192.0.2.8\n";
  assert_string_equal(ask_zone(text, "sub.example.org", DNS_TYPE_AAAA),
                      "NOERROR aa | sub.example.org. 60 IN AAAA 2001:db8::1;");
  assert_string_equal(
      ask_zone(text, "x.sub.example.org", DNS_TYPE_A),
      "NOERROR aa | x.sub.example.org. 60 IN CNAME sub.example.org.; sub.example.org. 60 IN A 192.0.2.7;");
  assert_string_equal(ask_zone(text, "y.example.org", DNS_TYPE_A),
                      "NOERROR aa | y.example.org. 60 IN A 192.0.2.8;");
}

static void generate_makes_records(void **state)
{
  (void)state;
  static const char text[] =
      HEAD "$GENERATE 1-5/2 h$ 60 A 192.0.2.$\n$GENERATE 10-11 ${-9,3,x}.g 60 CNAME h${-9}.\\$x\n";
  assert_string_equal(ask_zone(text, "h3.example.org", DNS_TYPE_A),
                      "NOERROR aa | h3.example.org. 60 IN A 192.0.2.3;");
  assert_true(strstr(ask_zone(text, "h2.example.org", DNS_TYPE_A), "NXDOMAIN") != NULL);
  assert_true(strstr(ask_zone(text, "002.g.example.org", DNS_TYPE_CNAME), "CNAME h2.$x.example.org.") !=
              NULL);
}

static void write_file(const char *path, const char *text)
{
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
}

static void include_reads_beside_the_file_and_leaves_origin_alone(void **state)
{
  (void)state;
  write_file("z.include", "i 60 A 192.0.2.9\n$ORIGIN deep\n");
  static const char text[] = HEAD "$INCLUDE z.include sub\nb 60 A 192.0.2.8\n";
  assert_string_equal(ask_zone(text, "i.sub.example.org", DNS_TYPE_A),
                      "NOERROR aa | i.sub.example.org. 60 IN A 192.0.2.9;");
  assert_string_equal(ask_zone(text, "b.example.org", DNS_TYPE_A),
                      "NOERROR aa | b.example.org. 60 IN A 192.0.2.8;");
  write_file("z.include", "i 60 A 192.0.2.9\nj 60 A x\n");
  check_error(HEAD "$INCLUDE z.include\n", "z.include:2: expected an IPv4 address, got 'x'");
  write_file("z.include", "$INCLUDE z.include\n");
  check_error(HEAD "$INCLUDE z.include\n", "z.include:1: expected $INCLUDE at most 8 files deep");
  remove("z.include");
}

static void rrset_that_fits_no_message_is_refused(void **state)
{
  (void)state;
  size_t cap = 400000;
  char *text = malloc(cap);
  assert_non_null(text);
  /* 16 bytes a record */
  for (int extra = 0; extra < 2; extra++) {
    size_t used = (size_t)snprintf(text, cap, HEAD);
    for (int i = 0; i < RRSET_WIRE_MAX / 16 + extra; i++)
      used += (size_t)snprintf(text + used, cap - used, "a 60 A 10.0.%d.%d\n", i / 256, i % 256);
    if (extra == 0)
      zone_free(harness_zone("example.org", text));
    else
      check_error(text, "too many records of this type at one name");
  }
  free(text);
}

static void root_zone_loads_and_answers(void **state)
{
  (void)state;
  zone_t *z = harness_zone(
      ".", "@ 60 SOA ns. admin. 7 3600 600 604800 30\n@ 60 NS ns.\nns. 60 A 192.0.2.1\nb. 60 CNAME ns.\n");
  view_t *v = harness_view("v", z, NULL, NULL);
  ask_t ask = {.name = "b", .type = DNS_TYPE_A, .edns = true};
  assert_string_equal(harness_text(v, &ask), "NOERROR aa | b. 60 IN CNAME ns.; ns. 60 IN A 192.0.2.1;");
  ask.name = "x.y";
  assert_string_equal(harness_text(v, &ask),
                      "NXDOMAIN aa | authority: . 30 IN SOA ns. admin. 7 3600 600 604800 30;");
  ask.name = ".";
  ask.type = DNS_TYPE_NS;
  assert_string_equal(harness_text(v, &ask),
                      "NOERROR aa | . 60 IN NS ns.; | additional: ns. 60 IN A 192.0.2.1;");
  view_free(v);
  zone_free(z);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(minimal_zone_loads),
      cmocka_unit_test(service_bindings_have_a_whole_target),
      cmocka_unit_test(byte_order_mark_before_the_first_record_is_passed_over),
      cmocka_unit_test(soa_and_ns_are_needed_at_the_apex),
      cmocka_unit_test(names_outside_the_zone_are_refused),
      cmocka_unit_test(cname_stands_alone),
      cmocka_unit_test(dname_has_nothing_below_it),
      cmocka_unit_test(the_same_record_twice_is_refused),
      cmocka_unit_test(ttl_is_bounded_and_needed),
      cmocka_unit_test(differing_ttls_of_an_rrset_become_the_lowest),
      cmocka_unit_test(bad_data_is_named),
      cmocka_unit_test(long_names_are_refused),
      cmocka_unit_test(any_type_is_kept_as_data),
      cmocka_unit_test(owners_follow_origin_and_the_record_before),
      cmocka_unit_test(generate_makes_records),
      cmocka_unit_test(include_reads_beside_the_file_and_leaves_origin_alone),
      cmocka_unit_test(rrset_that_fits_no_message_is_refused),
      cmocka_unit_test(root_zone_loads_and_answers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
