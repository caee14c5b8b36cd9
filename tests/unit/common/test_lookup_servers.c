/* SPDX-License-Identifier: Apache-2.0 */
/* Which servers common/dns/lookup.c asks, when, and whom it hears: with channels and a clock of the test's
 * own, so that each question can be counted and each answer comes when the test says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/dns/dns_channel.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/dns/lookup.h"

enum { PLENTY = 2 * LOOKUP_PENDING_MAX + LOOKUP_LATE_MAX + 16 };

/* ---- stands in for common/base/clock.c, common/base/log.c and common/dns/dns_channel.c ---- */

static int lost_told, back_told;

void log_warn(const char *fmt, ...)
{
  (void)fmt;
  lost_told++;
}

void log_info(const char *fmt, ...)
{
  (void)fmt;
  back_told++;
}

static uint64_t now_ms = 1000;

uint64_t clock_mono_ms(void)
{
  return now_ms;
}

typedef struct asked {
  dns_name_t name;
  uint16_t type;
  bool tcp;
  dns_channel_cb cb;
  void *ctx;
} asked_t;

/* A server: it keeps what it is asked until the test answers, or answers at once. */
struct dns_channel {
  asked_t open[PLENTY];
  size_t open_count;
  unsigned total; /* questions that it ever got */
  int at_once;    /* SMPL_OK: it keeps them; else what becomes of each at once */
};

static dns_channel_t servers[LOOKUP_SERVERS_MAX];
static size_t made;

int dns_channel_new(uv_loop_t *loop, const dns_channel_conf_t *conf, dns_channel_t **out)
{
  (void)loop;
  (void)conf;
  *out = &servers[made++];
  return SMPL_OK;
}

void dns_channel_free(dns_channel_t *channel)
{
  channel->open_count = 0;
}

void dns_channel_ask(dns_channel_t *c, const dns_name_t *name, uint16_t type, bool tcp, dns_channel_cb cb,
                     void *ctx)
{
  c->total++;
  if (c->at_once != SMPL_OK) {
    cb(ctx, c->at_once, NULL, 0);
    return;
  }
  assert_true(c->open_count < PLENTY);
  c->open[c->open_count++] = (asked_t){*name, type, tcp, cb, ctx};
}

static asked_t take(size_t server)
{
  dns_channel_t *c = &servers[server];
  assert_true(c->open_count > 0);
  asked_t a = c->open[0];
  memmove(c->open, c->open + 1, --c->open_count * sizeof *c->open);
  return a;
}

/* The server's oldest question gets an answer with this rcode; with an address when it is 0. */
static void answer(size_t server, unsigned flags)
{
  uint8_t msg[512] = {0};
  asked_t a = take(server);
  size_t at = DNS_HEADER_LEN;
  bool good = flags == DNS_RCODE_NOERROR && a.type == DNS_TYPE_A;
  const uint8_t record[] = {0xc0, DNS_HEADER_LEN, 0, DNS_TYPE_A, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0,
                            0,    (uint8_t)server};
  msg[2] = (uint8_t)(0x80 | flags >> 8);
  msg[3] = (uint8_t)flags;
  msg[5] = 1;
  msg[7] = good;
  memcpy(msg + at, a.name.wire, a.name.len);
  at += a.name.len;
  msg[at + 1] = (uint8_t)a.type;
  msg[at + 3] = 1;
  at += 4;
  memcpy(msg + at, record, sizeof record);
  a.cb(a.ctx, SMPL_OK, msg, at + (good ? sizeof record : 0));
}

static void fail_with(size_t server, int err)
{
  asked_t a = take(server);
  a.cb(a.ctx, err, NULL, 0);
}

/* ---- the one who asks ---- */

typedef struct world {
  uv_loop_t loop;
  lookup_t *lookup;
  int calls, err;
  unsigned from; /* which server's address came */
} world_t;

static void on_addrs(void *ctx, int err, const lookup_addrs_t *addrs)
{
  world_t *w = ctx;
  w->calls++;
  w->err = err;
  w->from = err == SMPL_OK ? addrs->addrs[0].b[15] : 99;
}

static void on_srvs(void *ctx, int err, const lookup_srvs_t *srvs)
{
  world_t *w = ctx;
  (void)srvs;
  w->calls++;
  w->err = err;
}

static void open_world(world_t *w, size_t count)
{
  static const endpoint_t at[LOOKUP_SERVERS_MAX];
  diag_t diag = {{0}};
  lookup_conf_t conf = {.servers = at, .server_count = count};
  memset(w, 0, sizeof *w);
  memset(servers, 0, sizeof servers);
  made = 0;
  uv_loop_init(&w->loop);
  assert_int_equal(lookup_new(&w->loop, &conf, &w->lookup, &diag), SMPL_OK);
}

