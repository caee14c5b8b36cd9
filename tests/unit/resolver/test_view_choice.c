/* SPDX-License-Identifier: Apache-2.0 */
/* The view choice against a linear reference: exhaustively on a five-bit address space, at random on real
 * ones. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/error.h"
#include "resolver/view/networks.h"
#include "resolver/view/view_choice.h"

enum { BITS = 5, SPACE = 1 << BITS, NETS = 2 * SPACE - 1 };

/* Five bits at the end of 10.0.0.0/27, or of fc00::/123. */
static ip_t address(bool v4, unsigned low)
{
  ip_t ip;
  assert_int_equal(ip_parse(v4 ? "10.0.0.0" : "fc00::", &ip), 0);
  ip.b[15] = (uint8_t)low;
  return ip;
}

/* Network number n of all 63: 1 of length 0, 2 of length 1, ... 32 of length 5. */
static ip_net_t network(bool v4, unsigned n)
{
  unsigned len = 0;
  while (n >= (1u << len)) {
    n -= 1u << len;
    len++;
  }
  return (ip_net_t){address(v4, n << (BITS - len)), (uint8_t)(128 - BITS + len)};
}

/* What the definition says, network by network. */
static uint32_t reference(const network_t *nets, size_t count, const ip_t *ip)
{
  uint32_t value = NETWORKS_NONE;
  int best = -1;
  for (size_t i = 0; i < count; i++) {
    if (ip_net_contains(&nets[i].net, ip) && nets[i].net.prefix > best) {
      best = nets[i].net.prefix;
      value = nets[i].value;
    }
  }
  return value;
}

static bool tied(const network_t *nets, size_t count)
{
  for (size_t i = 0; i < count; i++)
    for (size_t j = 0; j < i; j++)
      if (nets[i].net.prefix == nets[j].net.prefix && ip_equal(&nets[i].net.base, &nets[j].net.base) &&
          nets[i].value != nets[j].value)
        return true;
  return false;
}

static void compare(const network_t *nets, size_t count, bool v4)
{
  networks_t *n;
  size_t a = SIZE_MAX;
  size_t b = SIZE_MAX;
  int err = networks_flatten(nets, count, &n, &a, &b);
  if (tied(nets, count)) {
    assert_int_equal(err, SMPL_EEXIST);
    assert_null(n);
    assert_true(a < count && b < count && nets[a].value != nets[b].value);
    assert_int_equal(nets[a].net.prefix, nets[b].net.prefix);
    assert_true(ip_equal(&nets[a].net.base, &nets[b].net.base));
    return;
  }
  assert_int_equal(err, 0);
  for (unsigned low = 0; low < SPACE; low++) {
    ip_t ip = address(v4, low);
    assert_int_equal(networks_find(n, &ip), reference(nets, count, &ip));
  }
  /* just outside the space */
  ip_t before = address(v4, 0);
  before.b[14] = 1;
  assert_int_equal(networks_find(n, &before), reference(nets, count, &before));
  networks_free(n);
}

static void all_triples_of_all_networks_choose_as_the_definition_says(void **state)
{
  (void)state;
  for (unsigned i = 0; i < NETS; i++) {
    for (unsigned j = i; j < NETS; j++) {
      for (unsigned k = j; k < NETS; k++) {
        network_t nets[3] = {{network(true, i), 0}, {network(true, j), 1}, {network(true, k), 2}};
        compare(nets, 3, true);
      }
    }
  }
}

