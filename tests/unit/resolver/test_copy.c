/* SPDX-License-Identifier: Apache-2.0 */
/* resolver/zone/zone_copy.h: what is written is read again as it was, and what is not whole, or for other
 * views, is not read at all. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/error.h"
#include "resolver/zone/zone_copy.h"

static const char zone_text[] = "$TTL 60\n"
                                "@ SOA ns hostmaster 7 3600 600 604800 30\n"
                                "@ NS ns\n@ NS elsewhere.example.\n@ MX 10 mail\n@ TXT \"a \\\"quoted\\\" "
                                "one\" \"; two\"\n@ CAA 0 issue \"ca.example\"\n"
                                "ns A 192.0.2.1\nns AAAA 2001:db8::1\n"
                                "_http._tcp.web SRV 0 0 8000 web\nweb 300 A 192.0.2.2\nweb 300 A 192.0.2.3\n"
                                "*.wild A 192.0.2.4\nalias CNAME web\nout CNAME www.example.\nold DNAME new\n"
                                "svc HTTPS 1 . alpn=h2\nsub NS ns.sub\nns.sub A 192.0.2.5\n"
                                "own TYPE65280 \\# 4 01020304\nempty TYPE65281 \\# 0\n"
                                "\\$odd\\.na\\032me\\\"\\;\\@ A 192.0.2.6\n";

static const char path[] = "test_copy.copy";

static int to_file(void *ctx, const char *bytes, size_t len)
{
  return fwrite(bytes, 1, len, ctx) == len ? SMPL_OK : SMPL_ESYS;
}

static zone_copy_view_t private_one[] = {{"vpc", true}};
static zone_copy_view_t both[] = {{"vpc", true}, {"world", false}};
static zone_copy_view_t opened[] = {{"vpc", false}};
static const zone_copy_views_t vpc = {private_one, 1}, vpc_and_world = {both, 2}, open_vpc = {opened, 1};

static zone_copy_head_t write_copy(const zone_t *z, const zone_copy_views_t *views)
{
  zone_copy_head_t head = {.serial = zone_facts(z).serial, .made_ms = 1234567};
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  assert_int_equal(zone_digest(z, head.digest), SMPL_OK);
  assert_int_equal(zone_copy_write(z, views, &head, to_file, f), SMPL_OK);
  assert_int_equal(fclose(f), 0);
  return head;
}

static int read_copy(const char *name, const zone_copy_views_t *views, zone_t **out, diag_t *diag)
{
  zone_copy_head_t head;
  dns_name_t origin;
  *diag = (diag_t){""};
  assert_int_equal(dns_name_from_text("zone.example", &origin), SMPL_OK);
  zone_contents_t *contents;
  *out = NULL;
  int err = zone_copy_read(name, &origin, path, views, &contents, &head, diag);
  if (!err) {
    assert_int_equal(zone_new(name, &origin, "/there/zone", out), SMPL_OK);
    assert_null(zone_swap(*out, contents));
  }
  return err;
}

static void what_was_written_is_read_again_record_by_record(void **state)
{
  (void)state;
  zone_t *z = harness_zone("zone.example@a", zone_text), *again = NULL;
  zone_copy_head_t head = write_copy(z, &vpc);
  diag_t diag;
  assert_int_equal(read_copy("zone.example@a", &vpc, &again, &diag), SMPL_OK);
  uint8_t digest[ZONE_DIGEST_LEN];
  assert_int_equal(zone_digest(again, digest), SMPL_OK);
  assert_memory_equal(digest, head.digest, sizeof digest);
  assert_int_equal(zone_facts(again).serial, 7);
  assert_int_equal(zone_facts(again).records, zone_facts(z).records);
  assert_string_equal(zone_file(again, 0), zone_file(z, 0)); /* what a reload watches, not the copy */
  zone_free(again);
  zone_free(z);
}

