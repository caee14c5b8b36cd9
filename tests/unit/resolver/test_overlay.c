/* SPDX-License-Identifier: Apache-2.0 */
/* resolver/zone/zone.h: what a zone over another one lacks comes from its base, and nothing the other way. */
#include "harness.h"

#include <string.h>

#include "common/dns/dns_wire.h"

#define HEAD(serial) "$TTL 60\n@ SOA ns admin " serial " 3600 600 604800 30\n@ NS ns\n"

static const char own_text[] = HEAD("7") "ns A 10.0.0.1\n"
                                         "both A 10.0.0.2\n"
                                         "x.ent A 10.0.0.3\n"
                                         "*.wild A 10.0.0.4\n"
                                         "toBase CNAME public\n"
                                         "cut NS ns.cut\nns.cut A 10.0.0.5\n"
                                         "dn DNAME tree\n"
                                         "_s SRV 0 0 80 public\n";
static const char base_text[] = HEAD("9") "ns A 192.0.2.1\n"
                                          "@ MX 10 mail\nmail A 192.0.2.9\n"
                                          "both AAAA 2001:db8::2\n"
                                          "public A 192.0.2.3\n"
                                          "public TXT hello\n"
                                          "ent A 192.0.2.4\n"
                                          "y.wild A 192.0.2.5\n"
                                          "*.bw A 192.0.2.6\n"
                                          "back CNAME both\n"
                                          "q.cut A 192.0.2.7\n"
                                          "bcut NS ns.bcut\nns.bcut A 192.0.2.8\n"
                                          "bdn DNAME ent\n"
                                          "p.tree A 192.0.2.10\n"
                                          "deep.empty A 192.0.2.11\n"
                                          "_b SRV 0 0 80 both\n";

#define OWN_SOA  " | authority: org. 30 IN SOA ns.org. admin.org. 7 3600 600 604800 30;"
#define BASE_SOA " | authority: org. 30 IN SOA ns.org. admin.org. 9 3600 600 604800 30;"

typedef struct world {
  zone_t *own, *base;
  view_t *inside, *outside;
} world_t;

static world_t world;

static int make_world(void **state)
{
  world.own = harness_zone("org@in", own_text);
  world.base = harness_zone("org@out", base_text);
  assert_int_equal(zone_set_base(world.own, world.base), 0);
  world.inside = harness_view("inside", world.own, NULL, NULL);
  world.outside = harness_view("outside", world.base, NULL, NULL);
  *state = &world;
  return 0;
}

static int free_world(void **state)
{
  (void)state;
  view_free(world.inside);
  view_free(world.outside);
  zone_free(world.own);
  zone_free(world.base);
  return 0;
}

static void check(const view_t *view, const char *name, uint16_t type, const char *want)
{
  ask_t ask = {.name = name, .type = type, .edns = true};
  const char *got = harness_text(view, &ask);
  if (strcmp(got, want) != 0)
    fail_msg("%s %u\nexpected: %s\ngot:      %s", name, type, want, got);
}

static void names_that_the_zone_lacks_come_from_its_base(void **state)
{
  (void)state;
  check(world.inside, "public.org", DNS_TYPE_A, "NOERROR aa | public.org. 60 IN A 192.0.2.3;");
  check(world.inside, "q.bw.org", DNS_TYPE_A, "NOERROR aa | q.bw.org. 60 IN A 192.0.2.6;");
  check(world.inside, "p.bdn.org", DNS_TYPE_TXT,
        "NXDOMAIN aa | bdn.org. 60 IN DNAME ent.org.; p.bdn.org. 60 IN CNAME p.ent.org.;" OWN_SOA);
  check(
      world.inside, "x.bcut.org", DNS_TYPE_A,
      "NOERROR | authority: bcut.org. 60 IN NS ns.bcut.org.; | additional: ns.bcut.org. 60 IN A 192.0.2.8;");
  /* an empty non-terminal has no data of its own */
  check(world.inside, "ent.org", DNS_TYPE_A, "NOERROR aa | ent.org. 60 IN A 192.0.2.4;");
}

static void names_that_the_zone_has_hide_those_of_its_base(void **state)
{
  (void)state;
  check(world.inside, "both.org", DNS_TYPE_A, "NOERROR aa | both.org. 60 IN A 10.0.0.2;");
  check(world.inside, "both.org", DNS_TYPE_AAAA, "NOERROR aa" OWN_SOA);
  check(world.inside, "y.wild.org", DNS_TYPE_A, "NOERROR aa | y.wild.org. 60 IN A 10.0.0.4;");
  check(world.inside, "y.wild.org", DNS_TYPE_TXT, "NOERROR aa" OWN_SOA);
  check(world.inside, "q.cut.org", DNS_TYPE_A,
        "NOERROR | authority: cut.org. 60 IN NS ns.cut.org.; | additional: ns.cut.org. 60 IN A 10.0.0.5;");
}

