/* SPDX-License-Identifier: Apache-2.0 */
/* From a message to the answer. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/dns/dns_wire.h"
#include "resolver/limits.h"

static const char org_text[] =
    "$TTL 60\n"
    "@ SOA ns admin 7 3600 600 604800 30\n"
    "@ NS ns\n"
    "@ MX 10 mail\n"
    "ns A 192.0.2.1\n"
    "mail A 192.0.2.2\n"
    "a A 192.0.2.3\n"
    "a A 192.0.2.4\n"
    "a TXT hello\n"
    "c CNAME a\n"
    "cc CNAME c\n"
    "loop1 CNAME loop2\n"
    "loop2 CNAME loop1\n"
    "self CNAME self\n"
    "dangling CNAME nothing\n"
    "away CNAME a.example.net.\n"
    "secret CNAME x.private.test.\n"
    "chain1 CNAME chain2.sub\n"
    "sub NS ns.sub\n"
    "ns.sub A 192.0.2.20\n"
    "x.y.z A 192.0.2.5\n"
    "*.wild A 192.0.2.6\n"
    "there.wild TXT t\n"
    "*.cwild CNAME a\n"
    "b.ent.wild TXT t\n"
    "*.cwild2 CNAME x.cwild2\n"
    "*.only.sub2 TXT t\n"
    "del NS ns.del\n"
    "del NS ns.other\n"
    "del NS ns.elsewhere.test.\n"
    "del DS 1 8 2 0000000000000000000000000000000000000000000000000000000000000000\n"
    "ns.del A 192.0.2.7\n"
    "deep.ns.del AAAA 2001:db8::7\n"
    "ns.other A 192.0.2.8\n"
    "indel CNAME q.del\n"
    "dn DNAME target\n"
    "dn A 192.0.2.9\n"
    "p.target A 192.0.2.10\n"
    "out DNAME example.net.\n"
    "cout CNAME a.out\n"
    "cdn CNAME p.dn\n"
    "_http._tcp.a SRV 0 0 8000 a\n";

static const char sub_text[] = "$TTL 60\n"
                               "@ SOA ns admin 9 3600 600 604800 30\n"
                               "@ NS ns\n"
                               "ns A 192.0.2.20\n"
                               "a A 192.0.2.21\n"
                               "chain2 CNAME a.example.org.\n"
                               "back CNAME nothing.example.org.\n";

static const char net_text[] = "$TTL 60\n"
                               "@ SOA ns admin 8 3600 600 604800 30\n"
                               "@ NS ns\n"
                               "ns A 192.0.2.30\n"
                               "a A 192.0.2.31\n";

#define ORG_SOA                                                                                              \
  " | authority: example.org. 30 IN SOA ns.example.org. admin.example.org. 7 3600 600 604800 30;"

typedef struct world {
  zone_t *org, *sub, *net;
  view_t *all;  /* org, sub.example.org, net */
  view_t *one;  /* org alone */
  view_t *none; /* no zone */
} world_t;

static int make_world(void **state)
{
  world_t *w = calloc(1, sizeof *w);
  assert_non_null(w);
  w->org = harness_zone("example.org", org_text);
  w->sub = harness_zone("sub.example.org", sub_text);
  w->net = harness_zone("example.net", net_text);
  w->all = harness_view("all", w->org, w->sub, w->net);
  w->one = harness_view("one", w->org, NULL, NULL);
  w->none = harness_view("none", NULL, NULL, NULL);
  *state = w;
  return 0;
}

static int free_world(void **state)
{
  world_t *w = *state;
  view_free(w->all);
  view_free(w->one);
  view_free(w->none);
  zone_free(w->org);
  zone_free(w->sub);
  zone_free(w->net);
  free(w);
  return 0;
}

typedef struct expect {
  const char *name;
  uint16_t type;
  const char *answer;
} expect_t;

static void check_all(const view_t *view, const expect_t *cases, size_t count)
{
  for (size_t i = 0; i < count; i++) {
    ask_t ask = {.name = cases[i].name, .type = cases[i].type, .edns = true};
    const char *got = harness_text(view, &ask);
    if (strcmp(got, cases[i].answer) != 0)
      fail_msg("%s %u\nexpected: %s\ngot:      %s", cases[i].name, cases[i].type, cases[i].answer, got);
  }
}

#define CHECK(view, cases) check_all(view, cases, sizeof(cases) / sizeof *(cases))

static void names_and_types_that_exist(void **state)
{
  world_t *w = *state;
  static const expect_t cases[] = {
      {"a.example.org", DNS_TYPE_A,
       "NOERROR aa | a.example.org. 60 IN A 192.0.2.3; a.example.org. 60 IN A 192.0.2.4;"},
      {"a.example.org", DNS_TYPE_TXT, "NOERROR aa | a.example.org. 60 IN TXT \"hello\";"},
      {"example.org", DNS_TYPE_SOA,
       "NOERROR aa | example.org. 60 IN SOA ns.example.org. admin.example.org. 7 3600 600 604800 30;"},
      {"example.org", DNS_TYPE_NS,
       "NOERROR aa | example.org. 60 IN NS ns.example.org.; | additional: ns.example.org. 60 IN A "
       "192.0.2.1;"},
      {"example.org", DNS_TYPE_MX,
       "NOERROR aa | example.org. 60 IN MX 10 mail.example.org.; | additional: mail.example.org. 60 IN A "
       "192.0.2.2;"},
      {"_http._tcp.a.example.org", DNS_TYPE_SRV,
       "NOERROR aa | _http._tcp.a.example.org. 60 IN SRV 0 0 8000 a.example.org.; | additional: "
       "a.example.org. "
       "60 IN A 192.0.2.3; a.example.org. 60 IN A 192.0.2.4;"},
  };
  CHECK(w->one, cases);
}