static void big_rrsets_and_many_names_of_the_zone_come_back(void **state)
{
  (void)state;
  size_t len = 0;
  char *text = NULL;
  FILE *f = open_memstream(&text, &len);
  fprintf(f, "$TTL 60\n@ SOA ns hostmaster 1 1 1 1 1\n@ NS ns\nns A 192.0.2.1\n");
  for (int i = 0; i < 1500; i++)
    fprintf(f, "many MX %d m%d.a-longer-label\n", i % 100, i);
  fclose(f);
  zone_t *z = harness_zone("zone.example", text), *again = NULL;
  diag_t diag;
  zone_copy_head_t head = write_copy(z, &vpc);
  uint8_t digest[ZONE_DIGEST_LEN];
  assert_int_equal(read_copy("zone.example", &vpc, &again, &diag), SMPL_OK);
  assert_int_equal(zone_digest(again, digest), SMPL_OK);
  assert_memory_equal(digest, head.digest, sizeof digest);
  zone_free(again);
  zone_free(z);
  free(text);
}

static void the_order_of_records_is_no_other_data_and_a_record_is(void **state)
{
  (void)state;
  static const char *const texts[] = {
      "$TTL 60\n@ SOA ns h 1 1 1 1 1\n@ NS ns\nns A 192.0.2.1\na A 192.0.2.2\na A 192.0.2.3\nb TXT x\n",
      "$TTL 60\n@ SOA ns h 1 1 1 1 1\n@ NS ns\nb TXT x\na A 192.0.2.3\na A 192.0.2.2\nns A 192.0.2.1\n",
      "$TTL 60\n@ SOA ns h 1 1 1 1 1\n@ NS ns\nns A 192.0.2.1\na A 192.0.2.2\na A 192.0.2.4\nb TXT x\n",
      "$TTL 60\n@ SOA ns h 1 1 1 1 1\n@ NS ns\nns A 192.0.2.1\na A 192.0.2.2\na A 192.0.2.3\nc TXT x\n",
      "$TTL 60\n@ SOA ns h 1 1 1 1 1\n@ NS ns\nns A 192.0.2.1\na A 192.0.2.2\na A 192.0.2.3\nb 61 TXT x\n",
  };
  uint8_t digests[5][ZONE_DIGEST_LEN];
  for (size_t i = 0; i < 5; i++) {
    zone_t *z = harness_zone("zone.example", texts[i]);
    assert_int_equal(zone_digest(z, digests[i]), SMPL_OK);
    zone_free(z);
  }
  assert_memory_equal(digests[0], digests[1], ZONE_DIGEST_LEN);
  for (size_t i = 2; i < 5; i++)
    assert_memory_not_equal(digests[0], digests[i], ZONE_DIGEST_LEN);
}

static char *slurp(size_t *len)
{
  FILE *f = fopen(path, "r");
  char *bytes = malloc(1 << 20);
  assert_non_null(f);
  *len = fread(bytes, 1, 1 << 20, f);
  fclose(f);
  return bytes;
}

static void spill(const char *bytes, size_t len)
{
  FILE *f = fopen(path, "w");
  assert_int_equal(fwrite(bytes, 1, len, f), len);
  fclose(f);
}

/* Cut at every place, and every byte changed: never half a zone, never another one. */
static void what_is_not_whole_is_not_read(void **state)
{
  (void)state;
  zone_t *z = harness_zone("zone.example", "$TTL 60\n@ SOA ns h 1 1 1 1 1\n@ NS ns\nns A 192.0.2.1\n"),
         *again;
  diag_t diag;
  size_t len;
  write_copy(z, &vpc);
  char *bytes = slurp(&len);
  for (size_t cut = 0; cut < len; cut++) {
    spill(bytes, cut);
    assert_int_equal(read_copy("zone.example", &vpc, &again, &diag), SMPL_EINVAL);
    assert_null(again);
  }
  for (size_t i = 0; i < len; i++) {
    bytes[i] ^= 1;
    spill(bytes, len);
    assert_int_equal(read_copy("zone.example", &vpc, &again, &diag), SMPL_EINVAL);
    bytes[i] ^= 1;
  }
  unlink(path);
  assert_int_equal(read_copy("zone.example", &vpc, &again, &diag), SMPL_ENOENT);
  free(bytes);
  zone_free(z);
}

