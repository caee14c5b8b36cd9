/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of TCP connections and of the memory they may hold, on real sockets. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/ip.h"
#include "resolver/limits.h"
#include "resolver/view/snapshot.h"
#include "resolver/io/sockets.h"
#include "resolver/io/tcp.h"

/* The clock that connections are judged by, as far ahead as a test says. */
static uint64_t ahead_ms;
uint64_t __real_clock_mono_ms(void);
uint64_t __wrap_clock_mono_ms(void);
uint64_t __wrap_clock_mono_ms(void)
{
  return __real_clock_mono_ms() + ahead_ms;
}

typedef struct rig {
  snapshot_t *snapshot;
  endpoint_t at;
  int epoll_fd, listen_fd;
  responder_t *responder;
} rig_t;

static void write_file(const char *path, const char *text)
{
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
}

static int rig_up(void **state)
{
  rig_t *r = calloc(1, sizeof *r);
  assert_non_null(r);
  write_file("test_tcp.yaml", "listeners:\n  - {address: 127.41.9.1, port: 5300, views: [v]}\n"
                              "views:\n  - {name: v, clients: [127.0.0.0/8], zones: [org]}\n"
                              "zones:\n  - {name: org, file: test_tcp.zone}\n");
  write_file("test_tcp.zone",
             "$TTL 60\n@ SOA ns a 1 2 3 4 5\n@ NS ns\nns A 10.0.0.1\n$GENERATE 0-199 big A 127.11.0.$\n");
  diag_t diag = {""};
  if (snapshot_load("test_tcp.yaml", 1, &r->snapshot, &diag))
    fail_msg("%s", diag.text);
  cookie_secret_t secret;
  assert_int_equal(cookie_secret_make(&secret), 0);
  assert_int_equal(responder_new(0, &secret, &r->responder), 0);
  r->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  r->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  struct sockaddr_storage sa;
  assert_int_equal(endpoint_parse("127.41.9.1:0", &r->at), 0);
  socklen_t len = endpoint_to_sockaddr(&r->at, &sa);
  assert_int_equal(bind(r->listen_fd, (struct sockaddr *)&sa, len), 0);
  assert_int_equal(listen(r->listen_fd, 64), 0);
  len = sizeof sa;
  assert_int_equal(getsockname(r->listen_fd, (struct sockaddr *)&sa, &len), 0);
  assert_int_equal(endpoint_from_sockaddr((struct sockaddr *)&sa, &r->at), 0);
  *state = r;
  return 0;
}

static int rig_down(void **state)
{
  rig_t *r = *state;
  responder_free(r->responder);
  snapshot_free(r->snapshot);
  close(r->epoll_fd);
  close(r->listen_fd);
  free(r);
  unlink("test_tcp.yaml");
  unlink("test_tcp.zone");
  return 0;
}

static int dial_from(const rig_t *r, tcp_t *t, const char *source)
{
  struct sockaddr_storage sa;
  endpoint_t from;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  assert_int_equal(endpoint_parse(source, &from), 0);
  socklen_t len = endpoint_to_sockaddr(&from, &sa);
  assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
  len = endpoint_to_sockaddr(&r->at, &sa);
  assert_int_equal(connect(fd, (struct sockaddr *)&sa, len), 0);
  tcp_accept(t, r->listen_fd, 0);
  return fd;
}

static int dial(const rig_t *r, tcp_t *t)
{
  return dial_from(r, t, "127.0.0.1:0");
}

/* Handles what epoll reports until it has reported nothing for so long. */
static void turn_until_quiet(const rig_t *r, tcp_t *t, int ms)
{
  struct epoll_event ev[8];
  int n;
  while ((n = epoll_wait(r->epoll_fd, ev, 8, ms)) > 0) {
    for (int i = 0; i < n; i++)
      tcp_event(t, ev[i].data.ptr, ev[i].events);
    while (tcp_serve(t, r->snapshot, TCP_TURNS_MAX) > 0)
      ;
    tcp_sweep(t);
  }
  tcp_sweep(t);
}