static void what_does_not_exist_says_so_with_the_soa(void **state)
{
  world_t *w = *state;
  static const expect_t cases[] = {
      {"a.example.org", DNS_TYPE_AAAA, "NOERROR aa" ORG_SOA},
      {"nothing.example.org", DNS_TYPE_A, "NXDOMAIN aa" ORG_SOA},
      {"x.a.example.org", DNS_TYPE_A, "NXDOMAIN aa" ORG_SOA},
      {"example.org", DNS_TYPE_A, "NOERROR aa" ORG_SOA},
      /* empty non-terminals */
      {"z.example.org", DNS_TYPE_A, "NOERROR aa" ORG_SOA},
      {"y.z.example.org", DNS_TYPE_ANY, "NOERROR aa" ORG_SOA},
      {"_tcp.a.example.org", DNS_TYPE_A, "NOERROR aa" ORG_SOA},
      {"u.z.example.org", DNS_TYPE_A, "NXDOMAIN aa" ORG_SOA},
  };
  CHECK(w->one, cases);
}

static void wildcards_follow_rfc_4592(void **state)
{
  world_t *w = *state;
  static const expect_t cases[] = {
      {"q.wild.example.org", DNS_TYPE_A, "NOERROR aa | q.wild.example.org. 60 IN A 192.0.2.6;"},
      {"q.r.wild.example.org", DNS_TYPE_A, "NOERROR aa | q.r.wild.example.org. 60 IN A 192.0.2.6;"},
      {"q.wild.example.org", DNS_TYPE_TXT, "NOERROR aa" ORG_SOA},
      {"*.wild.example.org", DNS_TYPE_A, "NOERROR aa | *.wild.example.org. 60 IN A 192.0.2.6;"},
      {"wild.example.org", DNS_TYPE_A, "NOERROR aa" ORG_SOA},
      {"there.wild.example.org", DNS_TYPE_A, "NOERROR aa" ORG_SOA},
      {"x.there.wild.example.org", DNS_TYPE_A, "NXDOMAIN aa" ORG_SOA},
      {"ent.wild.example.org", DNS_TYPE_A, "NOERROR aa" ORG_SOA},
      {"x.ent.wild.example.org", DNS_TYPE_A, "NXDOMAIN aa" ORG_SOA},
      {"q.cwild.example.org", DNS_TYPE_A,
       "NOERROR aa | q.cwild.example.org. 60 IN CNAME a.example.org.; a.example.org. 60 IN A 192.0.2.3; "
       "a.example.org. 60 IN A 192.0.2.4;"},
      {"q.cwild.example.org", DNS_TYPE_CNAME,
       "NOERROR aa | q.cwild.example.org. 60 IN CNAME a.example.org.;"},
      {"sub2.example.org", DNS_TYPE_TXT, "NOERROR aa" ORG_SOA},
      /* one wildcard twice in a chain, then in a circle */
      {"q.cwild2.example.org", DNS_TYPE_A,
       "NOERROR aa | q.cwild2.example.org. 60 IN CNAME x.cwild2.example.org.; x.cwild2.example.org. 60 IN "
       "CNAME "
       "x.cwild2.example.org.;"},
      {"q.sub2.example.org", DNS_TYPE_TXT, "NXDOMAIN aa" ORG_SOA},
  };
  CHECK(w->one, cases);
}

