/* SPDX-License-Identifier: Apache-2.0 */
/* Additional data: what comes with NS, MX, SRV, SVCB and HTTPS. */
#include "harness.h"

#include <stdio.h>
#include <string.h>

#include "common/dns/dns_wire.h"
#include "resolver/limits.h"

#define HEAD "$TTL 60\n@ SOA ns admin 7 3600 600 604800 30\n@ NS ns\n"

static const char org_text[] =
    HEAD "ns A 192.0.2.1\n"
         "mail A 192.0.2.2\nmail AAAA 2001:db8::2\n"
         "web A 192.0.2.3\n"
         "alias CNAME web\n"
         "*.wild A 192.0.2.4\n"
         "two MX 10 mail\ntwo MX 20 mail.sub\ntwo MX 30 mail.net.\ntwo MX 40 nowhere.test.\n"
         "null MX 0 .\n"
         "toalias MX 0 alias\n"
         "wilds MX 10 a.wild\nwilds MX 20 b.wild\n"
         "_s._tcp SRV 0 0 80 web\n_s._tcp SRV 0 0 81 web\n_s._tcp SRV 0 0 82 WEB\n"
         "none._tcp SRV 0 0 0 .\n"
         "web HTTPS 1 . alpn=h2\n"
         "far HTTPS 1 mail alpn=h2\n"
         "aliased HTTPS 0 web\n"
         "gone HTTPS 0 .\n"
         "_x.svc SVCB 0 target.svc\n"
         "target.svc SVCB 1 web port=8443\ntarget.svc AAAA 2001:db8::5\n"
         "h.wild2 A 192.0.2.9\n"
         "*.wild3 HTTPS 1 . alpn=h2\n*.wild3 A 192.0.2.10\n"
         "del NS ns.del\nns.del A 192.0.2.20\n"
         "indel MX 0 ns.del\n"
         "to CNAME two2\ntwo2 MX 0 web\n";
static const char sub_text[] = HEAD "mail A 192.0.2.30\n";
static const char net_text[] = HEAD "mail A 192.0.2.40\n";

typedef struct world {
  zone_t *org, *sub, *net;
  view_t *all, *one;
} world_t;

static world_t world;

static int make_world(void **state)
{
  world.org = harness_zone("org", org_text);
  world.sub = harness_zone("sub.org", sub_text);
  world.net = harness_zone("net", net_text);
  world.all = harness_view("all", world.org, world.sub, world.net);
  world.one = harness_view("one", world.org, NULL, NULL);
  *state = &world;
  return 0;
}

static int free_world(void **state)
{
  (void)state;
  view_free(world.all);
  view_free(world.one);
  zone_free(world.org);
  zone_free(world.sub);
  zone_free(world.net);
  return 0;
}

static void check(const view_t *view, const char *name, uint16_t type, const char *want)
{
  ask_t ask = {.name = name, .type = type, .edns = true};
  const char *got = harness_text(view, &ask);
  const char *additional = strstr(got, " | additional: ");
  additional = additional == NULL ? "" : additional + 15;
  if (strcmp(additional, want) != 0)
    fail_msg("%s %u\nexpected: %s\ngot:      %s", name, type, want, got);
}

static void addresses_of_targets_come_along(void **state)
{
  (void)state;
  check(world.one, "org", DNS_TYPE_NS, "ns.org. 60 IN A 192.0.2.1;");
  check(world.one, "_s._tcp.org", DNS_TYPE_SRV, "web.org. 60 IN A 192.0.2.3;");
  check(world.one, "wilds.org", DNS_TYPE_MX, "a.wild.org. 60 IN A 192.0.2.4; b.wild.org. 60 IN A 192.0.2.4;");
  check(world.one, "to.org", DNS_TYPE_MX, "web.org. 60 IN A 192.0.2.3;");
}

static void targets_are_looked_for_in_the_view_alone(void **state)
{
  (void)state;
#define OWN "mail.org. 60 IN A 192.0.2.2; mail.org. 60 IN AAAA 2001:db8::2;"
  check(world.one, "two.org", DNS_TYPE_MX, OWN);
  check(world.all, "two.org", DNS_TYPE_MX,
        OWN " mail.sub.org. 60 IN A 192.0.2.30; mail.net. 60 IN A 192.0.2.40;");
}

