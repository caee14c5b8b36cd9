/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/run/learn.c: what becomes of a connection that the server refuses, and of what the bastion
 * announces. The modules are included whole and stand before a made-up session: libssh keeps one error a
 * session, and what is in it at the wrong moment depends on which answers arrive together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libssh/libssh.h>

#include "common/base/error.h"
#include "tunnel/base/say.h"
#include "tunnel/run/carry.h"
#include "tunnel/run/learn.h"

/* ---- the session ---- */

static struct {
  const char *errors[4]; /* what the session's error says after each answer */
  int asked;             /* channels asked for */
  int freed;
  /* instead: "dead" is DEAD, "forbidden" is REFUSED, and the session's error is the last one's */
  bool by_target;
  const char *last;
} server;

static struct {
  int count;
  exit_code_t code;
  char text[DIAG_TEXT_MAX];
  char first[DIAG_TEXT_MAX];
  int neutral; /* told without a reason */
} failed;

static char said[DIAG_TEXT_MAX];

static ssh_channel fake_new(ssh_session session)
{
  (void)session;
  server.asked++;
  return calloc(1, sizeof(bool)); /* whether its question was sent */
}

#define REFUSED "Channel opening failure: channel 43 error (1) administratively prohibited"
#define DEAD    "Channel opening failure: channel 43 error (2) Connection refused"
#define OTHER   "Channel request subsystem failed"

/* The first call sends the question; the answer is there at the second. */
static int fake_open(ssh_channel channel, const char *host, int port, const char *source, int source_port)
{
  (void)port;
  (void)source;
  (void)source_port;
  bool *sent = (bool *)channel;
  if (*sent)
    server.last = strcmp(host, "dead") == 0 ? DEAD : REFUSED;
  int answer = *sent ? SSH_ERROR : SSH_AGAIN;
  *sent = true;
  return answer;
}

static void fake_free(ssh_channel channel)
{
  free((void *)channel);
  server.freed++;
}

static const char *fake_error(void *session)
{
  (void)session;
  return server.by_target ? server.last : server.errors[server.asked - 1];
}

static uint64_t fake_received(const ssh_pump_t *pump)
{
  (void)pump;
  static uint64_t bytes;
  return ++bytes; /* always news */
}

static int fake_connected(ssh_session session)
{
  (void)session;
  return 1;
}

/* What the bastion is asked, and who waits for the answer. */
static struct {
  bool there; /* else a server without smpl-control */
  int count;
  json_t *body;
  ask_answer_cb cb;
  void *ctx;
} question;

static int fake_ask(ask_t *ask, json_t *body, ask_answer_cb cb, void *ctx)
{
  (void)ask;
  json_decref(question.body);
  question.body = body;
  question.cb = cb;
  question.ctx = ctx;
  question.count++;
  return question.there ? SMPL_OK : SMPL_ECLOSED;
}

static bool fake_is_bastion(const ask_t *ask)
{
  (void)ask;
  return question.there;
}

static void fake_fail(life_t *life, exit_code_t code, const char *reason, const char *text)
{
  (void)life;
  (void)reason;
  if (failed.count++ == 0) {
    failed.neutral = 0;
    snprintf(failed.first, sizeof failed.first, "%s", text);
  }
  failed.neutral += strstr(text, ": the server has refused it") != NULL;
  failed.code = code;
  snprintf(failed.text, sizeof failed.text, "%s", text);
}

static void fake_event(say_t *say, const char *event, json_t *more, const char *fmt, ...)
{
  (void)say;
  va_list ap;
  va_start(ap, fmt);
  int n = snprintf(said, sizeof said, "%s: ", event);
  vsnprintf(said + n, sizeof said - (size_t)n, fmt, ap);
  va_end(ap);
  json_decref(more);
}

#define ssh_channel_new          fake_new
#define ssh_channel_open_forward fake_open
#define ssh_channel_free         fake_free
#define ssh_get_error            fake_error
#define ssh_is_connected         fake_connected
#define ssh_pump_received        fake_received
#define ask_question             fake_ask
#define ask_is_bastion           fake_is_bastion
#define life_fail                fake_fail
#define say_event                fake_event
#include "tunnel/run/refusal.c"
#include "tunnel/run/resolve.c"
#include "tunnel/run/why.c"
#include "tunnel/run/carry.c"
#include "tunnel/run/learn.c"

#include <cmocka.h>

/* ---- what stands around it ---- */

static task_t task;
static life_t life;
static link_t link_;
static routes_t routes;
static learn_t learn;
static forward_t forwards[2];
static why_t *why;
static carry_t *carry;

