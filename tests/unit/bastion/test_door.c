/* SPDX-License-Identifier: Apache-2.0 */
/* Who has to go when one more connection comes: every rule at its limit, and counted floods of silent
 * connections. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "bastion/session/door.h"

enum { SURE = 0, NEVER = 99, HALL = 2048 };

typedef struct hall {
  limits_conf_t limits;
  door_t *door;
  door_place_t waiting[HALL]; /* by number */
  size_t signed_in;
  unsigned numbers;
  size_t gave_way[DOOR_RULES], refused[DOOR_RULES];
} hall_t;

static hall_t *hall(startups_t startups, uint64_t per_source, uint64_t connections)
{
  hall_t *h = calloc(1, sizeof *h);
  assert_non_null(h);
  h->limits =
      (limits_conf_t){.startups = startups, .startups_per_source = per_source, .connections = connections};
  h->door = door_new();
  assert_non_null(h->door);
  return h;
}

static void leave(hall_t *h, unsigned number)
{
  door_leave(h->door, &h->waiting[number]);
}

static void close_hall(hall_t *h)
{
  for (unsigned i = 0; i < HALL; i++)
    leave(h, i);
  assert_int_equal(door_count(h->door), 0);
  door_free(h->door);
  free(h);
}

static ip_t ip(const char *text)
{
  ip_t out;
  if (ip_parse(text, &out))
    fail_msg("%s", text);
  return out;
}

static bool is_here(const hall_t *h, unsigned number)
{
  return h->waiting[number].here;
}

/* The newcomer's number, 0 if it was refused. */
static unsigned come(hall_t *h, ip_t from, bool known, unsigned random)
{
  unsigned number = ++h->numbers;
  door_verdict_t v;
  assert_true(number < HALL);
  assert_int_equal(door_enter(h->door, &h->waiting[number], &from, known, &h->limits, h->signed_in, random,
                              &v),
                   0);
  if (v.victim == NULL)
    return number;
  bool own = v.victim == &h->waiting[number];
  (own ? h->refused : h->gave_way)[v.rule]++;
  door_leave(h->door, v.victim);
  return own ? 0 : number;
}

static size_t refused(const hall_t *h)
{
  size_t n = 0;
  for (size_t i = 0; i < DOOR_RULES; i++)
    n += h->refused[i];
  return n;
}

static void a_source_has_so_many_places_and_its_oldest_goes(void **state)
{
  (void)state;
  hall_t *h = hall((startups_t){100, 30, 100}, 3, 512);
  for (int i = 0; i < 3; i++)
    assert_int_equal(come(h, ip("192.0.2.1"), false, NEVER), i + 1);
  assert_int_equal(come(h, ip("192.0.2.2"), false, NEVER), 4); /* another source */
  assert_int_equal(door_count(h->door), 4);
  assert_int_equal(come(h, ip("192.0.2.1"), false, NEVER), 5);
  assert_false(is_here(h, 1));
  assert_int_equal(door_count(h->door), 4);
  assert_int_equal(h->gave_way[DOOR_SOURCE], 1);
  close_hall(h);
  h = hall((startups_t){100, 30, 100}, 3, 512);
  for (int i = 0; i < 5; i++)
    assert_true(come(h, ip(i % 2 ? "2001:db8::1" : "2001:db8::2:0:0:2"), false, NEVER) > 0);
  assert_int_equal(door_count(h->door), 3); /* a /64 is one */
  assert_int_equal(h->gave_way[DOOR_SOURCE], 2);
  close_hall(h);
}