static void close_world(world_t *w)
{
  lookup_free(w->lookup);
  uv_run(&w->loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&w->loop), 0);
}

static void count_ticks(uv_timer_t *timer)
{
  ++*(int *)timer->data;
}

/* So much time passes. The lookup's own timer has run since, however slow the machine is: ours is started
 * after it, with the same interval, and timers of a loop run in order. */
static void pass(world_t *w, uint64_t ms)
{
  int ticks = 0;
  uv_timer_t timer;
  now_ms += ms;
  uv_timer_init(&w->loop, &timer);
  timer.data = &ticks;
  uv_timer_start(&timer, count_ticks, 2 * LOOKUP_TICK_MS, 0);
  while (ticks == 0)
    uv_run(&w->loop, UV_RUN_ONCE);
  uv_close((uv_handle_t *)&timer, NULL);
  uv_run(&w->loop, UV_RUN_NOWAIT);
}

static void start(world_t *w)
{
  dns_name_t name;
  assert_int_equal(dns_name_from_text("two.test", &name), SMPL_OK);
  assert_int_equal(lookup_addresses(w->lookup, NULL, &name, on_addrs, w, NULL), SMPL_OK);
}

/* A question for a service: one packet a server, where addresses need two. */
static lookup_query_t *start_service(world_t *w, const char *owner)
{
  dns_name_t name;
  lookup_query_t *q = NULL;
  assert_int_equal(dns_name_from_text("_http._tcp.two.test", &name), SMPL_OK);
  assert_int_equal(lookup_services(w->lookup, owner, &name, on_srvs, w, &q), SMPL_OK);
  return q;
}

static void assert_asked(unsigned first, unsigned second, unsigned third)
{
  assert_int_equal(servers[0].total, first);
  assert_int_equal(servers[1].total, second);
  assert_int_equal(servers[2].total, third);
}

static void assert_result(world_t *w, int calls, int err)
{
  uv_run(&w->loop, UV_RUN_NOWAIT);
  uv_run(&w->loop, UV_RUN_NOWAIT);
  assert_int_equal(w->calls, calls);
  assert_int_equal(w->err, err);
}

/* --- */

static void only_the_first_server_is_asked_while_it_answers(void **state)
{
  (void)state;
  world_t w;
  open_world(&w, 3);
  for (unsigned i = 1; i <= 5; i++) {
    start(&w);
    pass(&w, DNS_SERVERS_STEP_MS);
    answer(0, DNS_RCODE_NOERROR);
    answer(0, DNS_RCODE_NOERROR);
    assert_result(&w, (int)i, SMPL_OK);
    now_ms += 2 * DNS_SERVERS_PROBE_MS;
  }
  assert_asked(10, 0, 0);
  close_world(&w);
}

static void the_next_server_is_asked_after_a_while_and_the_first_is_not_given_up(void **state)
{
  (void)state;
  world_t w;
  open_world(&w, 3);
  start(&w);
  pass(&w, LOOKUP_NEXT_MS - 1);
  assert_asked(2, 0, 0);
  pass(&w, 1);
  assert_asked(2, 2, 0);
  pass(&w, LOOKUP_NEXT_MS);
  assert_asked(2, 2, 2);
  answer(0, DNS_RCODE_NOERROR); /* the first, after all: before any other */
  answer(0, DNS_RCODE_NOERROR);
  assert_result(&w, 1, SMPL_OK);
  assert_int_equal(w.from, 0);
  answer(1, DNS_RCODE_NOERROR); /* late ones change nothing */
  answer(1, DNS_RCODE_SERVFAIL);
  assert_result(&w, 1, SMPL_OK);
  close_world(&w);
}

static void after_one_silence_the_server_that_answered_is_asked_first(void **state)
{
  (void)state;
  world_t w;
  open_world(&w, 2);
  start(&w);
  pass(&w, LOOKUP_NEXT_MS);
  answer(1, DNS_RCODE_NOERROR);
  answer(1, DNS_RCODE_NOERROR);
  assert_result(&w, 1, SMPL_OK);
  assert_int_equal(w.from, 1);
  assert_asked(2, 2, 0);
  for (int i = 2; i <= 20; i++) {
    start(&w);
    answer(1, DNS_RCODE_NOERROR);
    answer(1, DNS_RCODE_NOERROR);
    assert_result(&w, i, SMPL_OK);
  }
  assert_asked(2, 40, 0);
  close_world(&w);
}