static void networks_at_both_ends_of_ipv4_choose_as_the_definition_says(void **state)
{
  (void)state;
  static const char *const nets_text[] = {"0.0.0.0/0",  "0.0.0.0/1",          "0.0.0.0/31",
                                          "0.0.0.0/32", "128.0.0.0/1",        "255.255.255.254/31",
                                          "0.0.0.1/32", "255.255.255.255/32", "255.0.0.0/8"};
  static const char *const clients[] = {"0.0.0.0",   "0.0.0.1",   "0.0.0.2",         "127.255.255.255",
                                        "128.0.0.0", "254.9.9.9", "255.255.255.254", "255.255.255.255"};
  enum { COUNT = sizeof nets_text / sizeof *nets_text };
  for (size_t i = 0; i < COUNT * COUNT * COUNT; i++) {
    size_t of[3] = {i % COUNT, i / COUNT % COUNT, i / COUNT / COUNT};
    network_t nets[3];
    networks_t *n;
    for (uint32_t j = 0; j < 3; j++) {
      nets[j].value = j;
      assert_int_equal(ip_net_parse(nets_text[of[j]], &nets[j].net), 0);
    }
    if (tied(nets, 3))
      continue;
    assert_int_equal(networks_flatten(nets, 3, &n, NULL, NULL), 0);
    for (size_t j = 0; j < sizeof clients / sizeof *clients; j++) {
      ip_t ip;
      assert_int_equal(ip_parse(clients[j], &ip), 0);
      assert_int_equal(networks_find(n, &ip), reference(nets, 3, &ip));
    }
    networks_free(n);
  }
}

static void all_pairs_of_ipv6_networks_choose_as_the_definition_says(void **state)
{
  (void)state;
  for (unsigned i = 0; i < NETS; i++) {
    for (unsigned j = 0; j < NETS; j++) {
      for (uint32_t same = 0; same < 2; same++) {
        network_t nets[2] = {{network(false, i), 0}, {network(false, j), same ? 0 : 1}};
        compare(nets, 2, false);
      }
    }
  }
}

/* A small generator of our own, so that a failure comes again. */
static uint64_t next(uint64_t *seed)
{
  *seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
  return *seed >> 33;
}

static void random_sets_of_small_networks_choose_as_the_definition_says(void **state)
{
  (void)state;
  uint64_t seed = 1;
  for (unsigned round = 0; round < 20000; round++) {
    network_t nets[20];
    size_t count = next(&seed) % 20;
    for (size_t i = 0; i < count; i++)
      nets[i] = (network_t){network(true, (unsigned)(next(&seed) % NETS)), (uint32_t)(next(&seed) % 4)};
    compare(nets, count, true);
  }
}

static ip_t random_address(uint64_t *seed, bool v4)
{
  ip_t ip;
  assert_int_equal(ip_parse("0.0.0.0", &ip), 0);
  for (unsigned i = v4 ? 12 : 0; i < 16; i++)
    ip.b[i] = (uint8_t)next(seed);
  if (!v4)
    ip.b[0] = 0x20;
  return ip;
}

static ip_net_t random_network(uint64_t *seed, bool v4)
{
  char text[IP_NET_TEXT_MAX];
  char addr[IP_TEXT_MAX];
  ip_t ip = random_address(seed, v4);
  unsigned bits = v4 ? 32 : 128;
  unsigned prefix = (unsigned)(next(seed) % (bits + 1));
  for (unsigned bit = prefix; bit < bits; bit++)
    ip.b[16 - bits / 8 + bit / 8] &= (uint8_t) ~(0x80u >> bit % 8);
  ip_net_t net;
  snprintf(text, sizeof text, "%s/%u", ip_format(&ip, addr), prefix);
  if (ip_net_parse(text, &net))
    fail_msg("%s", text);
  return net;
}

static void real_addresses_choose_as_the_definition_says(void **state)
{
  (void)state;
  uint64_t seed = 7;
  for (unsigned round = 0; round < 300; round++) {
    network_t nets[60];
    for (size_t i = 0; i < 60; i++)
      nets[i] = (network_t){random_network(&seed, i % 2 == 0), (uint32_t)i};
    networks_t *n;
    int err = networks_flatten(nets, 60, &n, NULL, NULL);
    assert_int_equal(err, tied(nets, 60) ? SMPL_EEXIST : 0);
    if (err)
      continue;
    for (size_t i = 0; i < 60; i++) {
      /* the ends of each network, and one address before */
      ip_t first = nets[i].net.base;
      ip_t last = first;
      for (unsigned bit = nets[i].net.prefix; bit < 128; bit++)
        last.b[bit / 8] |= (uint8_t)(0x80u >> bit % 8);
      ip_t before = first;
      for (int b = 15; b >= 0 && before.b[b]-- == 0; b--)
        ;
      ip_t any = random_address(&seed, i % 2 == 0);
      const ip_t tries[] = {first, last, before, any};
      for (size_t t = 0; t < 4; t++)
        assert_int_equal(networks_find(n, &tries[t]), reference(nets, 60, &tries[t]));
    }
    networks_free(n);
  }
}