static void turn(const rig_t *r, tcp_t *t)
{
  turn_until_quiet(r, t, 20);
}

static bool is_closed(int fd)
{
  uint8_t b;
  ssize_t n = recv(fd, &b, 1, MSG_DONTWAIT);
  return n == 0;
}

static void send_query(int fd)
{
  uint8_t msg[514];
  ask_t ask = {.name = "ns.org", .type = 1};
  size_t len = harness_query(&ask, msg + 2);
  msg[0] = 0;
  msg[1] = (uint8_t)len;
  assert_int_equal(send(fd, msg, len + 2, 0), (ssize_t)len + 2);
}

static void one_connection_too_many_ends_the_longest_idle_one(void **state)
{
  rig_t *r = *state;
  tcp_t *t = tcp_new(r->epoll_fd, r->responder, 3, 1000);
  assert_non_null(t);
  int a = dial(r, t);
  int b = dial(r, t);
  int c = dial(r, t);
  assert_int_equal(tcp_count(t), 3);
  send_query(a); /* a is no longer the longest idle */
  turn(r, t);
  assert_false(is_closed(b));
  int d = dial(r, t);
  turn(r, t);
  assert_int_equal(tcp_count(t), 3);
  assert_true(is_closed(b));
  assert_false(is_closed(c));
  assert_false(is_closed(d));
  uint8_t reply[100];
  assert_true(recv(a, reply, sizeof reply, MSG_DONTWAIT) > 20);
  close(a);
  close(b);
  close(c);
  close(d);
  tcp_free(t);
}

/* What is kept grows by steps of 256 bytes: 4,096 bytes are sixteen. */
static void unfinished_queries_are_kept_up_to_the_limit_of_memory(void **state)
{
  rig_t *r = *state;
  static uint8_t part[4097] = {0xff, 0xff};
  tcp_t *t = tcp_new(r->epoll_fd, r->responder, 10, 4096);
  assert_non_null(t);
  int a = dial(r, t);
  assert_int_equal(send(a, part, 4096, 0), 4096);
  turn(r, t);
  assert_int_equal(tcp_count(t), 1);
  assert_int_equal(send(a, part, 1, 0), 1);
  turn(r, t);
  assert_true(is_closed(a));
  assert_int_equal(tcp_count(t), 0);
  close(a);
  /* what was held is free again */
  int b = dial(r, t);
  assert_int_equal(send(b, part, 4096, 0), 4096);
  turn(r, t);
  assert_int_equal(tcp_count(t), 1);
  /* the same source keeps something more: its oldest gives way */
  int c = dial(r, t);
  assert_int_equal(send(c, part, 1, 0), 1);
  turn(r, t);
  assert_true(is_closed(b));
  assert_false(is_closed(c));
  close(b);
  close(c);
  tcp_free(t);
}

/* A query in two segments, the second when the test says so. */
static void send_first_part(int fd)
{
  uint8_t msg[514];
  ask_t ask = {.name = "ns.org", .type = 1};
  size_t len = harness_query(&ask, msg + 2) + 2;
  msg[0] = 0;
  msg[1] = (uint8_t)(len - 2);
  assert_int_equal(send(fd, msg, 5, 0), 5);
}

static void send_second_part(int fd)
{
  uint8_t msg[514];
  ask_t ask = {.name = "ns.org", .type = 1};
  size_t len = harness_query(&ask, msg + 2) + 2;
  assert_int_equal(send(fd, msg + 5, len - 5, 0), (ssize_t)len - 5);
}

/* One /24 with as many connections as it likes, none of which ever ends its query; then one neighbour. The
 * greedy one's oldest are closed, and nobody else's. */
