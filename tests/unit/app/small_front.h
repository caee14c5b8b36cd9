/* SPDX-License-Identifier: Apache-2.0 */
/* A real front on loopback with the echo service behind it, its limits small enough to be reached, and a
 * clock that is the test's. For the tests of what connections wait for and hold. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "app/gate/rules.h"
#include "app/http/front.h"
#include "app/http/front_state.h"

enum {
  CONNECTIONS = 4,
  MANY = 16,
  WAIT_MS = 200,
  PATIENT_MS = 20000, /* where no wait is to end */
  TICK_MS = 10,
  SLACK_MS = 5 * TICK_MS,
  LOOKS_MAX = 100000, /* in vain, a fraction of a millisecond each, before something counts as not coming */
  HEADS = 48 << 10,
  BODIES = 2 * LIMIT_BODY_FIRST,
  REPLIES = 40 << 20,
  VALUES = LIMIT_PARSE_HERE_VALUES,
  WAITING = 4,
  PARSED = 2,
  PARSED_SHARE = 1,
  FDS_MAX = 1024,
};

typedef struct fixture {
  uv_loop_t loop;
  rule_t rule;
  listener_conf_t listener;
  bool balanced; /* every connection comes from a balancer, which names the source of each request */
  ip_net_t balancer;
  const char *sources[FDS_MAX]; /* of connections, by descriptor */
  access_log_t *access;
  void *service;
  front_t *front;
  bool drained;
  size_t abandoned;
} fixture_t;

/* Of connections that each end by a wait of WAIT_MS, or by none; from balancers; of a front with MANY places.
 */
int set_up(void **state);
int set_up_patient(void **state);
int set_up_balanced(void **state);
int set_up_many(void **state);
int set_up_many_balanced(void **state);
int tear_down(void **state);

/* A cmocka test with one of them; and the same with every connection coming from a balancer. */
#define WITH(set_up, test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
#define BALANCED(test)                                                                                       \
  {                                                                                                          \
#test "_behind_a_balancer", test, set_up_balanced, tear_down, NULL                                       \
  }

/* Tells the front to end; f->drained says when it has. */
void drain(fixture_t *f);

/* Lets the front work without time going on: it does what it can, and what others do for it may come to an
 * end. */
void look(fixture_t *f);
/* Lets the front work for that long. */
void turn(fixture_t *f, uint64_t ms);
/* Connects from that address. */
int dial_from(fixture_t *f, const char *source);
/* From the same address each time. */
int dial(fixture_t *f);
/* Sends a text; a balancer says behind the first line of a head whose request it is. */
void send_text(const fixture_t *f, int fd, const char *text);
/* Sends a text and lets the front read it. */
void say(fixture_t *f, int fd, const char *text);
/* Milliseconds until the front closes fd; what comes before is thrown away. */
uint64_t closed_after(fixture_t *f, int fd);
/* True if the front has closed fd by now; what came before is thrown away. */
bool is_closed(int fd);
/* True once the front has closed fd, without time going on. */
bool gets_closed(fixture_t *f, int fd);
/* "503" and the like, once it has come; "" if nothing comes in so many looks. */
const char *status_within(fixture_t *f, int fd, int looks);
/* However long that takes. */
const char *status_of(fixture_t *f, int fd);
/* Nothing has come. */
void assert_unanswered(fixture_t *f, int fd);
/* The head of a request with a body of that length, and the body but for its last byte. */
void begin_body(fixture_t *f, int fd, size_t length);
/* Asks for an answer of that many KiB. */
void ask_big(fixture_t *f, int fd, unsigned kb);
