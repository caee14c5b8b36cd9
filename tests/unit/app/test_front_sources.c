/* SPDX-License-Identifier: Apache-2.0 */
/* app/http/room.h, app/http/forwarded.h: whose connection gives way, decided on seats made by hand; and how a
 * balancer says whose request it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "app/http/forwarded.h"
#include "app/http/room.h"
#include "common/base/error.h"

enum { PLACES = 64, HANDSHAKES = 32, SOURCE_HANDSHAKES = 8, SEATS_MAX = 256 };

enum { BYTES = 100 };
static const size_t bounds_of_bytes[ROOM_KINDS] = {BYTES, BYTES, BYTES};
static room_t *room;
static room_places_t places;
static phases_t phases;
static seat_t *seats[SEATS_MAX];
static size_t count;

static int set_up(void **state)
{
  static const room_bounds_t bounds = {.connections = PLACES,
                                       .handshakes = HANDSHAKES,
                                       .source_handshakes = SOURCE_HANDSHAKES};
  (void)state;
  count = 0;
  phases = (phases_t){0};
  room = room_new(bounds_of_bytes);
  return room != NULL ? room_open_places(&places, &bounds, &phases) : -1;
}

static int tear_down(void **state)
{
  (void)state;
  for (size_t i = 0; i < count; i++) {
    room_leave(seats[i]);
    free(seats[i]);
  }
  size_t shaking = places.shaking;
  room_close_places(&places);
  room_free(room);
  return shaking == 0 ? 0 : -1;
}

/* A connection from there in that phase, younger than all before it. */
static seat_t *arrive(const char *from, phase_t phase)
{
  seat_t *seat = calloc(1, sizeof *seat);
  assert_non_null(seat);
  assert_in_range(count, 0, SEATS_MAX - 1);
  seat->room = room;
  seat->places = &places;
  seat->wait.phase = phase;
  seat->balancer = strcmp(from, "127.10.0.7") == 0;
  assert_int_equal(ip_parse(from, &seat->peer), SMPL_OK);
  phase_begin(&phases, &seat->wait);
  assert_int_equal(room_enter(seat), SMPL_OK);
  return seats[count++] = seat;
}

/* The same with TLS, after an older handshake has been given up if there are too many. NULL: none was. */
static seat_t *shake(const char *from)
{
  seat_t *seat = arrive(from, PHASE_HANDSHAKE);
  seat_t *victim = room_handshake_victim(seat);
  if (victim != NULL)
    room_end_handshake(victim);
  assert_int_equal(room_begin_handshake(seat), SMPL_OK);
  assert_in_range(places.shaking, 1, HANDSHAKES);
  return victim;
}

static const char *spread(const char *format, unsigned i)
{
  static char text[64];
  snprintf(text, sizeof text, format, i);
  return text;
}

static void the_oldest_handshake_of_a_source_gives_way_to_its_newest(void **state)
{
  (void)state;
  for (unsigned i = 0; i < SOURCE_HANDSHAKES; i++)
    assert_null(shake(spread("2001:db8::%x", i + 1))); /* one /64 */
  seat_t *first = seats[0];
  assert_ptr_equal(shake("2001:db8::ffff"), first);
  assert_null(shake("2001:db8:0:1::1"));
}

static void whoever_spreads_handshakes_over_his_networks_gives_way_to_others(void **state)
{
  (void)state;
  for (unsigned i = 0; i < 3; i++)
    assert_null(shake("2001:db8:ff::1")); /* somebody who has more than any /64 of the attacker's */
  for (unsigned i = 0; i < HANDSHAKES - 3; i++)
    assert_null(shake(spread("2001:db8:1:%x::1", i)));
  for (unsigned i = 0; i < HANDSHAKES; i++) {
    seat_t *victim = shake(spread("2001:db8:1:%x::2", i));
    assert_non_null(victim);
    assert_int_equal(victim->peer.b[5], 1); /* in his own /48 */
  }
  seat_t *victim = shake("198.51.100.1");
  assert_int_equal(victim->peer.b[5], 1);
  assert_true(seats[0]->shaking && seats[1]->shaking && seats[2]->shaking);
}

static void handshakes_of_one_ipv4_network_count_together(void **state)
{
  (void)state;
  for (unsigned i = 0; i < 3; i++)
    assert_null(shake("192.0.2.9"));
  for (unsigned i = 0; i < HANDSHAKES - 3; i++)
    assert_null(shake(spread("198.51.100.%u", i)));
  assert_int_equal(shake("203.0.113.1")->peer.b[12], 198);
}