static void aliases_are_followed_within_the_view(void **state)
{
  world_t *w = *state;
  static const expect_t one[] = {
      {"c.example.org", DNS_TYPE_CNAME, "NOERROR aa | c.example.org. 60 IN CNAME a.example.org.;"},
      {"cc.example.org", DNS_TYPE_TXT,
       "NOERROR aa | cc.example.org. 60 IN CNAME c.example.org.; c.example.org. 60 IN CNAME a.example.org.; "
       "a.example.org. 60 IN TXT \"hello\";"},
      {"c.example.org", DNS_TYPE_AAAA, "NOERROR aa | c.example.org. 60 IN CNAME a.example.org.;" ORG_SOA},
      {"dangling.example.org", DNS_TYPE_A,
       "NXDOMAIN aa | dangling.example.org. 60 IN CNAME nothing.example.org.;" ORG_SOA},
      {"away.example.org", DNS_TYPE_A, "NOERROR aa | away.example.org. 60 IN CNAME a.example.net.;"},
      {"secret.example.org", DNS_TYPE_A, "NOERROR aa | secret.example.org. 60 IN CNAME x.private.test.;"},
      {"loop1.example.org", DNS_TYPE_A,
       "NOERROR aa | loop1.example.org. 60 IN CNAME loop2.example.org.; loop2.example.org. 60 IN CNAME "
       "loop1.example.org.;"},
      {"self.example.org", DNS_TYPE_A, "NOERROR aa | self.example.org. 60 IN CNAME self.example.org.;"},
  };
  CHECK(w->one, one);
  static const expect_t all[] = {
      {"away.example.org", DNS_TYPE_A,
       "NOERROR aa | away.example.org. 60 IN CNAME a.example.net.; a.example.net. 60 IN A 192.0.2.31;"},
      {"away.example.org", DNS_TYPE_TXT,
       "NOERROR aa | away.example.org. 60 IN CNAME a.example.net.; | authority: example.net. 30 IN SOA "
       "ns.example.net. "
       "admin.example.net. 8 3600 600 604800 30;"},
      {"chain1.example.org", DNS_TYPE_TXT,
       "NOERROR aa | chain1.example.org. 60 IN CNAME chain2.sub.example.org.; chain2.sub.example.org. 60 IN "
       "CNAME "
       "a.example.org.; a.example.org. 60 IN TXT \"hello\";"},
      {"back.sub.example.org", DNS_TYPE_A,
       "NXDOMAIN aa | back.sub.example.org. 60 IN CNAME nothing.example.org.;" ORG_SOA},
      {"nothing.sub.example.org", DNS_TYPE_A,
       "NXDOMAIN aa | authority: sub.example.org. 30 IN SOA ns.sub.example.org. admin.sub.example.org. 9 "
       "3600 600 604800 30;"},
  };
  CHECK(w->all, all);
}

static void delegations_refer_with_glue(void **state)
{
  world_t *w = *state;
#define DEL_NS                                                                                               \
  "del.example.org. 60 IN NS ns.del.example.org.; del.example.org. 60 IN NS ns.other.example.org.; "         \
  "del.example.org. 60 IN NS "                                                                               \
  "ns.elsewhere.test.; | additional: ns.del.example.org. 60 IN A 192.0.2.7; ns.other.example.org. 60 IN A "  \
  "192.0.2.8;"
#define DEL "NOERROR | authority: " DEL_NS
  static const expect_t cases[] = {
      {"del.example.org", DNS_TYPE_A, DEL},
      {"del.example.org", DNS_TYPE_NS, DEL},
      {"q.r.del.example.org", DNS_TYPE_A, DEL},
      {"ns.del.example.org", DNS_TYPE_A, DEL},
      {"deep.ns.del.example.org", DNS_TYPE_AAAA, DEL},
      {"x.deep.ns.del.example.org", DNS_TYPE_AAAA, DEL},
      {"del.example.org", DNS_TYPE_DS,
       "NOERROR aa | del.example.org. 60 IN DS 1 8 2 "
       "0000000000000000000000000000000000000000000000000000000000000000;"},
      {"indel.example.org", DNS_TYPE_A,
       "NOERROR aa | indel.example.org. 60 IN CNAME q.del.example.org.; | authority: " DEL_NS},
  };
  CHECK(w->one, cases);
}

static void ds_of_a_zone_is_asked_of_the_zone_above(void **state)
{
  world_t *w = *state;
  static const expect_t all[] = {{"sub.example.org", 43, "NOERROR aa" ORG_SOA}};
  CHECK(w->all, all);
  static const expect_t one[] = {{"example.org", 43, "NOERROR aa" ORG_SOA}};
  CHECK(w->one, one);
}

/* Targets that are a bare pointer to a zone's name, asked of the zones above it. */
static void ds_behind_an_alias_is_asked_of_the_zone_above(void **state)
{
  (void)state;
  static const char soa[] = "$TTL 60\n@ SOA ns admin 7 3600 600 604800 30\n@ NS ns\n";
  static const char digest[] = "DS 1 8 2 0000000000000000000000000000000000000000000000000000000000000000\n";
  for (unsigned with = 0; with < 2; with++) {
    char org[512];
    char deep[512];
    snprintf(org, sizeof org, "%sc CNAME d.b.a\ne CNAME d.cut.a\ncut.a NS ns.b.a\nb.a NS ns.b.a\n%s%s", soa,
             with ? "b.a " : "", with ? digest : "");
    snprintf(deep, sizeof deep, "%sd CNAME b.a.org.\nd2 CNAME @\n", soa);
    zone_t *top = harness_zone("org", org);
    zone_t *low = harness_zone("b.a.org", deep);
    snprintf(deep, sizeof deep, "%sd CNAME x.cut.a.org.\nd2 CNAME x.cut.a.org.\nx CNAME @\n", soa);
    zone_t *cut = harness_zone("x.cut.a.org", deep);
    view_t *v = harness_view("v", top, low, cut);
#define TOP_SOA " | authority: org. 30 IN SOA ns.org. admin.org. 7 3600 600 604800 30;"
#define TOP_DS  " b.a.org. 60 IN DS 1 8 2 0000000000000000000000000000000000000000000000000000000000000000;"
    char want[1024];
    ask_t ask = {.name = "d2.b.a.org", .type = 43, .edns = true};
    snprintf(want, sizeof want, "NOERROR aa | d2.b.a.org. 60 IN CNAME b.a.org.;%s", with ? TOP_DS : TOP_SOA);
    assert_string_equal(harness_text(v, &ask), want);
    ask.name = "c.org";
    snprintf(want, sizeof want,
             "NOERROR aa | c.org. 60 IN CNAME d.b.a.org.; d.b.a.org. 60 IN CNAME b.a.org.;%s",
             with ? TOP_DS : TOP_SOA);
    assert_string_equal(harness_text(v, &ask), want);
    /* a referral of the zone above, from within the name that is a pointer */
    ask.name = "d.x.cut.a.org";
    assert_string_equal(harness_text(v, &ask),
                        "NOERROR aa | d.x.cut.a.org. 60 IN CNAME x.cut.a.org.; | authority: cut.a.org. 60 IN "
                        "NS ns.b.a.org.;");
    view_free(v);
    zone_free(top);
    zone_free(low);
    zone_free(cut);
  }
}