static void from_begin_on_who_has_more_than_one_goes_early_and_at_full_always_somebody(void **state)
{
  (void)state;
  hall_t *h = hall((startups_t){3, 30, 5}, 10, 512);
  come(h, ip("192.0.2.1"), false, SURE);
  come(h, ip("198.51.100.1"), false, SURE);
  come(h, ip("203.0.113.1"), false, SURE);
  assert_int_equal(come(h, ip("10.0.0.1"), false, SURE), 4); /* struck, but each has one */
  assert_int_equal(door_count(h->door), 4);
  assert_int_equal(come(h, ip("192.0.2.9"), false, 30 + 35),
                   5); /* 65 % of them strike now: this one does not */
  assert_int_equal(door_count(h->door), 5);
  assert_int_equal(come(h, ip("172.16.0.1"), false, NEVER),
                   6); /* full: the two of 192.0.2.0/24, the older one */
  assert_int_equal(door_count(h->door), 5);
  assert_false(is_here(h, 1));
  assert_int_equal(h->gave_way[DOOR_STARTUPS], 1);
  close_hall(h);
  h = hall((startups_t){3, 30, 5}, 10, 512);
  for (int i = 0; i < 3; i++)
    come(h, ip("192.0.2.1"), false, SURE);
  assert_int_equal(come(h, ip("10.0.0.1"), false, 29), 4); /* struck: early */
  assert_false(is_here(h, 1));
  assert_int_equal(come(h, ip("10.0.0.2"), false, 30), 5); /* not struck */
  assert_int_equal(door_count(h->door), 4);
  close_hall(h);
}

static void who_signed_in_is_nobodys_to_close_and_all_of_them_are_full(void **state)
{
  (void)state;
  hall_t *h = hall((startups_t){10, 30, 10}, 10, 10);
  h->signed_in = 8;
  come(h, ip("192.0.2.1"), false, NEVER);
  come(h, ip("192.0.2.1"), false, NEVER);
  assert_int_equal(come(h, ip("10.0.0.1"), false, NEVER), 3);
  assert_int_equal(h->gave_way[DOOR_CONNECTIONS], 1);
  assert_int_equal(door_count(h->door), 2);
  close_hall(h);
  h = hall((startups_t){10, 30, 10}, 10, 10);
  h->signed_in = 10;
  assert_int_equal(come(h, ip("10.0.0.1"), true, NEVER), 0);
  assert_int_equal(h->refused[DOOR_CONNECTIONS], 1);
  close_hall(h);
}

static void a_known_source_keeps_a_place_while_strangers_are_turned_away(void **state)
{
  (void)state;
  hall_t *h = hall((startups_t){2, 100, 2}, 10, 512);
  come(h, ip("192.0.2.1"), true, NEVER);
  come(h, ip("198.51.100.1"), true, NEVER);
  assert_int_equal(come(h, ip("10.0.0.1"), false, NEVER), 0);
  assert_int_equal(h->refused[DOOR_STARTUPS], 1);
  assert_int_equal(come(h, ip("203.0.113.1"), true, NEVER), 4);
  assert_int_equal(door_count(h->door), 2);
  close_hall(h);
}

/* ---- a naive reference: every order of a few newcomers of a small universe ---- */

enum { FEW = 5 };

typedef struct naive {
  ip_t ip;
  bool here, kept;
  unsigned counts_from; /* when it began to count: of equals the network that has counted for longest */
} naive_t;

static bool within(const ip_t *a, const ip_t *b, size_t level)
{
  static const size_t v6[] = {6, 7, 8, 16}, v4[] = {15, 16, 16, 16};
  return ip_is_v4(a) == ip_is_v4(b) && memcmp(a->b, b->b, ip_is_v4(a) ? v4[level] : v6[level]) == 0;
}

/* Who has to go, once `count` are there and one of them must. */
static unsigned naive_choice(const naive_t *p, unsigned count)
{
  bool candidate[FEW], any = false;
  for (unsigned i = 0; i < count; i++)
    any |= candidate[i] = p[i].here && !p[i].kept;
  for (unsigned i = 0; !any && i < count; i++)
    if (p[i].here)
      return i;
  for (size_t level = 0; level < 4; level++) {
    unsigned best = count, most = 0, since = 0;
    for (unsigned i = 0; i < count; i++) {
      unsigned n = 0, first = UINT32_MAX;
      for (unsigned k = 0; candidate[i] && k < count; k++)
        if (candidate[k] && within(&p[i].ip, &p[k].ip, level)) {
          n++;
          first = p[k].counts_from < first ? p[k].counts_from : first;
        }
      if (n > most || (n == most && n > 0 && first < since)) {
        best = i;
        most = n;
        since = first;
      }
    }
    for (unsigned i = 0; i < count; i++)
      candidate[i] = candidate[i] && within(&p[best].ip, &p[i].ip, level);
  }
  unsigned found = count;
  for (unsigned i = 0; i < count; i++)
    if (candidate[i] && (found == count || p[i].counts_from < p[found].counts_from))
      found = i;
  return found;
}

