/* SPDX-License-Identifier: Apache-2.0 */
/* resolver.yaml: what is refused, with which message; what a snapshot makes of it. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "resolver/view/settings.h"
#include "resolver/view/snapshot.h"

static const char conf_path_[] = "test_settings.yaml";

#define LISTENER "listeners:\n  - {address: 127.0.0.1, port: 5300, views: [in, out]}\n"
#define VIEWS                                                                                                \
  "views:\n"                                                                                                 \
  "  - {name: in, clients: [10.0.0.0/8, \"fc00::/7\"], zones: [example.org@in]}\n"                           \
  "  - {name: out, clients: [\"0.0.0.0/0\", \"::/0\"], zones: [example.org@out]}\n"
#define ZONES                                                                                                \
  "zones:\n"                                                                                                 \
  "  - {name: example.org@in, file: test_settings.in.zone}\n"                                                \
  "  - {name: example.org@out, file: test_settings.out.zone}\n"

static void write_file(const char *path, const char *text)
{
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
}

static int write_zones(void **state)
{
  (void)state;
  write_file("test_settings.in.zone", "$TTL 60\n@ SOA ns a 1 2 3 4 5\n@ NS ns\nns A 10.0.0.1\n");
  write_file("test_settings.out.zone", "$TTL 60\n@ SOA ns a 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n");
  return 0;
}

static int remove_zones(void **state)
{
  (void)state;
  unlink("test_settings.in.zone");
  unlink("test_settings.out.zone");
  unlink(conf_path_);
  return 0;
}

static snapshot_t *load(const char *text)
{
  snapshot_t *s;
  diag_t diag = {""};
  write_file(conf_path_, text);
  if (snapshot_load(conf_path_, 1, &s, &diag))
    fail_msg("%s", diag.text);
  return s;
}

static void check_error(const char *text, const char *want)
{
  snapshot_t *s;
  diag_t diag = {""};
  write_file(conf_path_, text);
  assert_int_not_equal(snapshot_load(conf_path_, 1, &s, &diag), 0);
  assert_null(s);
  if (strstr(diag.text, want) == NULL)
    fail_msg("configuration:\n%s\nexpected: %s\ngot:      %s", text, want, diag.text);
}

static void metrics_are_an_address_alone_or_with_hosts(void **state)
{
  (void)state;
  snapshot_t *a = load(LISTENER VIEWS ZONES "metrics: '[::1]:9153'\n");
  snapshot_t *b = load(LISTENER VIEWS ZONES "metrics: {address: '[::1]:9153'}\n");
  snapshot_t *c = load(LISTENER VIEWS ZONES
                       "metrics: {address: '[::1]:9153', hosts: [metrics.example, '[::2]', 10.0.0.1]}\n");
  snapshot_t *none = load(LISTENER VIEWS ZONES);
  const metrics_conf_t *m = &snapshot_settings(a)->metrics;
  assert_int_equal(m->address.port, 9153);
  assert_int_equal(m->hosts.count, 0);
  assert_true(metrics_conf_same(m, &snapshot_settings(b)->metrics));
  assert_false(metrics_conf_same(m, &snapshot_settings(c)->metrics));
  assert_false(metrics_conf_same(m, &snapshot_settings(none)->metrics));
  assert_int_equal(snapshot_settings(c)->metrics.hosts.count, 3);
  assert_int_equal(snapshot_settings(none)->metrics.address.port, 0);
  snapshot_free(a);
  snapshot_free(b);
  snapshot_free(c);
  snapshot_free(none);
}

static void base_of_an_overlay_is_another_zone_of_its_origin(void **state)
{
  (void)state;
#define IN                           "zones:\n  - {name: example.org@in, file: test_settings.in.zone"
#define OUT                          "}\n  - {name: example.org@out, file: test_settings.out.zone"
#define CHECK_OVERLAY(in, out, want) check_error(LISTENER VIEWS IN in OUT out "}\n", want)
  CHECK_OVERLAY(", on_missing: nothing", "", "expected nxdomain or base, got 'nothing'");
  CHECK_OVERLAY(
      ", on_missing: base", "",
      "test_settings.yaml:7:69: zone 'example.org@in': expected base: NAME@TAG beside on_missing: base");
  CHECK_OVERLAY(", base: example.org@out", "", "a base is only used with on_missing: base");
  CHECK_OVERLAY(", on_missing: nxdomain, base: example.org@out", "",
                "a base is only used with on_missing: base");
  CHECK_OVERLAY(", on_missing: base, base: example.org@no", "", "no zone 'example.org@no' under zones");
  CHECK_OVERLAY(", on_missing: base, base: example.org@in", "", "base 'example.org@in' has a base itself");
  CHECK_OVERLAY(", on_missing: base, base: example.org@out", ", on_missing: base, base: example.org@in",
                "base 'example.org@out' has a base itself");
  check_error(LISTENER VIEWS IN ", on_missing: base, base: org" OUT
                                "}\n  - {name: org, file: test_settings.in.zone}\n",
              "base 'org' has another origin");
  snapshot_free(load(LISTENER VIEWS IN ", on_missing: nxdomain" OUT "}\n"));
  snapshot_t *s = load(LISTENER VIEWS IN ", on_missing: base, base: example.org@out" OUT "}\n");
  zone_in_view_t z;
  dns_name_t name;
  assert_int_equal(dns_name_from_text("example.org", &name), 0);
  assert_true(view_zone_for(snapshot_view(s, 0), &name, DNS_TYPE_A, &z));
  assert_ptr_equal(zone_base(z).zone, snapshot_zone(s, 1));
  assert_true(view_zone_for(snapshot_view(s, 1), &name, DNS_TYPE_A, &z));
  assert_null(zone_base(z).zone);
  snapshot_free(s);
}

static void rate_limits_are_for_public_views(void **state)
{
  (void)state;
#define LIMITED(keys)                                                                                        \
  LISTENER "views:\n  - {name: in, clients: [10.0.0.0/8], zones: [example.org@in]}\n"                        \
           "  - {name: out, clients: [\"0.0.0.0/0\"], zones: [example.org@out]" keys "}\n" ZONES
  check_error(LIMITED(", rate_limit: 5"), "view 'out': rate_limit is only used with public: true");
  check_error(LIMITED(", public: true, rate_limit: 0"), "from 1 to 1000000");
  check_error(LIMITED(", public: true, rate_limit: 1000001"), "from 1 to 1000000");
  static const struct {
    const char *text;
    uint32_t rate;
  } cases[] = {{LIMITED(""), 0},
               {LIMITED(", public: false"), 0},
               {LIMITED(", public: true"), 200},
               {LIMITED(", public: true, rate_limit: 1"), 1},
               {LIMITED(", public: true, rate_limit: 1000000"), 1000000}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    snapshot_t *s = load(cases[i].text);
    assert_int_equal(snapshot_rate_limit(s, 0), 0);
    assert_int_equal(snapshot_rate_limit(s, 1), cases[i].rate);
    assert_int_equal(snapshot_rate_limit(s, 2), 0);
    snapshot_free(s);
  }
}

static void count_warnings(void *ctx, const char *text)
{
  (void)text;
  (*(unsigned *)ctx)++;
}

static void zone_that_is_only_a_base_is_used(void **state)
{
  (void)state;
  snapshot_t *s = load("listeners:\n  - {address: 127.0.0.1, port: 5300, views: [in]}\n"
                       "views:\n  - {name: in, clients: [10.0.0.0/8], zones: [example.org@in]}\n" IN
                       ", on_missing: base, base: example.org@out" OUT "}\n");
  unsigned warnings = 0;
  settings_warnings(snapshot_settings(s), count_warnings, &warnings);
  assert_int_equal(warnings, 0);
  snapshot_free(s);
}

static const char *chosen(const snapshot_t *s, size_t listener, const char *peer)
{
  ip_t ip;
  snapshot_view_t c;
  assert_int_equal(ip_parse(peer, &ip), 0);
  snapshot_choose(s, listener, &ip, 1, &c);
  assert_true(c.number <= snapshot_view_count(s));
  assert_int_equal(c.view == NULL, c.number == snapshot_view_count(s));
  return c.view != NULL ? view_name(c.view) : "(none)";
}

static void view_comes_from_listener_and_peer(void **state)
{
  (void)state;
  snapshot_t *s = load("listeners:\n"
                       "  - {address: 127.0.0.2, port: 5300, views: [out]}\n"
                       "  - {address: 127.0.0.1, port: 5301, views: [in]}\n"
                       "  - {address: 127.0.0.1, port: 5300, views: [in, out]}\n" VIEWS ZONES);
  /* sorted by address and port, whatever the file says */
  assert_int_equal(snapshot_listener(s, 0).port, 5300);
  assert_int_equal(snapshot_listener(s, 1).port, 5301);
  assert_string_equal(chosen(s, 0, "10.1.2.3"), "in");
  assert_string_equal(chosen(s, 0, "::ffff:10.1.2.3"), "in");
  assert_string_equal(chosen(s, 0, "fd00::1"), "in");
  assert_string_equal(chosen(s, 0, "11.0.0.0"), "out");
  assert_string_equal(chosen(s, 0, "9.255.255.255"), "out");
  assert_string_equal(chosen(s, 0, "2001:db8::1"), "out");
  assert_string_equal(chosen(s, 1, "10.1.2.3"), "in");
  assert_string_equal(chosen(s, 1, "11.0.0.0"), "(none)");
  /* a private source on the listener of public views gets nothing private */
  assert_string_equal(chosen(s, 2, "10.1.2.3"), "out");
  snapshot_free(s);
}