/* Beyond 16 KiB of a message no pointer reaches: names are written out there. */
static void referral_over_tcp_has_all_its_glue(void **state)
{
  (void)state;
  enum { SERVERS = 900 };
  size_t cap = 200000;
  char *text = malloc(cap);
  assert_non_null(text);
  size_t used = (size_t)snprintf(text, cap, "$TTL 60\n@ SOA ns admin 7 3600 600 604800 30\n@ NS ns\n");
  for (int i = 0; i < SERVERS; i++)
    used += (size_t)snprintf(text + used, cap - used, "del NS server%d.del\nserver%d.del A 10.0.%d.%d\n", i,
                             i, i / 256, i % 256);
  zone_t *z = harness_zone("org", text);
  view_t *v = harness_view("v", z, NULL, NULL);
  uint8_t out[MESSAGE_MAX];
  ask_t ask = {.name = "x.del.org", .type = DNS_TYPE_A, .edns = true, .tcp = true};
  size_t len = harness_ask(v, &ask, out);
  assert_true(len > 0x4000 + 0x2000);
  assert_int_equal(out[2] & 2, 0);
  assert_int_equal(out[8] << 8 | out[9], SERVERS);
  assert_int_equal(out[10] << 8 | out[11], SERVERS + 1);
  const char *told = harness_text(v, &ask);
  for (int i = 0; i < SERVERS; i++) {
    char want[100];
    snprintf(want, sizeof want, " server%d.del.org. 60 IN A 10.0.%d.%d;", i, i / 256, i % 256);
    if (strstr(told, want) == NULL)
      fail_msg("no%s", want);
  }
  view_free(v);
  zone_free(z);
  free(text);
}

static void dnames_are_synthesized(void **state)
{
  world_t *w = *state;
  static const expect_t cases[] = {
      {"p.dn.example.org", DNS_TYPE_A,
       "NOERROR aa | dn.example.org. 60 IN DNAME target.example.org.; p.dn.example.org. 60 IN CNAME "
       "p.target.example.org.; "
       "p.target.example.org. 60 IN A 192.0.2.10;"},
      {"p.dn.example.org", DNS_TYPE_CNAME,
       "NOERROR aa | dn.example.org. 60 IN DNAME target.example.org.; p.dn.example.org. 60 IN CNAME "
       "p.target.example.org.;"},
      {"dn.example.org", DNS_TYPE_A, "NOERROR aa | dn.example.org. 60 IN A 192.0.2.9;"},
      {"dn.example.org", DNS_TYPE_TXT, "NOERROR aa" ORG_SOA},
      {"dn.example.org", DNS_TYPE_DNAME, "NOERROR aa | dn.example.org. 60 IN DNAME target.example.org.;"},
      {"q.dn.example.org", DNS_TYPE_A,
       "NXDOMAIN aa | dn.example.org. 60 IN DNAME target.example.org.; q.dn.example.org. 60 IN CNAME "
       "q.target.example.org.;" ORG_SOA},
      {"cdn.example.org", DNS_TYPE_A,
       "NOERROR aa | cdn.example.org. 60 IN CNAME p.dn.example.org.; dn.example.org. 60 IN DNAME "
       "target.example.org.; "
       "p.dn.example.org. 60 IN CNAME p.target.example.org.; p.target.example.org. 60 IN A 192.0.2.10;"},
  };
  CHECK(w->one, cases);
  static const expect_t all[] = {
      {"cout.example.org", DNS_TYPE_A,
       "NOERROR aa | cout.example.org. 60 IN CNAME a.out.example.org.; out.example.org. 60 IN DNAME "
       "example.net.; "
       "a.out.example.org. 60 IN CNAME a.example.net.; a.example.net. 60 IN A 192.0.2.31;"},
  };
  CHECK(w->all, all);
}