static void neighbour_s_query_in_two_parts_is_answered_beside_one_that_fills_the_memory(void **state)
{
  rig_t *r = *state;
  enum { GREEDY = 40, FIT = 16, HELD = 1024 };
  static uint8_t part[HELD] = {0xff, 0xff};
  tcp_t *t = tcp_new(r->epoll_fd, r->responder, 100, FIT * HELD);
  assert_non_null(t);
  int before = dial_from(r, t, "127.41.7.1:0");
  send_first_part(before);
  turn(r, t);
  int greedy[GREEDY];
  for (int i = 0; i < GREEDY; i++) {
    char source[32];
    snprintf(source, sizeof source, "127.41.8.%d:0", 1 + i % 20);
    greedy[i] = dial_from(r, t, source);
    assert_int_equal(send(greedy[i], part, HELD, 0), HELD);
    turn_until_quiet(r, t, 5);
  }
  int filler = dial_from(r, t, "127.41.8.1:0"); /* and to the last byte */
  assert_int_equal(send(filler, part, HELD - 5, 0), HELD - 5);
  turn(r, t);
  int after = dial_from(r, t, "127.41.7.2:0");
  send_first_part(after);
  turn(r, t);
  uint8_t reply[200];
  int victims[2] = {before, after};
  for (int i = 0; i < 2; i++) {
    send_second_part(victims[i]);
    turn(r, t);
    assert_true(recv(victims[i], reply, sizeof reply, MSG_DONTWAIT) > 20);
    close(victims[i]);
  }
  int left = 0;
  for (int i = 0; i < GREEDY; i++) {
    left += !is_closed(greedy[i]);
    close(greedy[i]);
  }
  assert_int_equal(left, FIT - 2);
  close(filler);
  tcp_free(t);
}

static void places_are_taken_from_the_source_with_most(void **state)
{
  rig_t *r = *state;
  enum { GREEDY = 30, PLACES = 10 };
  tcp_t *t = tcp_new(r->epoll_fd, r->responder, PLACES, 1000);
  assert_non_null(t);
  int quiet = dial_from(r, t, "127.41.7.1:0"); /* idle for longer than any of the others */
  int greedy[GREEDY];
  for (int i = 0; i < GREEDY; i++) {
    greedy[i] = dial_from(r, t, i % 2 == 0 ? "127.41.8.1:0" : "127.41.8.2:0");
    send_query(greedy[i]);
    turn_until_quiet(r, t, 5);
  }
  assert_int_equal(tcp_count(t), PLACES);
  int newcomer = dial_from(r, t, "127.41.9.9:0");
  turn(r, t);
  assert_false(is_closed(quiet));
  assert_false(is_closed(newcomer));
  close(quiet);
  close(newcomer);
  for (int i = 0; i < GREEDY; i++)
    close(greedy[i]);
  tcp_free(t);
}

/* What has come on any of them is known; nobody has had a turn. */
static void hear_all(const rig_t *r, tcp_t *t)
{
  struct epoll_event ev[64];
  int n;
  while ((n = epoll_wait(r->epoll_fd, ev, 64, 20)) > 0)
    for (int i = 0; i < n; i++)
      tcp_event(t, ev[i].data.ptr, ev[i].events);
}

/* Turns until this one has its answer. */
static size_t turns_until_answered(const rig_t *r, tcp_t *t, int fd)
{
  uint8_t reply[100];
  size_t turns = 0;
  while (recv(fd, reply, sizeof reply, MSG_DONTWAIT) < 0) {
    assert_true(turns < 1000);
    tcp_serve(t, r->snapshot, 1);
    turns++;
  }
  return turns;
}

/* As many queries as the kernel takes; returns their length. */
static size_t send_many(int fd)
{
  enum { ASKED = 3000 };
  uint8_t msg[514];
  ask_t ask = {.name = "ns.org", .type = 1};
  size_t len = harness_query(&ask, msg + 2) + 2;
  msg[0] = 0;
  msg[1] = (uint8_t)(len - 2);
  static uint8_t all[ASKED * 64];
  for (size_t i = 0; i < ASKED; i++)
    memcpy(all + i * len, msg, len);
  size_t sent = 0;
  ssize_t n;
  while (sent < ASKED * len && (n = send(fd, all + sent, ASKED * len - sent, MSG_DONTWAIT)) > 0)
    sent += (size_t)n;
  assert_true(sent > 4 * TCP_TURN_BYTES);
  return len;
}