static void tags_tell_zones_of_one_origin_apart(void **state)
{
  (void)state;
  snapshot_t *s = load(LISTENER VIEWS ZONES);
  static const ask_t ask = {.name = "ns.example.org", .type = DNS_TYPE_A};
  assert_string_equal(harness_text(snapshot_view(s, 0), &ask),
                      "NOERROR aa | ns.example.org. 60 IN A 10.0.0.1;");
  assert_string_equal(harness_text(snapshot_view(s, 1), &ask),
                      "NOERROR aa | ns.example.org. 60 IN A 192.0.2.1;");
  snapshot_free(s);
}

static void tie_of_networks_names_both_places(void **state)
{
  (void)state;
  check_error(LISTENER "views:\n"
                       "  - {name: in, clients: [10.0.0.0/8], zones: []}\n"
                       "  - {name: out, clients: [192.168.0.0/16, 10.0.0.0/8]}\n",
              "test_settings.yaml:5:43: network 10.0.0.0/8 of view 'out' is one of view 'in' too "
              "(test_settings.yaml:4:26): "
              "dns listener 127.0.0.1 port 5300 has both and could not choose");
  /* on listeners of their own the same networks are fine */
  snapshot_free(load("listeners:\n  - {address: 127.0.0.1, port: 1, views: [in]}\n  - {address: 127.0.0.1, "
                     "port: 2, views: [out]}\n"
                     "views:\n"
                     "  - {name: in, clients: [10.0.0.0/8], zones: []}\n"
                     "  - {name: out, clients: [10.0.0.0/8]}\n"));
}