/* Afresh, with a route to port 80 of each of these. */
static void begin(life_state_t state, const char *const *targets, size_t count)
{
  for (size_t i = 0; i < count; i++) {
    forwards[i] = (forward_t){.target_port = 80};
    text_copy(forwards[i].target, sizeof forwards[i].target, targets[i]);
  }
  carry_free(carry);
  why_free(why);
  task = (task_t){.stdio = state == LIFE_UP}; /* each refusal is told */
  life = (life_t){.task = &task, .state = state, .ready = state == LIFE_UP};
  link_ = (link_t){0};
  routes_init(&routes, forwards, count);
  learn = (learn_t){.resolve = {&life, &link_, &routes}};
  why = why_new(&learn.resolve);
  carry = carry_new(&life, &link_, why, NULL, NULL);
  learn.carry = carry;
  server.asked = server.freed = failed.count = question.count = 0;
}

static connection_t *hold_one(size_t route)
{
  return add(carry, &routes.items[route], -1, CONNECTION_HELD);
}

/* ---- refusals ---- */

static void step(connection_t *c)
{
  c->answer = open_channel(c);
  settle(c, false);
}

/* Asks for svc:80 before ready, and has all answers arrive. */
static void ask_until_answered(const char *first, const char *second)
{
  question.there = false;
  begin(LIFE_LEARNING, (const char *const[]){"svc"}, 1);
  server.errors[0] = first;
  server.errors[1] = second;
  server.by_target = false;
  carry_check(carry, &routes.items[0]);
  for (int i = 0; i < 10 && carry->lists[CONNECTION_OPENING].first; i++)
    step(carry->lists[CONNECTION_OPENING].first);
  assert_null(carry->lists[CONNECTION_OPENING].first);
  assert_int_equal(life.asking, 0);
  assert_int_equal(server.freed, server.asked);
  assert_int_equal(failed.count, 1);
}

static void test_a_refusal_and_a_dead_target_are_told_apart(void **state)
{
  (void)state;
  ask_until_answered(REFUSED, NULL);
  assert_int_equal(failed.code, EXIT_REFUSED);
  assert_non_null(strstr(failed.text, "administratively prohibited"));
  assert_int_equal(server.asked, 1);
  ask_until_answered(DEAD, NULL);
  assert_int_equal(failed.code, EXIT_UNREACHABLE);
  assert_non_null(strstr(failed.text, "Connection refused"));
  assert_int_equal(server.asked, 1);
}

/* A server that forbids forwarding and has no smpl-control answers both at once: 7, whichever answer comes
 * last. */
static void test_a_refusal_that_another_answer_covers_is_asked_for_again(void **state)
{
  (void)state;
  ask_until_answered(OTHER, REFUSED);
  assert_int_equal(server.asked, 2);
  assert_int_equal(failed.code, EXIT_REFUSED);
  ask_until_answered(OTHER, DEAD);
  assert_int_equal(failed.code, EXIT_UNREACHABLE);
  assert_non_null(strstr(failed.text, "Connection refused"));
}

static void test_it_is_asked_for_again_once_and_no_more(void **state)
{
  (void)state;
  ask_until_answered(OTHER, OTHER);
  assert_int_equal(server.asked, 2);
  assert_int_equal(failed.code, EXIT_UNREACHABLE);
  assert_string_equal(failed.text, "svc:80: the target cannot be reached");
}

/* What is told of each target, when so many connections to each of them are refused in one turn. */
static void refuse_together(const char *const *targets, size_t count, int each)
{
  question.there = false;
  begin(LIFE_UP, targets, count);
  server.by_target = true;
  for (size_t i = 0; i < count; i++) {
    for (int n = 0; n < each; n++)
      ask_for(hold_one(i));
  }
  for (int i = 0; i < 200 && carry_count(carry) > 0; i++)
    carry_step(carry);
  assert_int_equal(carry_count(carry), 0);
  assert_int_equal(server.freed, server.asked);
  assert_int_equal(failed.count, count * (size_t)each);
}

/* libssh keeps the last one's reason. */
static void test_each_of_two_targets_that_are_refused_at_once_has_its_own_reason(void **state)
{
  (void)state;
  refuse_together((const char *const[]){"forbidden", "dead"}, 2, 1);
  assert_int_equal(server.asked, 4);
  assert_non_null(strstr(failed.first, "forbidden:80: the server does not allow it"));
  assert_string_equal(failed.text, "dead:80: Connection refused");
  refuse_together((const char *const[]){"dead"}, 1, 3); /* the same for all: nothing to be asked again */
  assert_int_equal(server.asked, 3);
  assert_string_equal(failed.text, "dead:80: Connection refused");
}