static void too_long_a_dname_substitution_is_yxdomain(void **state)
{
  (void)state;
  char text[1024];
  char name[300];
  char label[64];
  memset(label, 'l', 63);
  label[63] = '\0';
  snprintf(text, sizeof text, "$TTL 60\n@ SOA ns admin 7 3600 600 604800 30\n@ NS ns\nd DNAME %s.%s.%s\n",
           label, label, label);
  zone_t *z = harness_zone("org", text);
  view_t *v = harness_view("v", z, NULL, NULL);
  /* target of 3 * 64 + 5 = 197 bytes: 58 are left, a label of 57 fits */
  snprintf(name, sizeof name, "%.57s.d.org", label);
  ask_t ask = {.name = name, .type = DNS_TYPE_A, .tcp = true};
  assert_true(strncmp(harness_text(v, &ask), "NXDOMAIN aa | d.org. 60 IN DNAME", 32) == 0);
  snprintf(name, sizeof name, "%.58s.d.org", label);
  assert_true(strncmp(harness_text(v, &ask), "YXDOMAIN aa | d.org. 60 IN DNAME", 32) == 0);
  view_free(v);
  zone_free(z);
}

static void any_is_answered_with_one_rrset(void **state)
{
  world_t *w = *state;
  static const expect_t cases[] = {
      {"a.example.org", DNS_TYPE_ANY,
       "NOERROR aa | a.example.org. 60 IN A 192.0.2.3; a.example.org. 60 IN A 192.0.2.4;"},
      {"c.example.org", DNS_TYPE_ANY, "NOERROR aa | c.example.org. 60 IN CNAME a.example.org.;"},
      {"nothing.example.org", DNS_TYPE_ANY, "NXDOMAIN aa" ORG_SOA},
  };
  CHECK(w->one, cases);
}

static void long_chains_end_after_the_limit(void **state)
{
  (void)state;
  char text[8192];
  size_t used =
      (size_t)snprintf(text, sizeof text, "$TTL 60\n@ SOA ns admin 7 3600 600 604800 30\n@ NS ns\n");
  for (int i = 0; i < CHAIN_MAX + 5; i++)
    used += (size_t)snprintf(text + used, sizeof text - used, "c%d CNAME c%d\n", i, i + 1);
  snprintf(text + used, sizeof text - used, "c%d A 192.0.2.1\n", CHAIN_MAX + 5);
  zone_t *z = harness_zone("org", text);
  view_t *v = harness_view("v", z, NULL, NULL);
  uint8_t out[MESSAGE_MAX];
  ask_t ask = {.name = "c0.org", .type = DNS_TYPE_A, .tcp = true};
  harness_ask(v, &ask, out);
  assert_int_equal(out[7], CHAIN_MAX);
  /* one alias less than the limit leads to the address */
  ask.name = "c6.org";
  harness_ask(v, &ask, out);
  assert_int_equal(out[7], CHAIN_MAX);
  assert_true(strstr(harness_text(v, &ask), "IN A 192.0.2.1") != NULL);
  view_free(v);
  zone_free(z);
}

/* ID and question aside. */
static void refusal(const view_t *view, const ask_t *ask, uint8_t *out, size_t *len)
{
  uint8_t wire[MESSAGE_MAX];
  size_t n = harness_ask(view, ask, wire);
  dns_wire_t w = dns_wire_of(wire, n);
  dns_header_t h;
  dns_name_t name;
  uint16_t type;
  uint16_t klass;
  assert_int_equal(dns_wire_header(&w, &h), 0);
  assert_int_equal(dns_wire_question(&w, &name, &type, &klass), 0);
  memcpy(out, wire + 2, 10);
  memcpy(out + 10, wire + w.at, n - w.at);
  *len = 10 + n - w.at;
}

static void refusals_are_alike_for_every_name_type_class_opcode_and_transport(void **state)
{
  world_t *w = *state;
  static const char *const names[] = {
      "a.example.org",     "nothing.example.org",    "example.org", "c.example.org", "q.wild.example.org",
      "q.del.example.org", "p.dn.example.org",       ".",           "org",           "x.private.test",
      "unrelated.test",    "3.2.0.192.in-addr.arpa", "version.bind"};
  const view_t *const views[] = {NULL, w->none};
  for (size_t opcode = 0; opcode <= 5; opcode++) {
    if (opcode >= 1 && opcode <= 3)
      continue;
    uint8_t want[512];
    size_t want_len = 0;
    for (size_t v = 0; v < 2; v++) {
      for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        for (unsigned type = 1; type < 270; type++) {
          for (unsigned tcp = 0; tcp < 2; tcp++) {
            if (type == DNS_TYPE_OPT)
              continue;
            uint8_t got[512];
            size_t len;
            ask_t ask = {.name = names[i],
                         .type = (uint16_t)type,
                         .edns = true,
                         .tcp = tcp,
                         .flags = (uint16_t)(opcode << 11),
                         .klass = type % 3 == 0   ? DNS_CLASS_ANY
                                  : type % 3 == 1 ? 3
                                                  : DNS_CLASS_IN};
            refusal(views[v], &ask, got, &len);
            if (want_len == 0) {
              want_len = len;
              memcpy(want, got, len);
            }
            assert_int_equal(len, want_len);
            assert_memory_equal(got, want, len);
          }
        }
      }
    }
    static const uint8_t opt[] = {0, 0, 41, 1232 >> 8, 1232 & 255, 0, 0, 0, 0, 0, 6, 0, 15, 0, 2, 0, 20};
    assert_int_equal(want_len, 10 + sizeof opt);
    assert_memory_equal(want + 10, opt, sizeof opt);
    assert_int_equal(want[1] & 15, DNS_RCODE_REFUSED);
  }
}

