/* SPDX-License-Identifier: Apache-2.0 */
/* Which records are written singly, that the rest is counted to the last one, and that all of it is bounded.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "bastion/session/repeats.h"

typedef struct sum {
  size_t kinds;
  uint64_t count;
  repeat_t last;
} sum_t;

static void what_costs_more_takes_more_of_a_rate(void **state)
{
  (void)state;
  rate_t rate = {0};
  for (int i = 0; i < 8; i++)
    assert_true(rate_take_many(&rate, 8, 64, 16, 1000));
  assert_false(rate_take_many(&rate, 8, 64, 16, 1000));
  assert_false(rate_take(&rate, 64, 16, 1000)); /* one bucket for all */
  assert_false(rate_take_many(&rate, 8, 64, 16, 1499));
  assert_true(rate_take_many(&rate, 8, 64, 16, 1500));
  assert_false(rate_take(&rate, 64, 16, 1500));
}

static void on_kind(void *ctx, const repeat_t *kind)
{
  sum_t *s = ctx;
  s->kinds++;
  s->count += kind->count;
  s->last = *kind;
}

static void a_burst_is_written_singly_and_then_one_a_second(void **state)
{
  (void)state;
  repeats_t r = {0};
  uint64_t now = 1000;
  for (int i = 0; i < REPEATS_BURST; i++)
    assert_true(repeats_allow(&r, now));
  assert_false(repeats_allow(&r, now));
  assert_false(repeats_allow(&r, now + 999));
  assert_true(repeats_allow(&r, now + 1000));
  assert_false(repeats_allow(&r, now + 1000));
  unsigned written = 0;
  for (now = 2000; now < 3602000; now += 10)
    written += repeats_allow(&r, now);
  assert_in_range(written, 3599, 3601);
}

static void what_is_counted_is_told_by_kind_and_nothing_is_lost(void **state)
{
  (void)state;
  repeats_t r = {0};
  sum_t sum = {0};
  for (int i = 0; i < 1000; i++)
    repeats_count(&r, "channel-refused", "a.b", 80, REASON_NOT_GRANTED, 5000);
  assert_false(repeats_due(&r, 5000 + REPEATS_MS - 1));
  repeats_count(&r, "channel-refused", "a.b", 80, REASON_NOT_GRANTED,
                5000 + REPEATS_MS - 1); /* does not move it */
  assert_true(repeats_due(&r, 5000 + REPEATS_MS));
  repeats_flush(&r, on_kind, &sum);
  assert_true(sum.kinds == 1 && sum.count == 1001);
  assert_string_equal(sum.last.what, "a.b");
  assert_true(sum.last.port == 80 && sum.last.reason == REASON_NOT_GRANTED);
  assert_false(repeats_due(&r, UINT64_MAX));
  repeats_flush(&r, on_kind, &sum);
  assert_int_equal(sum.kinds, 1);
}

static void kinds_are_bounded_and_the_rest_is_one(void **state)
{
  (void)state;
  repeats_t r = {0};
  sum_t sum = {0};
  char what[32];
  for (int round = 0; round < 3; round++)
    for (int i = 0; i < 100; i++) {
      snprintf(what, sizeof what, "host%d", i);
      repeats_count(&r, "channel-refused", what, 80, REASON_NOT_GRANTED, 1);
    }
  repeats_flush(&r, on_kind, &sum);
  assert_int_equal(sum.kinds, REPEATS_KINDS + 1);
  assert_int_equal(sum.count, 300);
  assert_int_equal(sum.last.count, 300 - 3 * REPEATS_KINDS);
  assert_string_equal(sum.last.what, "");
  assert_true(sum.last.reason == REASON_NONE && sum.last.port == 0);
  sum = (sum_t){0};
  memset(&r, 0, sizeof r);
  for (int i = 0; i < REPEATS_KINDS; i++)
    repeats_count(&r, "refused", "x", (uint16_t)i, REASON_NOT_GRANTED, 1);
  repeats_flush(&r, on_kind, &sum);
  assert_int_equal(sum.kinds, REPEATS_KINDS);
  assert_string_equal(sum.last.what, "x");
}