static void test_of_many_that_are_refused_at_once_so_many_are_asked_for_again(void **state)
{
  (void)state;
  refuse_together((const char *const[]){"forbidden", "dead"}, 2, TUNNEL_UNCLEAR_MAX / 2);
  assert_int_equal(failed.neutral, 0);
  refuse_together((const char *const[]){"forbidden", "dead"}, 2, TUNNEL_UNCLEAR_MAX / 2 + 1);
  assert_int_equal(failed.neutral, 2);
  assert_int_equal(server.asked, 2 * TUNNEL_UNCLEAR_MAX + 2);
}

/* A server of which every turn has two targets' refusals: whoever is mixed again and again is told without a
 * reason. */
static void test_one_connection_is_asked_for_alone_so_often_and_no_more(void **state)
{
  (void)state;
  question.there = false;
  begin(LIFE_UP, (const char *const[]){"dead"}, 1);
  server.by_target = true;
  connection_t *c = hold_one(0);
  ask_for(c);
  for (int i = 0; i < TUNNEL_ALONE_MAX; i++) {
    c->answer = open_channel(c);
    settle(c, true);
    assert_int_equal(failed.count, 0);
    assert_int_equal(carry->lists[CONNECTION_UNCLEAR].count, 1);
    carry_step(carry); /* alone, until somebody else is refused in the same turn */
    assert_int_equal(c->alone, i + 1);
  }
  c->answer = open_channel(c);
  settle(c, true);
  assert_int_equal(carry_count(carry), 0);
  assert_int_equal(server.asked, 1 + TUNNEL_ALONE_MAX);
  assert_int_equal(failed.count, 1);
  assert_int_equal(failed.neutral, 1);
}

/* ---- why ---- */

/* One connection to svc:80, asked for and refused; with socks_fd to a target of its own. */
static void refuse_one(int socks_fd)
{
  connection_t *c = hold_one(0);
  if (socks_fd >= 0) {
    c->fd = socks_fd;
    c->socks = true;
    c->host = strdup("elsewhere");
    c->port = 81;
  }
  ask_for(c);
  for (int i = 0; i < 10 && carry->lists[CONNECTION_OPENING].first; i++)
    step(carry->lists[CONNECTION_OPENING].first);
  assert_null(carry->lists[CONNECTION_OPENING].first);
}

static void at_a_bastion(void)
{
  begin(LIFE_UP, (const char *const[]){"svc"}, 1);
  for (size_t i = 0; i < sizeof server.errors / sizeof *server.errors; i++)
    server.errors[i] = REFUSED; /* all that libssh lets a bastion say */
  server.by_target = false;
  question.there = true;
}

static void answer_why(const char *text)
{
  json_t *reply = json_loads(text, 0, NULL);
  assert_non_null(reply);
  question.cb(question.ctx, reply);
  json_decref(reply);
}

static void expect_question(const char *target, int channel)
{
  assert_string_equal(json_string_value(json_object_get(question.body, "cmd")), "why");
  assert_string_equal(json_string_value(json_object_get(question.body, "target")), target);
  assert_int_equal(json_integer_value(json_object_get(question.body, "channel")), channel);
}

/* A name that is learnt while the channel is being asked for made it another target, of which no refusal was
 * known. */
static void test_the_bastion_is_asked_about_the_channel_itself_by_the_name_it_was_asked_for(void **state)
{
  (void)state;
  at_a_bastion();
  refuse_one(-1);
  expect_question("svc", 1);
  answer_why("{\"ok\":true,\"allowed\":true,\"last\":null}");
  connection_t *c = hold_one(0);
  ask_for(c);
  text_copy(routes.items[0].host, sizeof routes.items[0].host, "svc.internal.");
  step(c);
  expect_question("svc", 2);
  answer_why(
      "{\"ok\":true,\"allowed\":true,\"last\":{\"reason\":\"connection-refused\",\"text\":\"it refused\"}}");
  assert_int_equal(failed.code, EXIT_UNREACHABLE);
  assert_non_null(strstr(failed.text, "it refused"));
  assert_null(why->first);
}

static void test_a_reason_that_is_not_told_is_not_guessed(void **state)
{
  (void)state;
  static const char *const answers[] = {
      "{\"ok\":true,\"allowed\":true,\"reason\":\"none\",\"last\":null}",
      "{\"ok\":true,\"allowed\":false,\"reason\":\"not-granted\",\"text\":\"svc:80: x\",\"last\":null}",
      "{\"ok\":false,\"reason\":\"none\",\"text\":\"too many questions at once\"}"};
  for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
    at_a_bastion();
    refuse_one(-1);
    answer_why(answers[i]);
    assert_int_equal(failed.count, 1);
    assert_string_equal(failed.text, "svc:80: the bastion has refused it and does not say why");
  }
}