/* All that one connection has sent is not answered in one go: between two turns of it everybody else has one.
 */
static void another_s_query_waits_for_one_turn_of_a_connection_that_asks_much(void **state)
{
  rig_t *r = *state;
  tcp_t *t = tcp_new(r->epoll_fd, r->responder, 10, 1 << 20);
  assert_non_null(t);
  int a = dial_from(r, t, "127.41.8.1:0");
  int b = dial_from(r, t, "127.41.7.1:0");
  size_t len = send_many(a);
  hear_all(r, t);
  tcp_serve(t, r->snapshot, 1);
  send_query(b);
  hear_all(r, t);
  assert_true(turns_until_answered(r, t, b) <= 2);
  static uint8_t answers[1 << 20];
  size_t got = 0;
  ssize_t n;
  while ((n = recv(a, answers + got, sizeof answers - got, MSG_DONTWAIT)) > 0)
    got += (size_t)n;
  assert_in_range(got / (2 + ((size_t)answers[0] << 8 | answers[1])), 1, 2 * (TCP_TURN_BYTES / len + 1));
  close(a);
  close(b);
  tcp_free(t);
}

/* The same however many connections the source has, and whatever addresses of its IPv6 network. */
static void another_s_query_waits_for_one_turn_of_a_source_with_many_connections(void **state)
{
  rig_t *r = *state;
  enum { GREEDY = 60 };
  tcp_t *t = tcp_new(r->epoll_fd, r->responder, 100, 16 << 20);
  assert_non_null(t);
  int greedy[GREEDY];
  for (int i = 0; i < GREEDY; i++) {
    greedy[i] = dial_from(r, t, "127.41.8.1:0");
    send_many(greedy[i]);
  }
  int quiet = dial_from(r, t, "127.41.7.1:0"); /* the last to be heard */
  send_query(quiet);
  hear_all(r, t);
  assert_true(turns_until_answered(r, t, quiet) <= 2);
  send_query(quiet);
  hear_all(r, t);
  assert_true(turns_until_answered(r, t, quiet) <= 2);
  for (int i = 0; i < GREEDY; i++)
    close(greedy[i]);
  close(quiet);
  tcp_free(t);
}

/* Everything that was asked is answered: more than one turn's worth, while it comes and after its end was
 * announced. */
static void all_that_a_connection_asks_is_answered_before_its_end(void **state)
{
  rig_t *r = *state;
  for (int late = 0; late < 2; late++) {
    tcp_t *t = tcp_new(r->epoll_fd, r->responder, 10, 1 << 20);
    assert_non_null(t);
    int a = dial(r, t);
    enum { ASKED = 1000 };
    uint8_t msg[514];
    ask_t ask = {.name = "ns.org", .type = 1};
    size_t len = harness_query(&ask, msg + 2) + 2;
    msg[0] = 0;
    msg[1] = (uint8_t)(len - 2);
    for (int i = 0; i < ASKED; i++) {
      assert_int_equal(send(a, msg, len, 0), (ssize_t)len);
      if (late && i == ASKED / 2)
        turn(r, t);
    }
    shutdown(a, SHUT_WR);
    static uint8_t answers[1 << 20];
    size_t got = 0;
    ssize_t n = -1;
    for (int i = 0; i < 500 && n != 0; i++) {
      turn_until_quiet(r, t, 1);
      while ((n = recv(a, answers + got, sizeof answers - got, MSG_DONTWAIT)) > 0)
        got += (size_t)n;
    }
    assert_int_equal(n, 0);
    assert_int_equal(got, ASKED * (2 + ((size_t)answers[0] << 8 | answers[1])));
    assert_int_equal(tcp_count(t), 0);
    close(a);
    tcp_free(t);
  }
}