static void balancers_have_as_many_handshakes_as_there_are_and_give_way_last(void **state)
{
  (void)state;
  for (unsigned i = 0; i < HANDSHAKES - 1; i++)
    assert_null(shake("127.10.0.7"));
  assert_null(shake("192.0.2.1"));
  assert_ptr_equal(shake("192.0.2.2"), seats[HANDSHAKES - 1]);
  assert_ptr_equal(shake("127.10.0.7"), seats[HANDSHAKES]);
  assert_ptr_equal(shake("127.10.0.7"), seats[0]);
}

static void a_network_with_more_than_its_share_of_places_gives_way_before_anybody_idle(void **state)
{
  (void)state;
  seat_t *idle = arrive("192.0.2.1", PHASE_IDLE);
  seat_t *first = arrive("2001:db8:1:0::1", PHASE_HEAD);
  for (unsigned i = 1; i <= PLACES / ROOM_SHARE; i++)
    arrive(spread("2001:db8:1:%x::1", i), PHASE_HEAD);
  seat_t *newcomer = arrive("198.51.100.1", PHASE_IDLE);
  seat_t *victim = room_place_victim(newcomer);
  assert_non_null(victim);
  assert_int_equal(victim->peer.b[5], 1);
  room_leave(first); /* no more than its share now: the longest idle goes, as among equals */
  assert_ptr_equal(room_place_victim(newcomer), idle);
}

static void however_many_modest_ones_came_before_the_heaviest_is_found(void **state)
{
  (void)state;
  for (unsigned i = 0; i < ROOM_LOOK + 10; i++)
    arrive(spread("198.51.%u.1", i), PHASE_HEAD);
  for (unsigned i = 0; i < PLACES / ROOM_SHARE + 1; i++)
    arrive("192.0.2.1", PHASE_HEAD);
  seat_t *newcomer = arrive("203.0.113.1", PHASE_IDLE);
  assert_ptr_equal(room_place_victim(newcomer), seats[ROOM_LOOK + 10]);
  seat_t *own = arrive("192.0.2.1", PHASE_IDLE);
  assert_ptr_equal(room_place_victim(own), seats[ROOM_LOOK + 10]);
}

static void who_does_not_take_answers_gives_way_too(void **state)
{
  (void)state;
  for (unsigned i = 0; i < PLACES; i++)
    arrive("192.0.2.1", PHASE_WRITE);
  assert_ptr_equal(room_place_victim(arrive("203.0.113.1", PHASE_IDLE)), seats[0]);
}

static void a_balancers_connection_is_its_clients_while_it_carries_a_request(void **state)
{
  ip_t attacker, victim;
  (void)state;
  ip_parse("198.51.100.1", &attacker);
  ip_parse("203.0.113.1", &victim);
  for (unsigned i = 0; i < PLACES; i++) {
    seat_t *seat = arrive("127.10.0.7", PHASE_BODY);
    if (i < PLACES / 2)
      assert_int_equal(room_serve(seat, i % 8 == 0 ? &victim : &attacker), SMPL_OK);
  }
  seat_t *newcomer = arrive("127.10.0.7", PHASE_IDLE);
  assert_ptr_equal(room_place_victim(newcomer), seats[1]);
  for (unsigned i = 0; i < PLACES / 2; i++)
    room_served(seats[i]);
  assert_null(room_place_victim(newcomer)); /* nothing idle, and heads that are coming are the balancer's */
  seat_t *idle = arrive("127.10.0.7", PHASE_IDLE);
  assert_ptr_equal(room_place_victim(newcomer), idle);
}

static void whoever_holds_most_is_named_and_nobody_is_ended(void **state)
{
  (void)state;
  seat_t *most = arrive("192.0.2.1", PHASE_HEAD), *modest = arrive("198.51.100.1", PHASE_HEAD), *victim;
  assert_int_equal(room_take(most, ROOM_HEADS, BYTES - 30, &victim), SMPL_OK);
  assert_int_equal(room_take(modest, ROOM_HEADS, 30, &victim), SMPL_OK);
  assert_int_equal(room_take(modest, ROOM_HEADS, 1, &victim), SMPL_EBUSY);
  assert_ptr_equal(victim, most);
  assert_int_equal(room_held(room, ROOM_HEADS), BYTES); /* nothing is counted */
  room_give_back(most, ROOM_HEADS);
  assert_int_equal(room_hold(modest, ROOM_HEADS, BYTES, &victim), SMPL_OK);
  assert_int_equal(room_hold(modest, ROOM_HEADS, BYTES + 1, &victim), SMPL_ELIMIT); /* he has most himself */
  assert_null(victim);
  assert_int_equal(room_held(room, ROOM_HEADS), BYTES);
  assert_int_equal(room_hold(modest, ROOM_HEADS, BYTES / 2, &victim), SMPL_OK);
  assert_false(room_is_crowded(room, ROOM_HEADS));
  assert_int_equal(room_take(modest, ROOM_HEADS, 1, &victim), SMPL_OK);
  assert_true(room_is_crowded(room, ROOM_HEADS));
}