static void test_of_many_refusals_at_once_the_first_and_the_last_are_asked_about(void **state)
{
  (void)state;
  enum { MANY = 4 };
  at_a_bastion();
  for (int i = 0; i < MANY; i++)
    refuse_one(-1);
  assert_int_equal(question.count, 1);
  expect_question("svc", 1);
  answer_why("{\"ok\":true,\"last\":{\"reason\":\"connection-refused\"}}");
  assert_int_equal(question.count, 2);
  expect_question("svc", MANY);
  answer_why("{\"ok\":true,\"last\":{\"reason\":\"too-many-channels\"}}");
  assert_int_equal(question.count, 2);
  assert_int_equal(failed.count, 2);
  assert_int_equal(failed.code, EXIT_REFUSED);
  assert_null(why->first);
}

static void test_a_socks_client_is_told_the_channels_own_reason(void **state)
{
  (void)state;
  static const struct {
    const char *answer;
    socks_code_t code;
  } cases[] = {
      {"{\"ok\":true,\"last\":{\"reason\":\"connection-refused\"}}", SOCKS_REFUSED},
      {"{\"ok\":true,\"last\":{\"reason\":\"unknown-name\"}}", SOCKS_HOST_UNREACHABLE},
      {"{\"ok\":true,\"last\":{\"reason\":\"not-granted\"}}", SOCKS_NOT_ALLOWED},
      {"{\"ok\":true,\"last\":null}", SOCKS_FAILED},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    at_a_bastion();
    uint8_t said_there[SOCKS_REPLY_SIZE];
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    refuse_one(ends[0]);
    expect_question("elsewhere", 1);
    answer_why(cases[i].answer);
    assert_int_equal(recv(ends[1], said_there, sizeof said_there, MSG_DONTWAIT), sizeof said_there);
    assert_int_equal(said_there[1], cases[i].code);
    assert_int_equal(recv(ends[1], said_there, sizeof said_there, MSG_DONTWAIT), 0);
    close(ends[1]);
  }
}

/* ---- announcements ---- */

static void announce(const char *event)
{
  json_t *json = json_loads(event, 0, NULL);
  assert_non_null(json);
  said[0] = '\0';
  begin(LIFE_UP, (const char *const[]){"svc"}, 1);
  learn_event(&learn, json);
  json_decref(json);
}

static void test_what_ends_the_session_soon_is_told_in_its_own_words(void **state)
{
  (void)state;
  announce("{\"event\":\"expiring\",\"reason\":\"idle\",\"left_s\":60,\"text\":\"x\"}");
  assert_string_equal(
      said, "expiring: nothing has been carried for long: the bastion ends the session in 60 s unless "
            "something is");
  announce("{\"event\":\"expiring\",\"reason\":\"session-limit\",\"left_s\":59}");
  assert_string_equal(said, "expiring: the session's time is nearly over: the bastion ends it in 59 s");
  announce("{\"event\":\"expiring\",\"reason\":\"shutdown\",\"left_s\":5,\"text\":\"the bastion is being "
           "stopped\"}");
  assert_string_equal(said, "expiring: the bastion is being stopped (in 5 s)");
  announce("{\"event\":\"expiring\",\"reason\":\"not thought of yet\",\"left_s\":5}");
  assert_string_equal(said, "expiring: the bastion ends the session (in 5 s)");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_refusal_and_a_dead_target_are_told_apart),
      cmocka_unit_test(test_a_refusal_that_another_answer_covers_is_asked_for_again),
      cmocka_unit_test(test_it_is_asked_for_again_once_and_no_more),
      cmocka_unit_test(test_each_of_two_targets_that_are_refused_at_once_has_its_own_reason),
      cmocka_unit_test(test_one_connection_is_asked_for_alone_so_often_and_no_more),
      cmocka_unit_test(test_of_many_that_are_refused_at_once_so_many_are_asked_for_again),
      cmocka_unit_test(test_the_bastion_is_asked_about_the_channel_itself_by_the_name_it_was_asked_for),
      cmocka_unit_test(test_a_reason_that_is_not_told_is_not_guessed),
      cmocka_unit_test(test_of_many_refusals_at_once_the_first_and_the_last_are_asked_about),
      cmocka_unit_test(test_a_socks_client_is_told_the_channels_own_reason),
      cmocka_unit_test(test_what_ends_the_session_soon_is_told_in_its_own_words),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