/* An end that is asked for: what has come is answered, however much it is, and then the connection is closed.
 */
static void what_has_come_before_an_end_is_answered(void **state)
{
  rig_t *r = *state;
  tcp_t *t = tcp_new(r->epoll_fd, r->responder, 10, 1 << 20);
  assert_non_null(t);
  int a = dial(r, t);
  int idle = dial(r, t);
  size_t len = send_many(a);
  tcp_drain(t);
  static uint8_t answers[1 << 20];
  size_t got = 0;
  ssize_t n = -1;
  for (int i = 0; i < 500 && n != 0; i++) {
    tcp_serve(t, r->snapshot, TCP_TURNS_MAX);
    turn_until_quiet(r, t, 1);
    while ((n = recv(a, answers + got, sizeof answers - got, MSG_DONTWAIT)) > 0)
      got += (size_t)n;
  }
  assert_int_equal(n, 0);
  assert_true(got / (2 + ((size_t)answers[0] << 8 | answers[1])) > 4 * TCP_TURN_BYTES / len);
  assert_true(is_closed(idle));
  assert_int_equal(tcp_count(t), 0);
  close(a);
  close(idle);
  tcp_free(t);
}

/* Long answers: one turn is over before the queries of one read are, and what is left is answered without
 * another byte. */
static void what_one_turn_has_no_room_for_is_answered_in_the_next(void **state)
{
  rig_t *r = *state;
  enum { ASKED = 120 };
  tcp_t *t = tcp_new(r->epoll_fd, r->responder, 10, 1 << 20);
  assert_non_null(t);
  int a = dial(r, t);
  static uint8_t all[ASKED * 64];
  size_t used = 0;
  ask_t ask = {.name = "big.org", .type = 1};
  for (int i = 0; i < ASKED; i++) {
    size_t len = harness_query(&ask, all + used + 2);
    all[used] = 0;
    all[used + 1] = (uint8_t)len;
    used += len + 2;
  }
  assert_true(used < TCP_TURN_BYTES);
  assert_int_equal(send(a, all, used, 0), (ssize_t)used);
  static uint8_t reply[1 << 16];
  size_t got = 0;
  size_t one = 0;
  while (one == 0 || got < ASKED * one) {
    turn_until_quiet(r, t, 1);
    ssize_t n = recv(a, reply, sizeof reply, MSG_DONTWAIT);
    if (n <= 0)
      continue;
    if (one == 0)
      one = 2 + ((size_t)reply[0] << 8 | reply[1]);
    got += (size_t)n;
  }
  assert_true(ASKED * one > 2 * (2 + MESSAGE_MAX)); /* more than one turn */
  assert_int_equal(got, ASKED * one);
  send_query(a); /* and it is read from again */
  turn(r, t);
  assert_true(recv(a, reply, sizeof reply, MSG_DONTWAIT) > 20);
  close(a);
  tcp_free(t);
}

static void connection_that_ends_in_mid_query_is_closed(void **state)
{
  rig_t *r = *state;
  tcp_t *t = tcp_new(r->epoll_fd, r->responder, 10, 1000);
  assert_non_null(t);
  int a = dial(r, t);
  send_query(a);
  assert_int_equal(send(a, "\0\x20x", 3, 0), 3);
  shutdown(a, SHUT_WR);
  turn(r, t);
  assert_int_equal(tcp_count(t), 0);
  uint8_t reply[100];
  assert_true(recv(a, reply, sizeof reply, 0) > 20);
  assert_int_equal(recv(a, reply, sizeof reply, 0), 0);
  close(a);
  tcp_free(t);
}