static void what_does_not_fit_together_is_named(void **state)
{
  (void)state;
  static const struct {
    const char *text, *want;
  } cases[] = {
      {VIEWS ZONES, "listeners"},
      {LISTENER ZONES, "views"},
      {"listeners:\n  - {address: 127.0.0.1, port: 5300, views: [in, ouch]}\n" VIEWS ZONES,
       "test_settings.yaml:2:50: no view 'ouch' under views"},
      {"listeners:\n  - {address: 127.0.0.1, port: 5300, views: [in, in]}\n" VIEWS ZONES,
       "view 'in' stands twice in this listener"},
      {"listeners:\n  - {address: 127.0.0.1, views: [in]}\n  - {address: 127.0.0.1, port: 53, views: "
       "[out]}\n" VIEWS ZONES,
       "test_settings.yaml:3:15: dns listener on 127.0.0.1 port 53 stands at test_settings.yaml:2:15 "
       "already"},
      {LISTENER VIEWS, "test_settings.yaml:4:59: view 'in': no zone 'example.org@in' under zones"},
      {LISTENER VIEWS ZONES "  - {name: example.org@in, file: x}\n",
       "zone 'example.org@in' stands at test_settings.yaml:7:12 already"},
      {LISTENER VIEWS "  - {name: in, clients: [127.0.0.1]}\n" ZONES,
       "view 'in' stands at test_settings.yaml:4:12 already"},
      {LISTENER "views:\n  - {name: in, clients: [10.0.0.0/8], zones: [example.org@in, example.org@out]}\n"
                "  - {name: out, clients: [127.0.0.1]}\n" ZONES,
       "view 'in': 'example.org@out' has the same origin as 'example.org@in' at test_settings.yaml:4:47"},
      {LISTENER VIEWS ZONES "  - {name: a..b, file: x}\n", "expected a zone's name or NAME@TAG, got 'a..b'"},
      {LISTENER VIEWS ZONES "  - {name: a@, file: x}\n", "expected a zone's name or NAME@TAG, got 'a@'"},
      {LISTENER VIEWS ZONES "  - {name: a, file: nonexistent.zone}\n", "nonexistent.zone"},
      {LISTENER VIEWS ZONES "workers: 0\n", "workers"},
      {LISTENER VIEWS ZONES "workers: 257\n", "workers"},
      {LISTENER VIEWS ZONES "forward: []\n", "forward"},
      {LISTENER VIEWS ZONES "metrics: 127.0.0.1:0\n",
       "test_settings.yaml:9:10: metrics: expected a port from 1 to 65535"},
      {LISTENER VIEWS ZONES "metrics: localhost\n",
       "test_settings.yaml:9:10: metrics: expected an address with port"},
      {LISTENER VIEWS ZONES "metrics: {address: 127.0.0.1:0}\n",
       "test_settings.yaml:9:20: metrics: expected a port from 1 to 65535"},
      {LISTENER VIEWS ZONES "metrics: {hosts: [a.example]}\n", "metrics: the key 'address' is missing"},
      {LISTENER VIEWS ZONES "metrics: [127.0.0.1:9153]\n", "expected the keys of metrics, got a list"},
      {LISTENER VIEWS ZONES "metrics: {address: 127.0.0.1:9153, host: a}\n",
       "unknown key 'host' in metrics; known keys: address, hosts"},
      {LISTENER VIEWS ZONES "metrics: {address: 127.0.0.1:9153, hosts: [a, 'a.example:80']}\n",
       "test_settings.yaml:9:48: hosts: expected a name such as metrics.internal.example or an address, "
       "without a "
       "port, got 'a.example:80'"},
      {LISTENER VIEWS ZONES "metrics: {address: 127.0.0.1:9153, hosts: ['http://a/']}\n", "got 'http://a/'"},
      {LISTENER VIEWS ZONES "metrics: {address: 127.0.0.1:9153, hosts: ['*']}\n", "got '*'"},
      {LISTENER VIEWS ZONES "metrics: {address: 127.0.0.1:9153, hosts: ['a.']}\n", "got 'a.'"},
      {"listeners:\n  - {address: 127.0.0.1, port: 0, views: [in]}\n" VIEWS ZONES, "port"},
      {"listeners:\n  - {address: 127.0.0.1, port: 65536, views: [in]}\n" VIEWS ZONES, "port"},
      {"listeners:\n  - {address: localhost, port: 53, views: [in]}\n" VIEWS ZONES, "localhost"},
      {LISTENER "views:\n  - {name: in, clients: [10.0.0.1/8], zones: []}\n", "10.0.0.1/8"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    check_error(cases[i].text, cases[i].want);
}

static void broken_zone_is_named_by_its_own_file_and_line(void **state)
{
  (void)state;
  write_file("test_settings.in.zone", "$TTL 60\n@ SOA ns a 1 2 3 4 5\n@ NS ns\nns A 10.0.0.256\n");
  check_error(LISTENER VIEWS ZONES, "test_settings.in.zone:4: expected an IPv4 address, got '10.0.0.256'");
  write_zones(NULL);
}

static void keep_warning(void *ctx, const char *text)
{
  char *all = ctx;
  size_t used = strlen(all);
  snprintf(all + used, 2000 - used, "%s\n", text);
}

static void private_and_public_views_on_one_listener_are_warned_of_unless_on_loopback(void **state)
{
  (void)state;
  char text[2000] = "";
  snapshot_t *s = load(LISTENER VIEWS ZONES);
  settings_warnings(snapshot_settings(s), keep_warning, text);
  assert_string_equal(text, "");
  snapshot_free(s);
  s = load("listeners:\n  - {address: 192.0.2.1, port: 53, views: [in, out]}\n  - {address: \"::\", port: "
           "53, views: [out]}\n" VIEWS ZONES);
  settings_warnings(snapshot_settings(s), keep_warning, text);
  assert_true(
      strstr(text, "test_settings.yaml:2:15: private view 'in' and public view 'out' share a dns listener") ==
      text);
  assert_true(strstr(text + 1, "test_settings.yaml:3") == NULL);
  snapshot_free(s);
}

static void unused_views_and_zones_are_warned_of(void **state)
{
  (void)state;
  char text[2000] = "";
  snapshot_t *s =
      load("listeners:\n  - {address: 127.0.0.1, port: 53, views: [in]}\n"
           "views:\n  - {name: in, clients: [10.0.0.0/8]}\n  - {name: out, clients: [10.0.0.0/8]}\n" ZONES);
  settings_warnings(snapshot_settings(s), keep_warning, text);
  assert_true(strstr(text, "no dns listener has view 'out'") != NULL);
  assert_true(strstr(text, "no view has zone 'example.org@in'") != NULL);
  assert_true(strstr(text, "no view has zone 'example.org@out'") != NULL);
  snapshot_free(s);
}

static void thousands_of_views_load(void **state)
{
  (void)state;
  enum { COUNT = 5000 };
  size_t cap = COUNT * 120 + 1000;
  char *text = malloc(cap);
  assert_non_null(text);
  size_t used = (size_t)snprintf(text, cap, "listeners:\n  - address: 127.0.0.1\n    views:\n");
  for (int i = 0; i < COUNT; i++)
    used += (size_t)snprintf(text + used, cap - used, "      - v%d\n", i);
  used += (size_t)snprintf(text + used, cap - used, "views:\n");
  for (int i = 0; i < COUNT; i++)
    used += (size_t)snprintf(text + used, cap - used, "  - {name: v%d, clients: [10.%d.%d.0/24]}\n", i,
                             i / 256, i % 256);
  snapshot_t *s = load(text);
  assert_string_equal(chosen(s, 0, "10.0.0.255"), "v0");
  assert_string_equal(chosen(s, 0, "10.19.135.7"), "v4999");
  assert_string_equal(chosen(s, 0, "10.19.136.0"), "(none)");
  snapshot_free(s);
  free(text);
}

#define TWO_VIEWS "views:\n  - {name: in, clients: [10.0.0.0/8], zones: []}\n"
#define FIRST     "  - {address: 127.0.0.1, port: 5300, views: [in]}\n"
#define SECOND    "  - {address: 127.0.0.2, port: 5300, views: [in]}\n"

static void what_a_reload_cannot_change_is_named_with_its_place(void **state)
{
  (void)state;
  static const char before[] = "listeners:\n" FIRST SECOND TWO_VIEWS "workers: 2\npin: true\nwatch: true\n";
  static const struct {
    const char *text, *want; /* NULL: a reload may */
  } cases[] = {
      {before, NULL},
      {"listeners:\n" SECOND FIRST TWO_VIEWS "workers: 2\npin: true\n", NULL}, /* the order says nothing */
      {"listeners:\n" FIRST SECOND TWO_VIEWS "workers: 3\npin: true\n",
       "test_settings.yaml:6:10: workers: a change needs a restart"},
      {"listeners:\n" FIRST SECOND TWO_VIEWS "workers: 2\npin: false\n",
       "test_settings.yaml:7:6: pin: a change needs a restart"},
      {"listeners:\n" FIRST SECOND TWO_VIEWS "workers: 2\npin: true\nmetrics: 127.0.0.1:9153\n",
       "test_settings.yaml:8:10: metrics: a change needs a restart"},
      {"listeners:\n" FIRST SECOND TWO_VIEWS "workers: 2\npin: true\nquery_log: {file: x}\n",
       "query_log: a change needs a restart"},
      {"listeners:\n" FIRST SECOND TWO_VIEWS "workers: 2\npin: true\ncontrol: other.sock\n",
       "test_settings.yaml:8:10: control: a change needs a restart"},
      {"listeners:\n" FIRST SECOND TWO_VIEWS "workers: 2\npin: true\nfree_bind: false\n",
       "test_settings.yaml:8:12: free_bind: a change needs a restart"},
      {"listeners:\n" FIRST "  - {address: 127.0.0.2, port: 5301, views: [in]}\n" TWO_VIEWS
       "workers: 2\npin: true\n",
       "test_settings.yaml:3:15: listeners: another address or port needs a restart"},
      {"listeners:\n" FIRST TWO_VIEWS "workers: 2\npin: true\n", "listeners: a change needs a restart"},
  };
  settings_t was;
  diag_t diag = {""};
  assert_int_equal(settings_parse(conf_path_, before, strlen(before), &was, &diag), 0);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    settings_t is;
    diag = (diag_t){""};
    if (settings_parse(conf_path_, cases[i].text, strlen(cases[i].text), &is, &diag))
      fail_msg("%s", diag.text);
    int err = settings_check_fixed(&was, &is, &diag);
    assert_int_equal(err != 0, cases[i].want != NULL);
    if (err && strstr(diag.text, cases[i].want) == NULL)
      fail_msg("expected: %s\ngot:      %s", cases[i].want, diag.text);
    settings_free(&is);
  }
  settings_free(&was);
}

static void every_key_is_described(void **state)
{
  (void)state;
  for (size_t i = 0; i < settings_map.count; i++) {
    const conf_field_t *f = &settings_map.fields[i];
    assert_non_null(f->doc);
    for (size_t j = 0; f->map != NULL && f->map != &metrics_conf_map && j < f->map->count; j++)
      assert_non_null(f->map->fields[j].doc);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(base_of_an_overlay_is_another_zone_of_its_origin),
      cmocka_unit_test(metrics_are_an_address_alone_or_with_hosts),
      cmocka_unit_test(zone_that_is_only_a_base_is_used),
      cmocka_unit_test(rate_limits_are_for_public_views),
      cmocka_unit_test(view_comes_from_listener_and_peer),
      cmocka_unit_test(tags_tell_zones_of_one_origin_apart),
      cmocka_unit_test(tie_of_networks_names_both_places),
      cmocka_unit_test(what_does_not_fit_together_is_named),
      cmocka_unit_test(broken_zone_is_named_by_its_own_file_and_line),
      cmocka_unit_test(private_and_public_views_on_one_listener_are_warned_of_unless_on_loopback),
      cmocka_unit_test(unused_views_and_zones_are_warned_of),
      cmocka_unit_test(thousands_of_views_load),
      cmocka_unit_test(what_a_reload_cannot_change_is_named_with_its_place),
      cmocka_unit_test(every_key_is_described),
  };
  return cmocka_run_group_tests(tests, write_zones, remove_zones);
}