static void naive_come(naive_t *p, unsigned i, const ip_t *from, bool known)
{
  p[i] = (naive_t){*from, true, known, i};
  for (unsigned k = i; k-- > 0;) {
    if (!p[k].here || !within(&p[k].ip, from, 2))
      continue;
    if (p[k].kept) {
      p[k].kept = false;
      p[k].counts_from = i;
      p[i].kept = true;
    }
    break; /* the newest before it */
  }
}

static void every_order_of_newcomers_is_judged_as_by_the_reference(void **state)
{
  (void)state;
  static const char *const universe[] = {"2001:db8::1",       "2001:db8::2", "2001:db8:0:1::1",
                                         "2001:db8:0:100::1", "192.0.2.1",   "2001:db8:1::1",
                                         "192.0.2.2",         "198.51.100.1"};
  const limits_conf_t one_too_many = {.startups = {FEW - 1, 100, FEW - 1},
                                      .startups_per_source = FEW,
                                      .connections = 512};
  door_t *door = door_new();
  size_t cases = 0;
  ip_t all[8];
  for (size_t i = 0; i < 8; i++)
    all[i] = ip(universe[i]);
  for (unsigned set = 0; set < 1u << 3 * FEW; set++) /* three bits each: from where */
    for (unsigned known = 0; known < 1u << FEW;
         known++) { /* and whether somebody signed in from there lately */
      door_place_t places[FEW] = {0};
      naive_t naive[FEW] = {0};
      door_verdict_t v = {.rule = DOOR_OPEN};
      for (unsigned i = 0; i < FEW; i++) {
        const ip_t *from = &all[set >> 3 * i & 7];
        assert_null(v.victim);
        assert_int_equal(door_enter(door, &places[i], from, (known >> i & 1) != 0, &one_too_many, 0, 0, &v),
                         0);
        naive_come(naive, i, from, (known >> i & 1) != 0);
      }
      unsigned want = naive_choice(naive, FEW);
      if (v.victim != &places[want])
        fail_msg("set %u, known %u: %td, not %u", set, known, v.victim - places, want);
      for (unsigned i = 0; i < FEW; i++)
        door_leave(door, &places[i]);
      cases++;
    }
  door_free(door);
  assert_int_equal(cases, 1u << (3 * FEW + FEW));
}

/* ---- what the default limits make of floods ---- */

static const startups_t startups = {10, 30, 100};

static ip_t one_address(unsigned i)
{
  (void)i;
  return ip("192.0.2.1");
}

static ip_t ten_addresses(unsigned i)
{
  ip_t a = ip("192.0.2.1");
  a.b[14] = (uint8_t)(i % 10);
  return a;
}

static ip_t ten_of_one_network(unsigned i)
{
  ip_t a = ip("192.0.2.1");
  a.b[15] = (uint8_t)(i % 10);
  return a;
}

static ip_t ten_of_ipv6(unsigned i)
{
  ip_t a = ip("2001:db8::1");
  a.b[5] = (uint8_t)(i % 10);
  a.b[7] = (uint8_t)i;
  a.b[15] = (uint8_t)(i >> 3);
  return a;
}

/* Holds ten silent connections from each of the attacker's addresses; then 200 developers come, each from
 * another network, and between each one's coming and his login four of the attacker's more. How many of them
 * were closed, at once or before they had signed in, whatever the dice say. */
static unsigned lost_against(ip_t (*attacker)(unsigned), unsigned silent)
{
  hall_t *h = hall(startups, CONFIG_STARTUPS_PER_SOURCE, 512);
  unsigned next = 0, lost = 0;
  srand(7);
  for (unsigned i = 0; i < silent; i++)
    assert_true(come(h, attacker(next++), false, (unsigned)rand() % 100) > 0);
  for (unsigned i = 0; i < 200; i++) {
    ip_t from = ip("203.0.113.5");
    from.b[13] = (uint8_t)i;
    unsigned number = come(h, from, false, (unsigned)rand() % 100);
    for (unsigned k = 0; k < 4; k++)
      come(h, attacker(next++), false, (unsigned)rand() % 100);
    lost += number == 0 || !is_here(h, number);
    leave(h, number); /* signed in */
  }
  assert_int_equal(refused(h), 0);
  close_hall(h);
  return lost;
}