/* Two questions, something that is none, a third question: two answers and the end. */
static void what_was_asked_before_something_bad_is_answered(void **state)
{
  rig_t *r = *state;
  uint8_t msg[600];
  ask_t ask = {.name = "ns.org", .type = 1};
  size_t len = harness_query(&ask, msg + 2) + 2;
  msg[0] = 0;
  msg[1] = (uint8_t)(len - 2);
  static const uint8_t bad[][16] = {{0, 0}, {0, 1, 'x'}, {0, 12, 0, 1, 0x80}};
  static const size_t sizes[] = {2, 3, 14};
  for (size_t i = 0; i < 3; i++) {
    tcp_t *t = tcp_new(r->epoll_fd, r->responder, 10, 1000);
    assert_non_null(t);
    int a = dial(r, t);
    uint8_t all[600];
    memcpy(all, msg, len);
    memcpy(all + len, msg, len);
    memcpy(all + 2 * len, bad[i], sizes[i]);
    memcpy(all + 2 * len + sizes[i], msg, len);
    assert_int_equal(send(a, all, 3 * len + sizes[i], 0), (ssize_t)(3 * len + sizes[i]));
    turn(r, t);
    assert_int_equal(tcp_count(t), 0);
    uint8_t reply[1000];
    ssize_t n = recv(a, reply, sizeof reply, 0);
    assert_int_equal(n, 2 * (2 + (reply[0] << 8 | reply[1])));
    assert_int_equal(recv(a, reply, sizeof reply, 0), 0);
    close(a);
    tcp_free(t);
  }
}