static void zone_of_another_view_is_refused_like_any_name(void **state)
{
  world_t *w = *state;
  static const expect_t cases[] = {
      {"a.example.net", DNS_TYPE_A, "REFUSED"},    {"example.net", DNS_TYPE_SOA, "REFUSED"},
      {"unrelated.test", DNS_TYPE_A, "REFUSED"},   {"org", DNS_TYPE_A, "REFUSED"},
      {"a.example.org", DNS_TYPE_AXFR, "REFUSED"}, {"a.example.org", DNS_TYPE_IXFR, "REFUSED"},
  };
  CHECK(w->one, cases);
}

static void updates_and_notifies_are_refused_with_a_view_too(void **state)
{
  world_t *w = *state;
  ask_t ask = {.name = "example.org", .type = DNS_TYPE_SOA, .flags = 5 << 11};
  assert_string_equal(harness_text(w->one, &ask), "REFUSED");
  ask.flags = 4 << 11;
  assert_string_equal(harness_text(w->one, &ask), "REFUSED");
}

static void case_of_the_question_is_kept(void **state)
{
  world_t *w = *state;
  ask_t ask = {.name = "A.eXample.ORG", .type = DNS_TYPE_TXT};
  assert_string_equal(harness_text(w->one, &ask), "NOERROR aa | A.eXample.ORG. 60 IN TXT \"hello\";");
}

static void rd_and_cd_are_repeated_and_nothing_else(void **state)
{
  world_t *w = *state;
  uint8_t out[MESSAGE_MAX];
  ask_t ask = {.name = "a.example.org", .type = DNS_TYPE_A, .flags = 0x07f0};
  harness_ask(w->one, &ask, out);
  assert_int_equal((out[2] << 8) | out[3], DNS_FLAG_QR | DNS_FLAG_AA | DNS_FLAG_RD | DNS_FLAG_CD);
}

static size_t raw(const view_t *view, const void *msg, size_t len, uint8_t *out)
{
  uint8_t *copy = malloc(len > 0 ? len : 1);
  assert_non_null(copy);
  memcpy(copy, msg, len);
  exchange_note_t note;
  size_t n = harness_answer(view, EXCHANGE_UDP, copy, len, out, UDP_REPLY_MAX, &note);
  free(copy);
  return n;
}

static void malformed_messages_are_formerr_and_answers_are_dropped(void **state)
{
  world_t *w = *state;
  uint8_t out[UDP_REPLY_MAX];
  uint8_t msg[512];
  ask_t ask = {.name = "a.example.org", .type = DNS_TYPE_A, .edns = true};
  size_t len = harness_query(&ask, msg);
  /* less than a header: nothing */
  for (size_t n = 0; n < DNS_HEADER_LEN; n++)
    assert_int_equal(raw(w->one, msg, n, out), 0);
  /* cut anywhere behind it: FORMERR, header alone */
  for (size_t n = DNS_HEADER_LEN; n < len; n++) {
    assert_int_equal(raw(w->one, msg, n, out), DNS_HEADER_LEN);
    static const uint8_t want[] = {0x12, 0x34, 0x80, DNS_RCODE_FORMERR, 0, 0, 0, 0, 0, 0, 0, 0};
    assert_memory_equal(out, want, sizeof want);
  }
  assert_true(raw(w->one, msg, len, out) > len);
  /* a byte too much */
  msg[len] = 0;
  assert_int_equal(raw(w->one, msg, len + 1, out), DNS_HEADER_LEN);
  /* an answer */
  msg[2] = 0x80;
  assert_int_equal(raw(w->one, msg, len, out), 0);
  msg[2] = 0;
  /* two questions, none, an answer in a question */
  static const struct {
    unsigned at;
    uint8_t value;
  } counts[] = {{5, 2}, {5, 0}, {7, 1}, {9, 1}};
  for (size_t i = 0; i < 4; i++) {
    uint8_t before = msg[counts[i].at];
    msg[counts[i].at] = counts[i].value;
    assert_int_equal(raw(w->one, msg, len, out), DNS_HEADER_LEN);
    assert_int_equal(out[3] & 15, DNS_RCODE_FORMERR);
    msg[counts[i].at] = before;
  }
  /* a name that points at itself */
  static const uint8_t loop[] = {0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1};
  assert_int_equal(raw(w->one, loop, sizeof loop, out), DNS_HEADER_LEN);
  assert_int_equal(out[3] & 15, DNS_RCODE_FORMERR);
}