static void null_targets_aliases_and_what_is_delegated_bring_nothing(void **state)
{
  (void)state;
  check(world.one, "null.org", DNS_TYPE_MX, "");
  check(world.one, "none._tcp.org", DNS_TYPE_SRV, "");
  check(world.one, "toalias.org", DNS_TYPE_MX, "");
  check(world.one, "indel.org", DNS_TYPE_MX, "");
  check(world.one, "gone.org", DNS_TYPE_HTTPS, "");
}

static void service_bindings_follow_rfc_9460(void **state)
{
  (void)state;
  /* "." is the owner, by its wildcard too */
  check(world.one, "web.org", DNS_TYPE_HTTPS, "web.org. 60 IN A 192.0.2.3;");
  check(world.one, "q.wild3.org", DNS_TYPE_HTTPS, "q.wild3.org. 60 IN A 192.0.2.10;");
  check(world.one, "far.org", DNS_TYPE_HTTPS, OWN);
  /* the alias form leads to records of its type */
  check(world.one, "aliased.org", DNS_TYPE_HTTPS,
        "web.org. 60 IN HTTPS 1 . alpn=h2; web.org. 60 IN A 192.0.2.3;");
  check(world.one, "_x.svc.org", DNS_TYPE_SVCB,
        "target.svc.org. 60 IN SVCB 1 web.org. port=8443; target.svc.org. 60 IN AAAA 2001:db8::5;");
}

static void questions_for_any_and_addresses_bring_nothing(void **state)
{
  (void)state;
  check(world.one, "two.org", DNS_TYPE_ANY, "");
  check(world.one, "web.org", DNS_TYPE_A, "");
  check(world.one, "to.org", DNS_TYPE_CNAME, "");
}

/* A zone whose MX has `count` targets of one address each. */
static zone_t *zone_of_targets(int count)
{
  static char text[20000];
  size_t used = (size_t)snprintf(text, sizeof text, HEAD);
  for (int i = 0; i < count; i++)
    used += (size_t)snprintf(text + used, sizeof text - used, "m MX 0 target%d\ntarget%d A 192.0.2.%d\n", i,
                             i, i);
  return harness_zone("org", text);
}

static void targets_looked_for_are_limited(void **state)
{
  (void)state;
  uint8_t out[65535];
  for (int count = ADDITIONAL_TARGETS_MAX - 1; count <= ADDITIONAL_TARGETS_MAX + 1; count++) {
    zone_t *z = zone_of_targets(count);
    view_t *v = harness_view("v", z, NULL, NULL);
    ask_t ask = {.name = "m.org", .type = DNS_TYPE_MX, .tcp = true};
    harness_ask(v, &ask, out);
    assert_int_equal(out[7], count);
    assert_int_equal(out[11], count < ADDITIONAL_TARGETS_MAX ? count : ADDITIONAL_TARGETS_MAX);
    view_free(v);
    zone_free(z);
  }
}

/* Whatever the client takes: the answer whole or TC, additional data as far as it fits, whole rrsets. */
static void additional_data_never_cuts_an_answer(void **state)
{
  (void)state;
  uint8_t out[65535];
  zone_t *z = zone_of_targets(15);
  view_t *v = harness_view("v", z, NULL, NULL);
  unsigned before = 0;
  for (unsigned size = 512; size <= 1232; size++) {
    ask_t ask = {.name = "m.org", .type = DNS_TYPE_MX, .edns = true, .size = (uint16_t)size};
    size_t len = harness_ask(v, &ask, out);
    assert_true(len <= size);
    assert_int_equal(out[2] & 2, 0);
    assert_int_equal(out[7], 15);
    assert_true(out[11] >= before);
    before = out[11];
  }
  assert_int_equal(before, 16);
  view_free(v);
  zone_free(z);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(addresses_of_targets_come_along),
      cmocka_unit_test(targets_are_looked_for_in_the_view_alone),
      cmocka_unit_test(null_targets_aliases_and_what_is_delegated_bring_nothing),
      cmocka_unit_test(service_bindings_follow_rfc_9460),
      cmocka_unit_test(questions_for_any_and_addresses_bring_nothing),
      cmocka_unit_test(targets_looked_for_are_limited),
      cmocka_unit_test(additional_data_never_cuts_an_answer),
  };
  return cmocka_run_group_tests(tests, make_world, free_world);
}