static void ten_silent_connections_of_one_address_and_of_ten_turn_nobody_away(void **state)
{
  (void)state;
  assert_int_equal(lost_against(one_address, 10), 0);
  assert_int_equal(lost_against(ten_addresses, 100), 0);
  assert_int_equal(lost_against(ten_of_one_network, 100), 0);
  assert_int_equal(lost_against(ten_of_ipv6, 100), 0);
}

static ip_t a_thousand_networks(unsigned i)
{
  ip_t a = ip("2001:db8::1");
  a.b[4] = (uint8_t)(i % 1000 >> 8);
  a.b[5] = (uint8_t)(i % 1000);
  return a;
}

/* However many networks the attacker has: as many of his as there are places have to come after a login
 * before it gives way. */
static void a_flood_of_many_networks_gives_a_login_the_time_of_a_hall_full(void **state)
{
  (void)state;
  hall_t *h = hall(startups, CONFIG_STARTUPS_PER_SOURCE, 512);
  unsigned next = 0, more = 0;
  while (next < 300)
    come(h, a_thousand_networks(next++), false, NEVER);
  unsigned number = come(h, ip("203.0.113.5"), false, NEVER);
  assert_true(number > 0);
  for (; is_here(h, number); more++)
    come(h, a_thousand_networks(next++), false, SURE);
  assert_int_equal(more, startups.full);
  close_hall(h);
}

static void a_place_that_was_kept_is_kept_by_the_next_newest(void **state)
{
  (void)state;
  hall_t *h = hall((startups_t){3, 100, 3}, 10, 512);
  ip_t a = ip("192.0.2.1");
  come(h, a, false, NEVER);
  come(h, a, false, NEVER);
  door_keep(h->door, &a); /* signed in meanwhile */
  assert_false(h->waiting[1].kept);
  assert_true(h->waiting[2].kept);
  come(h, a, false, NEVER); /* now it is this one */
  assert_false(h->waiting[2].kept);
  leave(h, 3);
  assert_true(h->waiting[2].kept);
  leave(h, 2);
  assert_true(h->waiting[1].kept);
  leave(h, 1);
  come(h, a, false, NEVER);
  assert_false(h->waiting[4].kept); /* none was left to keep it */
  close_hall(h);
}

/* Fifty developers of one office sign in at once, after the bastion was started anew. */
static void an_office_that_comes_at_once_gets_in_in_turns(void **state)
{
  (void)state;
  hall_t *h = hall(startups, CONFIG_STARTUPS_PER_SOURCE, 512);
  for (unsigned i = 0; i < 50; i++)
    assert_true(come(h, ip("203.0.113.5"), true, (unsigned)rand() % 100) > 0);
  assert_int_equal(refused(h), 0);
  assert_true(door_count(h->door) >= CONFIG_STARTUPS_PER_SOURCE - 1);
  close_hall(h);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_source_has_so_many_places_and_its_oldest_goes),
      cmocka_unit_test(from_begin_on_who_has_more_than_one_goes_early_and_at_full_always_somebody),
      cmocka_unit_test(who_signed_in_is_nobodys_to_close_and_all_of_them_are_full),
      cmocka_unit_test(a_known_source_keeps_a_place_while_strangers_are_turned_away),
      cmocka_unit_test(every_order_of_newcomers_is_judged_as_by_the_reference),
      cmocka_unit_test(a_flood_of_many_networks_gives_a_login_the_time_of_a_hall_full),
      cmocka_unit_test(a_place_that_was_kept_is_kept_by_the_next_newest),
      cmocka_unit_test(ten_silent_connections_of_one_address_and_of_ten_turn_nobody_away),
      cmocka_unit_test(an_office_that_comes_at_once_gets_in_in_turns),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