static void opcodes_we_do_not_have_are_notimp(void **state)
{
  world_t *w = *state;
  uint8_t out[MESSAGE_MAX];
  for (unsigned opcode = 0; opcode < 16; opcode++) {
    ask_t ask = {.name = "a.example.org", .type = DNS_TYPE_A, .flags = (uint16_t)(opcode << 11)};
    size_t n = harness_ask(w->one, &ask, out);
    unsigned want = opcode == 0                  ? DNS_RCODE_NOERROR
                    : opcode == 4 || opcode == 5 ? DNS_RCODE_REFUSED
                                                 : DNS_RCODE_NOTIMP;
    assert_int_equal(out[3] & 15, want);
    assert_int_equal(out[2] >> 3 & 15, opcode);
    assert_true(want != DNS_RCODE_NOTIMP || n == DNS_HEADER_LEN);
  }
}

static void edns_is_answered_and_unknown_versions_are_badvers(void **state)
{
  world_t *w = *state;
  uint8_t out[MESSAGE_MAX];
  ask_t ask = {.name = "a.example.org", .type = DNS_TYPE_TXT, .edns = true};
  size_t n = harness_ask(w->one, &ask, out);
  static const uint8_t opt[] = {0, 0, 41, 1232 >> 8, 1232 & 255, 0, 0, 0, 0, 0, 0};
  assert_memory_equal(out + n - sizeof opt, opt, sizeof opt);
  ask.version = 1;
  n = harness_ask(w->one, &ask, out);
  static const uint8_t badvers[] = {0, 0, 41, 1232 >> 8, 1232 & 255, 1, 0, 0, 0, 0, 0};
  assert_memory_equal(out + n - sizeof badvers, badvers, sizeof badvers);
  assert_int_equal(out[3] & 15, 0);
  assert_int_equal(out[7], 0);
  ask.edns = false;
  harness_ask(w->one, &ask, out);
  assert_int_equal(out[11], 0);
}

static void two_opts_and_an_opt_elsewhere_are_formerr(void **state)
{
  world_t *w = *state;
  uint8_t msg[512];
  uint8_t out[UDP_REPLY_MAX];
  static const uint8_t opt[] = {0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0};
  ask_t ask = {.name = "a.example.org", .type = DNS_TYPE_A, .edns = true};
  size_t len = harness_query(&ask, msg);
  memcpy(msg + len, opt, sizeof opt);
  msg[11] = 2;
  raw(w->one, msg, len + sizeof opt, out);
  assert_int_equal(out[3] & 15, DNS_RCODE_FORMERR);
  msg[11] = 0;
  msg[9] = 1;
  msg[len - sizeof opt - 3] = 251; /* IXFR may have an authority section */
  raw(w->one, msg, len, out);
  assert_int_equal(out[3] & 15, DNS_RCODE_FORMERR);
  /* an option that is longer than the OPT */
  len = harness_query(&ask, msg);
  msg[len - 1] = 4;
  static const uint8_t option[] = {0, 10, 0, 1};
  memcpy(msg + len, option, sizeof option);
  raw(w->one, msg, len + sizeof option, out);
  assert_int_equal(out[3] & 15, DNS_RCODE_FORMERR);
}

static void client_subnet_changes_nothing(void **state)
{
  world_t *w = *state;
  uint8_t msg[512];
  uint8_t with[UDP_REPLY_MAX];
  uint8_t without[UDP_REPLY_MAX];
  ask_t ask = {.name = "a.example.org", .type = DNS_TYPE_A, .edns = true};
  size_t len = harness_query(&ask, msg);
  size_t n = raw(w->none, msg, len, without);
  static const uint8_t ecs[] = {0, 8, 0, 8, 0, 1, 32, 0, 10, 0, 0, 1};
  msg[len - 1] = sizeof ecs;
  memcpy(msg + len, ecs, sizeof ecs);
  assert_int_equal(raw(w->none, msg, len + sizeof ecs, with), n);
  assert_memory_equal(with, without, n);
}

static zone_t *zone_of_sizes(void)
{
  static char text[200000];
  size_t used =
      (size_t)snprintf(text, sizeof text, "$TTL 60\n@ SOA ns admin 7 3600 600 604800 30\n@ NS ns\n");
  for (int i = 0; i < 100; i++)
    used += (size_t)snprintf(text + used, sizeof text - used, "n%d CNAME big%d\n", i, i);
  for (int n = 0; n < 100; n++)
    for (int i = 0; i <= n; i++)
      used += (size_t)snprintf(text + used, sizeof text - used, "big%d A 192.0.%d.%d\n", n, n, i);
  return harness_zone("org", text);
}

/* Whole rrsets or TC: at every size of the client's buffer. */
static void answers_fit_what_the_client_takes_and_are_cut_at_whole_rrsets(void **state)
{
  (void)state;
  zone_t *z = zone_of_sizes();
  view_t *v = harness_view("v", z, NULL, NULL);
  uint8_t out[MESSAGE_MAX];
  bool cut = false;
  bool whole = false;
  for (int n = 0; n < 100; n++) {
    for (unsigned size = 0; size <= 1400; size += 50) {
      char name[32];
      snprintf(name, sizeof name, "n%d.org", n);
      ask_t ask = {.name = name, .type = DNS_TYPE_A, .edns = size > 0, .size = (uint16_t)size};
      size_t limit = size < 512 ? 512 : size > UDP_REPLY_MAX ? UDP_REPLY_MAX : size;
      size_t len = harness_ask(v, &ask, out);
      assert_true(len <= limit);
      bool tc = (out[2] & 2) != 0;
      unsigned count = (unsigned)out[6] << 8 | out[7];
      assert_int_equal(count, tc ? 1 : n + 2);
      cut = cut || tc;
      whole = whole || !tc;
      ask.tcp = true;
      harness_ask(v, &ask, out);
      assert_int_equal(out[2] & 2, 0);
      assert_int_equal((unsigned)out[6] << 8 | out[7], n + 2);
    }
  }
  assert_true(cut && whole);
  view_free(v);
  zone_free(z);
}