static void a_copy_is_for_its_zone_and_the_views_that_had_it(void **state)
{
  (void)state;
  zone_t *z = harness_zone("zone.example@a", zone_text), *again = NULL;
  diag_t diag;
  write_copy(z, &vpc);
  assert_int_equal(read_copy("zone.example@b", &vpc, &again, &diag), SMPL_EINVAL);
  assert_int_equal(read_copy("zone.example@a", &vpc_and_world, &again, &diag), SMPL_EDENIED);
  assert_string_equal(diag.text, "view 'world' did not have the zone when its last good copy was made");
  assert_int_equal(read_copy("zone.example@a", &open_vpc, &again, &diag), SMPL_EDENIED);
  assert_string_equal(diag.text, "view 'vpc' was private when the last good copy was made");
  assert_null(again);
  write_copy(z, &vpc_and_world); /* fewer than then is fine */
  assert_int_equal(read_copy("zone.example@a", &vpc, &again, &diag), SMPL_OK);
  zone_free(again);
  write_copy(z, &open_vpc); /* and so is narrower */
  assert_int_equal(read_copy("zone.example@a", &vpc, &again, &diag), SMPL_OK);
  zone_free(again);
  zone_free(z);
}

static void a_head_says_whether_a_fresh_copy_would_be_the_same(void **state)
{
  (void)state;
  zone_t *z = harness_zone("zone.example", zone_text);
  zone_copy_head_t head, written = write_copy(z, &vpc);
  bool same = false;
  assert_int_equal(zone_copy_peek(path, "zone.example", &vpc, &head, &same), SMPL_OK);
  assert_true(same);
  assert_memory_equal(head.digest, written.digest, ZONE_DIGEST_LEN);
  assert_int_equal(head.serial, 7);
  assert_int_equal(head.made_ms, 1234567);
  assert_int_equal(zone_copy_peek(path, "zone.example", &open_vpc, &head, &same), SMPL_OK);
  assert_false(same);
  assert_int_equal(zone_copy_peek(path, "zone.example", &vpc_and_world, &head, &same), SMPL_OK);
  assert_false(same);
  assert_int_equal(zone_copy_peek(path, "other.example", &vpc, &head, &same), SMPL_EINVAL);
  write_copy(z, &vpc_and_world);
  assert_int_equal(zone_copy_peek(path, "zone.example", &vpc, &head, &same), SMPL_OK);
  assert_false(same);
  assert_int_equal(zone_copy_peek("nothing.copy", "zone.example", &vpc, &head, &same), SMPL_ENOENT);
  zone_free(z);
}

static void names_of_copies_stay_in_their_folder_and_apart(void **state)
{
  (void)state;
  char a[ZONE_COPY_NAME_MAX], b[ZONE_COPY_NAME_MAX], longest[1100];
  assert_string_equal(zone_copy_name("smplkit.com@vpc", a), "smplkit.com@vpc.copy");
  assert_string_equal(zone_copy_name("0/25.2.0.192.in-addr.arpa", a), "0%2F25.2.0.192.in-addr.arpa.copy");
  assert_string_equal(zone_copy_name(".", a), "%2E.copy");
  assert_string_equal(zone_copy_name("..", a), "%2E..copy");
  assert_string_not_equal(zone_copy_name("a@X", a), zone_copy_name("a@x", b));
  memset(longest, 'a', sizeof longest - 1);
  longest[sizeof longest - 1] = '\0';
  zone_copy_name(longest, a);
  assert_true(strlen(a) < ZONE_COPY_NAME_MAX);
  longest[0] = 'b';
  assert_string_not_equal(a, zone_copy_name(longest, b));
}

static void serials_are_compared_in_a_circle(void **state)
{
  (void)state;
  assert_true(zone_serial_after(2, 1));
  assert_false(zone_serial_after(1, 2));
  assert_false(zone_serial_after(1, 1));
  assert_true(zone_serial_after(1, 4294967295u));
  assert_false(zone_serial_after(4294967295u, 1));
  assert_false(zone_serial_after(0x80000001u, 1)); /* half way round: neither */
}