static void origin_has_the_zones_own_soa_and_ns_and_else_what_the_base_has(void **state)
{
  (void)state;
  check(world.inside, "org", DNS_TYPE_SOA,
        "NOERROR aa | org. 60 IN SOA ns.org. admin.org. 7 3600 600 604800 30;");
  check(world.inside, "org", DNS_TYPE_NS,
        "NOERROR aa | org. 60 IN NS ns.org.; | additional: ns.org. 60 IN A 10.0.0.1;");
  check(world.inside, "org", DNS_TYPE_MX,
        "NOERROR aa | org. 60 IN MX 10 mail.org.; | additional: mail.org. 60 IN A 192.0.2.9;");
  check(world.inside, "org", DNS_TYPE_A, "NOERROR aa" OWN_SOA);
  /* with data of its own at the origin it hides the base's there too */
  zone_t *rich = harness_zone("org@rich", HEAD("8") "ns A 10.0.0.1\n@ A 10.0.0.9\n");
  assert_int_equal(zone_set_base(rich, world.base), 0);
  view_t *v = harness_view("v", rich, NULL, NULL);
  ask_t ask = {.name = "org", .type = DNS_TYPE_MX, .edns = true};
  assert_true(strncmp(harness_text(v, &ask), "NOERROR aa | authority: org. 30 IN SOA", 38) == 0);
  view_free(v);
  zone_free(rich);
}

static void what_both_lack_is_denied_by_the_zone(void **state)
{
  (void)state;
  check(world.inside, "nothing.org", DNS_TYPE_A, "NXDOMAIN aa" OWN_SOA);
  check(world.inside, "public.org", DNS_TYPE_MX, "NOERROR aa" OWN_SOA);
  check(world.inside, "empty.org", DNS_TYPE_A, "NOERROR aa" OWN_SOA);
  check(world.inside, "q.ent.org", DNS_TYPE_A, "NXDOMAIN aa" OWN_SOA);
}

static void aliases_and_additional_data_see_the_overlay_at_every_hop(void **state)
{
  (void)state;
  check(world.inside, "tobase.org", DNS_TYPE_A,
        "NOERROR aa | tobase.org. 60 IN CNAME public.org.; public.org. 60 IN A 192.0.2.3;");
  check(world.inside, "back.org", DNS_TYPE_A,
        "NOERROR aa | back.org. 60 IN CNAME both.org.; both.org. 60 IN A 10.0.0.2;");
  check(world.inside, "p.dn.org", DNS_TYPE_A,
        "NOERROR aa | dn.org. 60 IN DNAME tree.org.; p.dn.org. 60 IN CNAME p.tree.org.; p.tree.org. 60 IN A "
        "192.0.2.10;");
  check(world.inside, "_s.org", DNS_TYPE_SRV,
        "NOERROR aa | _s.org. 60 IN SRV 0 0 80 public.org.; | additional: public.org. 60 IN A 192.0.2.3;");
  check(world.inside, "_b.org", DNS_TYPE_SRV,
        "NOERROR aa | _b.org. 60 IN SRV 0 0 80 both.org.; | additional: both.org. 60 IN A 10.0.0.2;");
}

static void who_sees_the_base_sees_nothing_of_the_overlay(void **state)
{
  (void)state;
  check(world.outside, "both.org", DNS_TYPE_A, "NOERROR aa" BASE_SOA);
  check(world.outside, "x.ent.org", DNS_TYPE_A, "NXDOMAIN aa" BASE_SOA);
  check(world.outside, "q.wild.org", DNS_TYPE_A, "NXDOMAIN aa" BASE_SOA);
  check(world.outside, "tobase.org", DNS_TYPE_A, "NXDOMAIN aa" BASE_SOA);
  check(world.outside, "back.org", DNS_TYPE_A, "NOERROR aa | back.org. 60 IN CNAME both.org.;" BASE_SOA);
  check(world.outside, "_b.org", DNS_TYPE_SRV,
        "NOERROR aa | _b.org. 60 IN SRV 0 0 80 both.org.; | additional: both.org. 60 IN AAAA 2001:db8::2;");
}

static void bases_are_one_deep_and_of_one_origin(void **state)
{
  (void)state;
  zone_t *other = harness_zone("net", HEAD("1"));
  zone_t *third = harness_zone("org", HEAD("1"));
  assert_int_not_equal(zone_set_base(other, world.base), 0);
  assert_int_not_equal(zone_set_base(third, third), 0);
  assert_int_not_equal(zone_set_base(third, world.own), 0);
  zone_free(other);
  zone_free(third);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(names_that_the_zone_lacks_come_from_its_base),
      cmocka_unit_test(names_that_the_zone_has_hide_those_of_its_base),
      cmocka_unit_test(origin_has_the_zones_own_soa_and_ns_and_else_what_the_base_has),
      cmocka_unit_test(what_both_lack_is_denied_by_the_zone),
      cmocka_unit_test(aliases_and_additional_data_see_the_overlay_at_every_hop),
      cmocka_unit_test(who_sees_the_base_sees_nothing_of_the_overlay),
      cmocka_unit_test(bases_are_one_deep_and_of_one_origin),
  };
  return cmocka_run_group_tests(tests, make_world, free_world);
}