static void largest_answer_fits_a_tcp_message(void **state)
{
  (void)state;
  size_t cap = 2000000;
  char *text = malloc(cap);
  assert_non_null(text);
  char label[64];
  memset(label, 'l', 63);
  label[63] = '\0';
  size_t used = (size_t)snprintf(text, cap, "$TTL 60\n@ SOA ns admin 7 3600 600 604800 30\n@ NS ns\n");
  for (int i = 0; i < RRSET_WIRE_MAX / 16; i++)
    used += (size_t)snprintf(text + used, cap - used, "%s.%s.%s.%.57s A 10.0.%d.%d\n", label, label, label,
                             label, i / 256, i % 256);
  zone_t *z = harness_zone("org", text);
  view_t *v = harness_view("v", z, NULL, NULL);
  char name[300];
  snprintf(name, sizeof name, "%s.%s.%s.%.57s.org", label, label, label, label);
  uint8_t out[MESSAGE_MAX];
  ask_t ask = {.name = name, .type = DNS_TYPE_A, .edns = true, .tcp = true};
  assert_true(harness_ask(v, &ask, out) > RRSET_WIRE_MAX);
  assert_int_equal(out[2] & 2, 0);
  assert_int_equal(out[6] << 8 | out[7], RRSET_WIRE_MAX / 16);
  view_free(v);
  zone_free(z);
  free(text);
}

static void deep_names_find_their_closest_encloser(void **state)
{
  (void)state;
  char text[2048];
  char deep[256] = "";
  for (int i = 0; i < 120; i++)
    memcpy(deep + 2 * i, "d.", 3);
  deep[239] = '\0';
  snprintf(text, sizeof text,
           "$TTL 60\n@ SOA ns admin 7 3600 600 604800 30\n@ NS ns\n%s A 192.0.2.1\n*.d.d A 192.0.2.2\n",
           deep);
  zone_t *z = harness_zone("org", text);
  view_t *v = harness_view("v", z, NULL, NULL);
  char name[260];
  snprintf(name, sizeof name, "%s.org", deep);
  ask_t ask = {.name = name, .type = DNS_TYPE_A};
  assert_true(strstr(harness_text(v, &ask), "192.0.2.1") != NULL);
  snprintf(name, sizeof name, "x.%s.org", deep + 2);
  assert_true(strncmp(harness_text(v, &ask), "NXDOMAIN", 8) == 0);
  snprintf(name, sizeof name, "x.y.d.d.org");
  assert_true(strstr(harness_text(v, &ask), "192.0.2.2") != NULL);
  view_free(v);
  zone_free(z);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(names_and_types_that_exist),
      cmocka_unit_test(what_does_not_exist_says_so_with_the_soa),
      cmocka_unit_test(wildcards_follow_rfc_4592),
      cmocka_unit_test(aliases_are_followed_within_the_view),
      cmocka_unit_test(delegations_refer_with_glue),
      cmocka_unit_test(ds_of_a_zone_is_asked_of_the_zone_above),
      cmocka_unit_test(ds_behind_an_alias_is_asked_of_the_zone_above),
      cmocka_unit_test(referral_over_tcp_has_all_its_glue),
      cmocka_unit_test(dnames_are_synthesized),
      cmocka_unit_test(too_long_a_dname_substitution_is_yxdomain),
      cmocka_unit_test(any_is_answered_with_one_rrset),
      cmocka_unit_test(long_chains_end_after_the_limit),
      cmocka_unit_test(refusals_are_alike_for_every_name_type_class_opcode_and_transport),
      cmocka_unit_test(zone_of_another_view_is_refused_like_any_name),
      cmocka_unit_test(updates_and_notifies_are_refused_with_a_view_too),
      cmocka_unit_test(case_of_the_question_is_kept),
      cmocka_unit_test(rd_and_cd_are_repeated_and_nothing_else),
      cmocka_unit_test(malformed_messages_are_formerr_and_answers_are_dropped),
      cmocka_unit_test(opcodes_we_do_not_have_are_notimp),
      cmocka_unit_test(edns_is_answered_and_unknown_versions_are_badvers),
      cmocka_unit_test(two_opts_and_an_opt_elsewhere_are_formerr),
      cmocka_unit_test(client_subnet_changes_nothing),
      cmocka_unit_test(answers_fit_what_the_client_takes_and_are_cut_at_whole_rrsets),
      cmocka_unit_test(largest_answer_fits_a_tcp_message),
      cmocka_unit_test(deep_names_find_their_closest_encloser),
  };
  return cmocka_run_group_tests(tests, make_world, free_world);
}