static void long_text_is_cut_short(void **state)
{
  (void)state;
  repeats_t r = {0};
  sum_t sum = {0};
  char what[MSG_TEXT_MAX];
  memset(what, 'x', sizeof what);
  what[sizeof what - 1] = '\0';
  repeats_count(&r, "refused", what, 0, REASON_NOT_OFFERED, 1);
  repeats_flush(&r, on_kind, &sum);
  assert_int_equal(strlen(sum.last.what), MSG_HOST_MAX - 1);
}

static ip_t numbered(unsigned i)
{
  char text[32];
  ip_t ip;
  snprintf(text, sizeof text, "%u.%u.%u.1", 10 + (i >> 16), (i >> 8) & 255, i & 255); /* a network each */
  assert_int_equal(ip_parse(text, &ip), 0);
  return ip;
}

static void sources_have_budgets_of_their_own_and_are_bounded(void **state)
{
  (void)state;
  static repeats_table_t t;
  uint64_t now = 1000;
  for (unsigned i = 0; i < REPEATS_SOURCES; i++) {
    ip_t ip = numbered(i);
    repeats_t *r = repeats_of(&t, &ip, now);
    assert_ptr_not_equal(r, &t.others.repeats);
    assert_true(repeats_allow(r, now));
  }
  unsigned written = 0;
  for (unsigned i = REPEATS_SOURCES; i < 100000; i++) { /* however many come */
    ip_t ip = numbered(i);
    repeats_t *r = repeats_of(&t, &ip, now);
    assert_ptr_equal(r, &t.others.repeats);
    written += repeats_allow(r, now);
  }
  assert_int_equal(written, REPEATS_BURST);
  ip_t first = numbered(0), late = numbered(5000);
  assert_ptr_equal(repeats_of(&t, &first, now), &t.sources[0].repeats); /* who was here stays */
  repeats_count(&t.sources[0].repeats, "login-failed", "", 0, REASON_UNKNOWN_KEY, now);
  now += 1000; /* one record's worth later the places are free, but for the one with something to tell */
  assert_ptr_equal(repeats_of(&t, &late, now), &t.sources[1].repeats);
  assert_int_equal(t.sources[0].repeats.count, 1);
}

/* An attacker with a whole /48, or a /24, does not take the places of the others' sources. */
static void a_network_has_so_many_budgets_and_then_one_for_the_rest(void **state)
{
  (void)state;
  static const struct {
    const char *base;
    unsigned byte, count;
  } networks[] = {{"2001:db8:1::", 6, 65536}, {"198.51.100.0", 15, 256}};
  for (size_t k = 0; k < 2; k++) {
    static repeats_table_t t;
    memset(&t, 0, sizeof t);
    unsigned written = 0;
    for (unsigned i = 0; i < networks[k].count; i++) {
      ip_t ip;
      assert_int_equal(ip_parse(networks[k].base, &ip), 0);
      ip.b[networks[k].byte] = (uint8_t)(networks[k].count > 256 ? i >> 8 : i);
      if (networks[k].count > 256)
        ip.b[networks[k].byte + 1] = (uint8_t)i;
      for (unsigned n = 0; n < 2; n++)
        written += repeats_allow(repeats_of(&t, &ip, 1000), 1000);
    }
    size_t used = 0, of_networks = 0;
    for (size_t i = 0; i < REPEATS_SOURCES; i++) {
      used += t.sources[i].used;
      of_networks += t.sources[i].network;
    }
    assert_int_equal(used, REPEATS_OF_NETWORK + 1);
    assert_int_equal(of_networks, 1);
    assert_int_equal(written, 2 * REPEATS_OF_NETWORK + REPEATS_BURST);
    ip_t other = numbered(7);
    repeats_t *r = repeats_of(&t, &other, 1000);
    assert_ptr_not_equal(r, &t.others.repeats);
    assert_true(repeats_allow(r, 1000));
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_costs_more_takes_more_of_a_rate),
      cmocka_unit_test(a_burst_is_written_singly_and_then_one_a_second),
      cmocka_unit_test(what_is_counted_is_told_by_kind_and_nothing_is_lost),
      cmocka_unit_test(kinds_are_bounded_and_the_rest_is_one),
      cmocka_unit_test(long_text_is_cut_short),
      cmocka_unit_test(a_network_has_so_many_budgets_and_then_one_for_the_rest),
      cmocka_unit_test(sources_have_budgets_of_their_own_and_are_bounded),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