/* The probe is a real question, sent beside the one to the best server; nobody waits for it. */
static void a_silent_server_is_probed_now_and_then_and_taken_again_when_it_answers(void **state)
{
  (void)state;
  world_t w;
  open_world(&w, 2);
  start(&w);
  pass(&w, LOOKUP_NEXT_MS);
  answer(1, DNS_RCODE_NOERROR);
  answer(1, DNS_RCODE_NOERROR);
  assert_result(&w, 1, SMPL_OK);
  now_ms += DNS_SERVERS_PROBE_MS;
  for (int i = 2; i <= 6; i++) {
    start(&w);
    answer(1, DNS_RCODE_NOERROR);
    answer(1, DNS_RCODE_NOERROR);
    assert_result(&w, i, SMPL_OK); /* although the probe has no answer */
  }
  assert_asked(2 + 1, 12, 0);
  take(0); /* the first two questions stay without an answer for ever */
  take(0);
  answer(0, DNS_RCODE_NOERROR);
  start(&w);
  assert_asked(3 + 2, 12, 0);
  close_world(&w);
}

static void a_probe_that_fails_changes_nothing(void **state)
{
  (void)state;
  world_t w;
  open_world(&w, 2);
  servers[0].at_once = SMPL_ECLOSED;
  for (int i = 1; i <= 4; i++) {
    start(&w);
    answer(1, DNS_RCODE_NOERROR);
    answer(1, DNS_RCODE_NOERROR);
    assert_result(&w, i, SMPL_OK);
    now_ms += DNS_SERVERS_PROBE_MS;
  }
  assert_asked(1 + 3, 8, 0); /* the first question for A; then it is known; then a probe each */
  close_world(&w);
}

static void whoever_refuses_fails_or_is_not_there_is_followed_by_the_next_at_once(void **state)
{
  (void)state;
  world_t w;
  open_world(&w, 3);
  start_service(&w, NULL);
  answer(0, DNS_RCODE_REFUSED);
  assert_asked(1, 1, 0);
  fail_with(1, SMPL_ECLOSED);
  assert_asked(1, 1, 1);
  answer(2, DNS_RCODE_NXDOMAIN);
  assert_result(&w, 1, SMPL_ENOENT);
  assert_asked(1, 1, 1);
  close_world(&w);
  open_world(&w, 2);
  start_service(&w, NULL);
  answer(0, DNS_RCODE_SERVFAIL);
  answer(1, DNS_RCODE_REFUSED);
  assert_result(&w, 1, SMPL_ESERVER); /* nobody is left: at once, not when the time is over */
  close_world(&w);
}

static void who_failed_is_not_the_answer_while_another_may_give_one(void **state)
{
  (void)state;
  world_t w;
  open_world(&w, 2);
  start_service(&w, NULL);
  pass(&w, LOOKUP_NEXT_MS);
  answer(1, DNS_RCODE_SERVFAIL);
  pass(&w, LOOKUP_NEXT_MS);
  assert_result(&w, 0, 0);
  answer(0, DNS_RCODE_NXDOMAIN);
  assert_result(&w, 1, SMPL_ENOENT);
  close_world(&w);
}

static void all_silent_is_a_timeout_at_the_named_time(void **state)
{
  (void)state;
  world_t w;
  open_world(&w, 2);
  start_service(&w, NULL);
  pass(&w, LOOKUP_NEXT_MS);
  pass(&w, LOOKUP_TIMEOUT_MS_DEFAULT - LOOKUP_NEXT_MS - 1);
  assert_result(&w, 0, 0);
  assert_asked(1, 1, 0);
  pass(&w, 1);
  assert_result(&w, 1, SMPL_ETIMEOUT);
  close_world(&w);
}

/* c-ares 1.34 gives up early on a server that it knows as quick. */
static void servers_are_asked_again_when_all_were_given_up_before_the_time_is_over(void **state)
{
  (void)state;
  world_t w;
  open_world(&w, 2);
  start_service(&w, NULL);
  pass(&w, LOOKUP_NEXT_MS);
  assert_asked(1, 1, 0);
  fail_with(0, SMPL_ETIMEOUT);
  assert_asked(1, 1, 0);
  fail_with(1, SMPL_ETIMEOUT);
  assert_int_equal(servers[0].total + servers[1].total, 3);
  pass(&w, LOOKUP_NEXT_MS);
  assert_asked(2, 2, 0);
  answer(0, DNS_RCODE_NXDOMAIN);
  assert_result(&w, 1, SMPL_ENOENT);
  close_world(&w);
}