static void ipv6_default_does_not_hold_ipv4(void **state)
{
  (void)state;
  network_t nets[1];
  nets[0].value = 5;
  assert_int_equal(ip_net_parse("::/0", &nets[0].net), 0);
  networks_t *n;
  assert_int_equal(networks_flatten(nets, 1, &n, NULL, NULL), 0);
  ip_t ip;
  assert_int_equal(ip_parse("192.0.2.1", &ip), 0);
  assert_int_equal(networks_find(n, &ip), NETWORKS_NONE);
  assert_int_equal(ip_parse("2001:db8::1", &ip), 0);
  assert_int_equal(networks_find(n, &ip), 5);
  assert_int_equal(ip_parse("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", &ip), 0);
  assert_int_equal(networks_find(n, &ip), 5);
  networks_free(n);
}

static void v4_mapped_peer_is_the_ipv4_client(void **state)
{
  (void)state;
  network_t nets[1];
  nets[0].value = 3;
  assert_int_equal(ip_net_parse("10.0.0.0/8", &nets[0].net), 0);
  networks_t *n;
  assert_int_equal(networks_flatten(nets, 1, &n, NULL, NULL), 0);
  ip_t ip;
  assert_int_equal(ip_parse("::ffff:10.1.2.3", &ip), 0);
  assert_int_equal(networks_find(n, &ip), 3);
  networks_free(n);
}

static void nothing_configured_is_no_view(void **state)
{
  (void)state;
  networks_t *n;
  assert_int_equal(networks_flatten(NULL, 0, &n, NULL, NULL), 0);
  ip_t ip;
  assert_int_equal(ip_parse("10.0.0.1", &ip), 0);
  assert_int_equal(networks_find(n, &ip), NETWORKS_NONE);
  networks_free(n);
}

static void binary_search_agrees_with_a_linear_one_on_every_small_table(void **state)
{
  (void)state;
  /* every set of starts out of 1..12 beside 0, every key */
  for (unsigned set = 0; set < 1u << 12; set++) {
    view_key_t starts[13] = {{0, 0}};
    size_t count = 1;
    for (unsigned i = 0; i < 12; i++)
      if (set >> i & 1)
        starts[count++] = (view_key_t){(i + 1) / 8, (i + 1) % 8};
    for (unsigned key = 0; key < 16; key++) {
      view_key_t k = {key / 8, key % 8};
      size_t want = 0;
      for (size_t i = 0; i < count; i++)
        if (starts[i].hi * 8 + starts[i].lo <= key)
          want = i;
      assert_int_equal(view_choice_find(starts, count, k), want);
    }
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(binary_search_agrees_with_a_linear_one_on_every_small_table),
      cmocka_unit_test(all_triples_of_all_networks_choose_as_the_definition_says),
      cmocka_unit_test(networks_at_both_ends_of_ipv4_choose_as_the_definition_says),
      cmocka_unit_test(all_pairs_of_ipv6_networks_choose_as_the_definition_says),
      cmocka_unit_test(random_sets_of_small_networks_choose_as_the_definition_says),
      cmocka_unit_test(real_addresses_choose_as_the_definition_says),
      cmocka_unit_test(ipv6_default_does_not_hold_ipv4),
      cmocka_unit_test(v4_mapped_peer_is_the_ipv4_client),
      cmocka_unit_test(nothing_configured_is_no_view),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
