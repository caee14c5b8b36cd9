/* SPDX-License-Identifier: Apache-2.0 */
/* app/http/conn.h, app/http/forwarded.h: whose connection gives way, decided on connections made by hand; and
 * how a balancer says whose request it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "app/http/conn.h"
#include "app/http/forwarded.h"
#include "common/base/error.h"

enum { PLACES = 64, HANDSHAKES = 32, SOURCE_HANDSHAKES = 8, CONNS_MAX = 256 };

static front_t front;
static listener_t listener;
static conn_t *conns[CONNS_MAX];
static size_t count;

static int set_up(void **state)
{
  (void)state;
  count = 0;
  listener = (listener_t){.front = &front};
  front.limits = (front_limits_t){.connections = PLACES,
                                  .handshakes = HANDSHAKES,
                                  .source_handshakes = SOURCE_HANDSHAKES};
  front.room = room_new();
  return front.room != NULL ? room_open_places(&listener.places) : -1;
}

static int tear_down(void **state)
{
  (void)state;
  for (size_t i = 0; i < count; i++) {
    room_leave(conns[i]);
    free(conns[i]);
  }
  room_close_places(&listener.places);
  room_free(front.room);
  return listener.handshakes == 0 ? 0 : -1;
}

/* A connection from there in that phase, younger than all before it. */
static conn_t *arrive(const char *from, phase_t phase)
{
  conn_t *c = calloc(1, sizeof *c);
  assert_non_null(c);
  assert_in_range(count, 0, CONNS_MAX - 1);
  c->listener = &listener;
  c->phase = phase;
  c->balancer = strcmp(from, "127.10.0.7") == 0;
  assert_int_equal(ip_parse(from, &c->peer.ip), SMPL_OK);
  conn_list_t *list = &listener.lists[phase];
  c->previous = list->last;
  *(list->last != NULL ? &list->last->next : &list->first) = c;
  list->last = c;
  assert_int_equal(room_enter(c), SMPL_OK);
  return conns[count++] = c;
}

/* The same with TLS, after an older handshake has been given up if there are too many. NULL: none was. */
static conn_t *shake(const char *from)
{
  conn_t *c = arrive(from, PHASE_HANDSHAKE);
  conn_t *victim = room_handshake_victim(c);
  if (victim != NULL)
    room_end_handshake(victim);
  assert_int_equal(room_begin_handshake(c), SMPL_OK);
  assert_in_range(listener.handshakes, 1, HANDSHAKES);
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
  conn_t *first = conns[0];
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
    conn_t *victim = shake(spread("2001:db8:1:%x::2", i));
    assert_non_null(victim);
    assert_int_equal(victim->peer.ip.b[5], 1); /* in his own /48 */
  }
  conn_t *victim = shake("198.51.100.1");
  assert_int_equal(victim->peer.ip.b[5], 1);
  assert_true(conns[0]->shaking && conns[1]->shaking && conns[2]->shaking);
}

static void handshakes_of_one_ipv4_network_count_together(void **state)
{
  (void)state;
  for (unsigned i = 0; i < 3; i++)
    assert_null(shake("192.0.2.9"));
  for (unsigned i = 0; i < HANDSHAKES - 3; i++)
    assert_null(shake(spread("198.51.100.%u", i)));
  assert_int_equal(shake("203.0.113.1")->peer.ip.b[12], 198);
}

static void balancers_have_as_many_handshakes_as_there_are_and_give_way_last(void **state)
{
  (void)state;
  for (unsigned i = 0; i < HANDSHAKES - 1; i++)
    assert_null(shake("127.10.0.7"));
  assert_null(shake("192.0.2.1"));
  assert_ptr_equal(shake("192.0.2.2"), conns[HANDSHAKES - 1]);
  assert_ptr_equal(shake("127.10.0.7"), conns[HANDSHAKES]);
  assert_ptr_equal(shake("127.10.0.7"), conns[0]);
}

static void a_network_with_more_than_its_share_of_places_gives_way_before_anybody_idle(void **state)
{
  (void)state;
  conn_t *idle = arrive("192.0.2.1", PHASE_IDLE);
  conn_t *first = arrive("2001:db8:1:0::1", PHASE_HEAD);
  for (unsigned i = 1; i <= PLACES / ROOM_SHARE; i++)
    arrive(spread("2001:db8:1:%x::1", i), PHASE_HEAD);
  conn_t *newcomer = arrive("198.51.100.1", PHASE_IDLE);
  conn_t *victim = room_place_victim(newcomer);
  assert_non_null(victim);
  assert_int_equal(victim->peer.ip.b[5], 1);
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
  conn_t *newcomer = arrive("203.0.113.1", PHASE_IDLE);
  assert_ptr_equal(room_place_victim(newcomer), conns[ROOM_LOOK + 10]);
  conn_t *own = arrive("192.0.2.1", PHASE_IDLE);
  assert_ptr_equal(room_place_victim(own), conns[ROOM_LOOK + 10]);
}

static void who_does_not_take_answers_gives_way_too(void **state)
{
  (void)state;
  for (unsigned i = 0; i < PLACES; i++)
    arrive("192.0.2.1", PHASE_WRITE);
  assert_ptr_equal(room_place_victim(arrive("203.0.113.1", PHASE_IDLE)), conns[0]);
}

static void a_balancers_connection_is_its_clients_while_it_carries_a_request(void **state)
{
  ip_t attacker, victim;
  (void)state;
  ip_parse("198.51.100.1", &attacker);
  ip_parse("203.0.113.1", &victim);
  for (unsigned i = 0; i < PLACES; i++) {
    conn_t *c = arrive("127.10.0.7", PHASE_BODY);
    if (i < PLACES / 2)
      assert_int_equal(room_serve(c, i % 8 == 0 ? &victim : &attacker), SMPL_OK);
  }
  conn_t *newcomer = arrive("127.10.0.7", PHASE_IDLE);
  assert_ptr_equal(room_place_victim(newcomer), conns[1]);
  for (unsigned i = 0; i < PLACES / 2; i++)
    room_served(conns[i]);
  assert_null(room_place_victim(newcomer)); /* nothing idle, and heads that are coming are the balancer's */
  conn_t *idle = arrive("127.10.0.7", PHASE_IDLE);
  assert_ptr_equal(room_place_victim(newcomer), idle);
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
      cmocka_unit_test(a_balancer_names_the_source_in_the_last_element_of_the_last_header),
  };
  return cmocka_run_group_tests_name("front sources", tests, NULL, NULL);
}