static void a_lost_server_is_told_of_once_a_minute_and_when_it_is_back(void **state)
{
  (void)state;
  world_t w;
  open_world(&w, 1);
  lost_told = back_told = 0;
  for (int i = 1; i <= 3; i++) {
    start_service(&w, NULL);
    fail_with(0, SMPL_ECLOSED);
    assert_result(&w, i, SMPL_ECLOSED);
  }
  assert_int_equal(lost_told, 1);
  for (int i = 4; i <= 6; i++) { /* a user's names make it silent in turn */
    start_service(&w, NULL);
    answer(0, DNS_RCODE_SERVFAIL);
    start_service(&w, NULL);
    fail_with(0, SMPL_ECLOSED);
  }
  assert_int_equal(back_told, 1);
  assert_int_equal(lost_told, 1);
  now_ms += LOOKUP_TELL_MS;
  start_service(&w, NULL);
  fail_with(0, SMPL_ECLOSED);
  assert_int_equal(lost_told, 2);
  close_world(&w);
}

static void a_truncated_answer_is_asked_for_by_tcp_at_the_same_server(void **state)
{
  (void)state;
  world_t w;
  open_world(&w, 2);
  start_service(&w, NULL);
  answer(0, DNS_FLAG_TC);
  assert_asked(2, 0, 0);
  assert_true(servers[0].open[0].tcp);
  answer(0, DNS_RCODE_NXDOMAIN);
  assert_result(&w, 1, SMPL_ENOENT);
  close_world(&w);
}

/* A silent second server beside a slow first one collects what nobody waits for, up to its limit; those
 * who ask notice nothing. */
static void what_nobody_waits_for_is_bounded(void **state)
{
  (void)state;
  world_t w;
  const int part = LOOKUP_LATE_MAX / 4;
  open_world(&w, 2);
  for (int round = 0; round < 5; round++) {
    for (int i = 0; i < part; i++)
      start_service(&w, NULL);
    pass(&w, LOOKUP_NEXT_MS);
    for (int i = 0; i < part; i++)
      answer(0, DNS_RCODE_NXDOMAIN);
    assert_result(&w, (round + 1) * part, SMPL_ENOENT);
  }
  assert_asked(5 * part, LOOKUP_LATE_MAX, 0);
  start_service(&w, NULL);
  fail_with(0, SMPL_ECLOSED); /* now there is no other hope */
  assert_int_equal(servers[1].total, LOOKUP_LATE_MAX + 1);
  for (int i = 0; i < LOOKUP_LATE_MAX; i++)
    answer(1, DNS_RCODE_NOERROR);
  answer(1, DNS_RCODE_NXDOMAIN);
  assert_result(&w, 5 * part + 1, SMPL_ENOENT);
  close_world(&w);
}

static void who_gave_up_has_no_more_servers_asked_and_keeps_his_place_until_it_is_over(void **state)
{
  (void)state;
  world_t w;
  unsigned held = 1;
  dns_name_t name;
  lookup_query_t *q;
  open_world(&w, 2);
  dns_name_from_text("_http._tcp.two.test", &name);
  lookup_cancel(start_service(&w, "greedy"));
  for (; lookup_services(w.lookup, "greedy", &name, on_srvs, &w, &q) == SMPL_OK; held++)
    lookup_cancel(q);
  assert_int_equal(held, LOOKUP_PENDING_MAX / (LOOKUP_PART + 1));
  pass(&w, 2 * LOOKUP_NEXT_MS);
  assert_asked(held, 0, 0);
  pass(&w, LOOKUP_TIMEOUT_MS_DEFAULT);
  lookup_cancel(start_service(&w, "greedy"));
  assert_result(&w, 0, 0);
  close_world(&w);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(only_the_first_server_is_asked_while_it_answers),
      cmocka_unit_test(the_next_server_is_asked_after_a_while_and_the_first_is_not_given_up),
      cmocka_unit_test(after_one_silence_the_server_that_answered_is_asked_first),
      cmocka_unit_test(a_silent_server_is_probed_now_and_then_and_taken_again_when_it_answers),
      cmocka_unit_test(a_probe_that_fails_changes_nothing),
      cmocka_unit_test(whoever_refuses_fails_or_is_not_there_is_followed_by_the_next_at_once),
      cmocka_unit_test(who_failed_is_not_the_answer_while_another_may_give_one),
      cmocka_unit_test(all_silent_is_a_timeout_at_the_named_time),
      cmocka_unit_test(servers_are_asked_again_when_all_were_given_up_before_the_time_is_over),
      cmocka_unit_test(a_lost_server_is_told_of_once_a_minute_and_when_it_is_back),
      cmocka_unit_test(a_truncated_answer_is_asked_for_by_tcp_at_the_same_server),
      cmocka_unit_test(what_nobody_waits_for_is_bounded),
      cmocka_unit_test(who_gave_up_has_no_more_servers_asked_and_keeps_his_place_until_it_is_over),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
