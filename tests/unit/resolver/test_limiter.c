/* SPDX-License-Identifier: Apache-2.0 */
/* Rate limits of public views: who is counted together, how many pass, what the others get. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/dns/dns_wire.h"
#include "common/base/ip.h"
#include "resolver/answer/limiter.h"
#include "resolver/limits.h"

static ip_t ip(const char *text)
{
  ip_t a;
  assert_int_equal(ip_parse(text, &a), 0);
  return a;
}

static limiter_verdict_t take(limiter_t *l, const char *peer, uint32_t rate, uint64_t now)
{
  ip_t a = ip(peer);
  return limiter_take(l, &a, 0, LIMITER_DATA, rate, now);
}

/* How many of `count` at one time pass. */
static unsigned passing(limiter_t *l, const char *peer, uint32_t rate, uint64_t now, unsigned count)
{
  unsigned n = 0;
  for (unsigned i = 0; i < count; i++)
    n += take(l, peer, rate, now) == LIMITER_PASS;
  return n;
}

static void rate_passes_and_no_more(void **state)
{
  (void)state;
  limiter_t *l = limiter_new(1);
  assert_non_null(l);
  assert_int_equal(passing(l, "192.0.2.1", 5, 1000, 20), 5);
  assert_int_equal(passing(l, "192.0.2.1", 5, 1199, 20), 0);
  assert_int_equal(passing(l, "192.0.2.1", 5, 1200, 20), 1);
  assert_int_equal(passing(l, "192.0.2.1", 5, 2200, 20), 5);
  assert_int_equal(passing(l, "192.0.2.1", 5, 1000000, 20), 5); /* no more is saved up */
  /* over ten seconds in steps of a millisecond: the burst and the rate */
  unsigned n = 0;
  for (uint64_t t = 0; t < 10000; t++)
    n += passing(l, "198.51.100.1", 50, 5000000 + t, 2);
  assert_in_range(n, 50 + 490, 50 + 500);
  assert_int_equal(passing(l, "203.0.113.1", RATE_MAX, 1, 2000), 2000);
  limiter_free(l);
}

static void every_second_one_above_the_rate_slips(void **state)
{
  (void)state;
  limiter_t *l = limiter_new(1);
  assert_int_equal(passing(l, "192.0.2.1", 1, 1000, 1), 1);
  for (unsigned i = 1; i <= 20; i++)
    assert_int_equal(take(l, "192.0.2.1", 1, 1000), i % RATE_SLIP == 0 ? LIMITER_SLIP : LIMITER_DROP);
  limiter_free(l);
}

static void networks_views_and_kinds_are_counted_apart(void **state)
{
  (void)state;
  limiter_t *l = limiter_new(99);
  ip_t a = ip("192.0.2.1");
  assert_int_equal(passing(l, "192.0.2.1", 1, 1000, 3), 1);
  assert_int_equal(passing(l, "192.0.2.255", 1, 1000, 3), 0);
  assert_int_equal(passing(l, "192.0.3.1", 1, 1000, 3), 1);
  assert_int_equal(passing(l, "2001:db8:0:100::1", 1, 1000, 3), 1);
  assert_int_equal(passing(l, "2001:db8:0:1ff:1::9", 1, 1000, 3), 0);
  assert_int_equal(passing(l, "2001:db8:0:200::1", 1, 1000, 3), 1);
  assert_int_equal(limiter_take(l, &a, 1, LIMITER_DATA, 1, 1000), LIMITER_PASS);
  assert_int_equal(limiter_take(l, &a, 0, LIMITER_NXDOMAIN, 1, 1000), LIMITER_PASS);
  assert_int_equal(limiter_take(l, &a, 0, LIMITER_ERROR, 1, 1000), LIMITER_PASS);
  assert_int_equal(limiter_take(l, &a, 0, LIMITER_ERROR, 1, 1000), LIMITER_DROP);
  limiter_free(l);
}

/* More networks than there is room for: all are served, and who keeps asking stays limited among a few
 * others. */
static void full_table_forgets_and_goes_on(void **state)
{
  (void)state;
  limiter_t *l = limiter_new(7);
  unsigned passed = 0;
  for (uint32_t i = 0; i < RATE_SETS * 8; i++) {
    ip_t a = ip("10.0.0.1");
    a.b[12] = (uint8_t)(i >> 16);
    a.b[13] = (uint8_t)(i >> 8);
    a.b[14] = (uint8_t)i;
    passed += limiter_take(l, &a, 0, LIMITER_DATA, 1, 1000 + i / 100) == LIMITER_PASS;
  }
  assert_int_equal(passed, RATE_SETS * 8);
  assert_int_equal(passing(l, "203.0.113.1", 1, 5000, 10), 1);
  limiter_free(l);
}

static void clock_may_wrap_round(void **state)
{
  (void)state;
  limiter_t *l = limiter_new(7);
  assert_int_equal(passing(l, "192.0.2.1", 2, 0xffffffff, 10), 2);
  assert_int_equal(passing(l, "192.0.2.1", 2, 0x100000000 + 100, 10), 0);
  assert_int_equal(passing(l, "192.0.2.1", 2, 0x100000000 + 600, 10), 1);
  limiter_free(l);
}

/* ---- the short answer ---- */

static void short_answer_says_nothing_of_any_zone(void **state)
{
  (void)state;
  uint8_t msg[512];
  uint8_t out[UDP_REPLY_MAX];
  exchange_note_t note;
  ask_t ask = {.name = "a.Example.org", .type = DNS_TYPE_A, .edns = true, .flags = DNS_FLAG_RD};
  size_t len = harness_query(&ask, msg);
  size_t n = harness_short(msg, len, out, &note);
  assert_int_equal(n, len);
  assert_int_equal((out[2] << 8) | out[3], DNS_FLAG_QR | DNS_FLAG_TC | DNS_FLAG_RD);
  assert_memory_equal(out + 4, msg + 4, len - 4);
  assert_true(note.truncated && note.rcode == 0 && note.cookie_at == 0);
  /* with a cookie: BADCOOKIE and room for a fresh one */
  static const uint8_t cookie[] = {0, 12, 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8};
  memcpy(msg + len - 2, cookie, sizeof cookie);
  len += sizeof cookie - 2;
  n = harness_short(msg, len, out, &note);
  assert_int_equal(n, len + 16);
  assert_int_equal((out[2] << 8) | out[3], DNS_FLAG_QR | DNS_FLAG_RD | (DNS_RCODE_BADCOOKIE & 15));
  assert_int_equal(out[len - 12 - 6], DNS_RCODE_BADCOOKIE >> 4);
  assert_int_equal(note.rcode, DNS_RCODE_BADCOOKIE);
  assert_int_equal(note.cookie_at, n - 16);
  /* never more than was asked, malformed */
  n = harness_short(msg, 14, out, &note);
  assert_int_equal(n, DNS_HEADER_LEN);
  assert_int_equal(harness_short(msg, 11, out, &note), 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rate_passes_and_no_more),
      cmocka_unit_test(every_second_one_above_the_rate_slips),
      cmocka_unit_test(networks_views_and_kinds_are_counted_apart),
      cmocka_unit_test(full_table_forgets_and_goes_on),
      cmocka_unit_test(clock_may_wrap_round),
      cmocka_unit_test(short_answer_says_nothing_of_any_zone),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