/* Whose handler has the body does not give it back: it is not his connection's any more. */
static void a_body_gives_way_only_while_it_is_coming(void **state)
{
  (void)state;
  seat_t *most = arrive("192.0.2.1", PHASE_HANDLER), *modest = arrive("198.51.100.1", PHASE_BODY), *victim;
  assert_int_equal(room_take(most, ROOM_BODIES, BYTES, &victim), SMPL_OK);
  assert_int_equal(room_take(modest, ROOM_BODIES, 1, &victim), SMPL_ELIMIT);
  phase_enter(&phases, &most->wait, PHASE_PARSE, 0, 0);
  assert_int_equal(room_take(modest, ROOM_BODIES, 1, &victim), SMPL_EBUSY);
  assert_ptr_equal(victim, most);
}

/* The source that a head names; the error as a word. */
static const char *named(const char *headers)
{
  static char text[IP_TEXT_MAX];
  static gate_head_t head;
  char bytes[1024];
  ip_t ip;
  int len = snprintf(bytes, sizeof bytes, "GET /api/v1/x HTTP/1.1\r\nHost: h\r\n%s\r\n", headers);
  assert_int_equal(gate_head((const uint8_t *)bytes, (size_t)len, &head), GATE_ADMIT);
  int err = forwarded_source((const uint8_t *)bytes, &head, &ip);
  return err == SMPL_ENOENT ? "missing" : err ? "malformed" : ip_format(&ip, text);
}

static void a_balancer_names_the_source_in_the_last_element_of_the_last_header(void **state)
{
  static const struct {
    const char *headers, *source;
  } cases[] = {
      {"X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1"},
      {"x-forwarded-FOR:192.0.2.1\r\n", "192.0.2.1"},
      {"X-Forwarded-For: 10.0.0.1, 192.0.2.1\r\n", "192.0.2.1"},
      {"X-Forwarded-For: 10.0.0.1,\t 192.0.2.1 \r\n", "192.0.2.1"},
      {"X-Forwarded-For: unknown, <script>,2001:db8::1\r\n", "2001:db8::1"},
      {"X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1"},
      {"X-Forwarded-For: ::ffff:192.0.2.1\r\n", "192.0.2.1"},
      {"", "missing"},
      {"X-Forwarded-Fo: 192.0.2.1\r\nX-Forwarded-For2: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\n", "missing"},
      {"X-Forwarded-For:\r\n", "malformed"},
      {"X-Forwarded-For: 192.0.2.1,\r\n", "malformed"},
      {"X-Forwarded-For: 192.0.2.1:8080\r\n", "malformed"},
      {"X-Forwarded-For: [2001:db8::1]\r\n", "malformed"},
      {"X-Forwarded-For: fe80::1%eth0\r\n", "malformed"},
      {"X-Forwarded-For: 192.0.2.01\r\n", "malformed"},
      {"X-Forwarded-For: 192.0.2.1 192.0.2.2\r\n", "malformed"},
      {"X-Forwarded-For: 192.0.2\r\n", "malformed"},
      {"X-Forwarded-For: unknown\r\n", "malformed"},
      {"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: localhost\r\n", "malformed"},
      {"X-Forwarded-For: 1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc\r\n", "malformed"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_string_equal(named(cases[i].headers), cases[i].source);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(the_oldest_handshake_of_a_source_gives_way_to_its_newest),
      TEST(whoever_spreads_handshakes_over_his_networks_gives_way_to_others),
      TEST(handshakes_of_one_ipv4_network_count_together),
      TEST(balancers_have_as_many_handshakes_as_there_are_and_give_way_last),
      TEST(a_network_with_more_than_its_share_of_places_gives_way_before_anybody_idle),
      TEST(however_many_modest_ones_came_before_the_heaviest_is_found),
      TEST(who_does_not_take_answers_gives_way_too),
      TEST(a_balancers_connection_is_its_clients_while_it_carries_a_request),
      TEST(whoever_holds_most_is_named_and_nobody_is_ended),
      TEST(a_body_gives_way_only_while_it_is_coming),
      cmocka_unit_test(a_balancer_names_the_source_in_the_last_element_of_the_last_header),
  };
  return cmocka_run_group_tests_name("front sources", tests, NULL, NULL);
}