/* A view where the zone below is loaded, with a wildcard that would answer for everything. */
static void an_unavailable_zone_is_servfail_and_nobody_else_answers_for_it(void **state)
{
  (void)state;
  zone_t *parent =
      harness_zone("example",
                   "$TTL 60\n@ SOA ns h 1 1 1 1 1\n@ NS ns\nns A 192.0.2.1\n* A 192.0.2.66\n"
                   "alias CNAME www.zone\nsrv SRV 0 0 1 www.zone\nzone NS ns.zone\nns.zone A 192.0.2.9\n");
  zone_t *gone = NULL;
  dns_name_t origin;
  assert_int_equal(dns_name_from_text("zone.example", &origin), SMPL_OK);
  assert_int_equal(zone_new("zone.example", &origin, "/there/zone", &gone), SMPL_OK);
  view_t *view = harness_view("v", parent, gone, NULL);
  static const char *const names[] = {"zone.example", "www.zone.example", "a.b.c.zone.example"};
  static const uint16_t types[] = {DNS_TYPE_A, DNS_TYPE_NS, DNS_TYPE_SOA, DNS_TYPE_ANY, 65280};
  for (size_t i = 0; i < 3; i++)
    for (size_t t = 0; t < 5; t++)
      assert_string_equal(harness_text(view, &(ask_t){.name = names[i], .type = types[t]}), "SERVFAIL");
  assert_non_null(
      strstr(harness_text(view, &(ask_t){.name = "alias.example", .type = DNS_TYPE_A}), "SERVFAIL"));
  assert_null(strstr(harness_text(view, &(ask_t){.name = "alias.example", .type = DNS_TYPE_A}), "192.0.2."));
  const char *srv = harness_text(view, &(ask_t){.name = "srv.example", .type = DNS_TYPE_SRV});
  assert_non_null(strstr(srv, "NOERROR aa"));
  assert_null(strstr(srv, "192.0.2."));
  assert_non_null(
      strstr(harness_text(view, &(ask_t){.name = "other.example", .type = DNS_TYPE_A}), "192.0.2.66"));
  view_free(view);
  zone_free(gone);
  zone_free(parent);
}

static void what_an_overlay_lacks_is_servfail_when_its_base_is_unavailable(void **state)
{
  (void)state;
  zone_t *over = harness_zone("zone.example@over",
                              "$TTL 60\n@ SOA ns h 1 1 1 1 1\n@ NS ns\nns A 192.0.2.1\nown A 192.0.2.7\n");
  zone_t *base = NULL;
  assert_int_equal(zone_new("zone.example@base", zone_origin(over), "/there/zone", &base), SMPL_OK);
  assert_int_equal(zone_set_base(over, base), SMPL_OK);
  view_t *view = harness_view("v", over, NULL, NULL);
  assert_non_null(
      strstr(harness_text(view, &(ask_t){.name = "own.zone.example", .type = DNS_TYPE_A}), "192.0.2.7"));
  assert_string_equal(harness_text(view, &(ask_t){.name = "other.zone.example", .type = DNS_TYPE_A}),
                      "SERVFAIL");
  view_free(view);
  zone_free(over);
  zone_free(base);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_was_written_is_read_again_record_by_record),
      cmocka_unit_test(big_rrsets_and_many_names_of_the_zone_come_back),
      cmocka_unit_test(the_order_of_records_is_no_other_data_and_a_record_is),
      cmocka_unit_test(what_is_not_whole_is_not_read),
      cmocka_unit_test(a_copy_is_for_its_zone_and_the_views_that_had_it),
      cmocka_unit_test(a_head_says_whether_a_fresh_copy_would_be_the_same),
      cmocka_unit_test(names_of_copies_stay_in_their_folder_and_apart),
      cmocka_unit_test(serials_are_compared_in_a_circle),
      cmocka_unit_test(an_unavailable_zone_is_servfail_and_nobody_else_answers_for_it),
      cmocka_unit_test(what_an_overlay_lacks_is_servfail_when_its_base_is_unavailable),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