/* The same when the answers cannot be taken at once. */
static void answers_are_still_taken_after_something_bad(void **state)
{
  rig_t *r = *state;
  tcp_t *t = tcp_new(r->epoll_fd, r->responder, 10, 16 << 20);
  assert_non_null(t);
  int a = socket(AF_INET, SOCK_STREAM, 0);
  int small = 4096;
  setsockopt(a, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  struct sockaddr_storage sa;
  socklen_t sa_len = endpoint_to_sockaddr(&r->at, &sa);
  assert_int_equal(connect(a, (struct sockaddr *)&sa, sa_len), 0);
  tcp_accept(t, r->listen_fd, 0);
  enum { ASKED = 900 };
  static uint8_t all[64 * ASKED];
  size_t used = 0;
  ask_t ask = {.name = "big.org", .type = 1};
  for (int i = 0; i < ASKED; i++) {
    size_t len = harness_query(&ask, all + used + 2);
    all[used] = 0;
    all[used + 1] = (uint8_t)len;
    used += len + 2;
  }
  all[used++] = 0;
  all[used++] = 0;
  assert_int_equal(send(a, all, used, 0), (ssize_t)used);
  turn(r, t);
  size_t got = 0;
  ssize_t n;
  static uint8_t reply[1 << 16];
  size_t one = 0;
  while ((n = recv(a, reply, sizeof reply, 0)) > 0) {
    if (got == 0)
      one = 2 + ((size_t)reply[0] << 8 | reply[1]);
    got += (size_t)n;
    turn_until_quiet(r, t, 0);
  }
  assert_int_equal(n, 0);
  assert_int_equal(got, ASKED * one);
  assert_int_equal(tcp_count(t), 0);
  close(a);
  tcp_free(t);
}

/* No descriptor is left, and no connection that could give way. */
static void waiting_connection_is_ended_when_descriptors_run_out(void **state)
{
  rig_t *r = *state;
  tcp_t *t = tcp_new(r->epoll_fd, r->responder, 10, 1000);
  assert_non_null(t);
  struct sockaddr_storage sa;
  socklen_t len = endpoint_to_sockaddr(&r->at, &sa);
  int a = socket(AF_INET, SOCK_STREAM, 0);
  assert_int_equal(connect(a, (struct sockaddr *)&sa, len), 0);
  struct rlimit before;
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
  struct rlimit none = {(rlim_t)a + 1, before.rlim_max};
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
  int held[64];
  size_t count = 0;
  while (count < 64 && (held[count] = dup(a)) >= 0)
    count++;
  tcp_accept(t, r->listen_fd, 0);
  uint8_t b;
  assert_int_equal(recv(a, &b, 1, 0), 0);
  assert_int_equal(tcp_count(t), 0);
  for (size_t i = 0; i < count; i++)
    close(held[i]);
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
  close(a);
  a = dial(r, t);
  assert_int_equal(tcp_count(t), 1);
  close(a);
  tcp_free(t);
}

static void idle_connections_end_after_the_limit(void **state)
{
  rig_t *r = *state;
  tcp_t *t = tcp_new(r->epoll_fd, r->responder, 3, 1000);
  int a = dial(r, t);
  ahead_ms = TCP_IDLE_MS / 2;
  turn(r, t);
  assert_false(is_closed(a));
  send_query(a);
  turn(r, t);
  uint8_t reply[100];
  assert_true(recv(a, reply, sizeof reply, MSG_DONTWAIT) > 20);
  ahead_ms = TCP_IDLE_MS + 100; /* half of it since the answer */
  turn(r, t);
  assert_false(is_closed(a));
  assert_int_equal(send(a, "\0", 1, 0), 1); /* part of a query is no sign of life */
  turn(r, t);
  ahead_ms = TCP_IDLE_MS / 2 + TCP_IDLE_MS;
  turn(r, t);
  assert_true(is_closed(a));
  assert_int_equal(tcp_count(t), 0);
  close(a);
  tcp_free(t);
  ahead_ms = 0;
}

static void busy_connections_end_after_their_life(void **state)
{
  rig_t *r = *state;
  tcp_t *t = tcp_new(r->epoll_fd, r->responder, 3, 1000);
  int a = dial(r, t);
  uint8_t reply[100];
  for (ahead_ms = 0; ahead_ms < TCP_LIFE_MS - TCP_IDLE_MS; ahead_ms += TCP_IDLE_MS / 2) {
    send_query(a);
    tcp_sweep(t);
    struct epoll_event ev;
    assert_int_equal(epoll_wait(r->epoll_fd, &ev, 1, 1000), 1);
    tcp_event(t, ev.data.ptr, ev.events);
    tcp_serve(t, r->snapshot, 1);
    assert_true(recv(a, reply, sizeof reply, MSG_DONTWAIT) > 20);
  }
  ahead_ms = TCP_LIFE_MS - TCP_IDLE_MS + 1000;
  send_query(a);
  turn(r, t);
  assert_true(recv(a, reply, sizeof reply, MSG_DONTWAIT) > 20);
  ahead_ms = TCP_LIFE_MS + 1000;
  send_query(a);
  turn(r, t);
  assert_int_equal(tcp_count(t), 0);
  close(a);
  tcp_free(t);
  ahead_ms = 0;
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_connection_too_many_ends_the_longest_idle_one),
      cmocka_unit_test(unfinished_queries_are_kept_up_to_the_limit_of_memory),
      cmocka_unit_test(neighbour_s_query_in_two_parts_is_answered_beside_one_that_fills_the_memory),
      cmocka_unit_test(places_are_taken_from_the_source_with_most),
      cmocka_unit_test(another_s_query_waits_for_one_turn_of_a_connection_that_asks_much),
      cmocka_unit_test(another_s_query_waits_for_one_turn_of_a_source_with_many_connections),
      cmocka_unit_test(all_that_a_connection_asks_is_answered_before_its_end),
      cmocka_unit_test(what_has_come_before_an_end_is_answered),
      cmocka_unit_test(what_one_turn_has_no_room_for_is_answered_in_the_next),
      cmocka_unit_test(connection_that_ends_in_mid_query_is_closed),
      cmocka_unit_test(what_was_asked_before_something_bad_is_answered),
      cmocka_unit_test(answers_are_still_taken_after_something_bad),
      cmocka_unit_test(waiting_connection_is_ended_when_descriptors_run_out),
      cmocka_unit_test(idle_connections_end_after_the_limit),
      cmocka_unit_test(busy_connections_end_after_their_life),
  };
  return cmocka_run_group_tests(tests, rig_up, rig_down);
}
