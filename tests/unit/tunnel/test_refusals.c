/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/run/learn.c, carry.c, why.c: what becomes of a connection that the server refuses, and of what the
 * bastion announces. The modules are included whole and stand before a made-up speaker: libssh keeps one
 * error a session, and what is in it at the wrong moment depends on which answers arrive together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "common/base/error.h"
#include "tunnel/base/say.h"
#include "tunnel/run/carry.h"
#include "tunnel/run/learn.h"

/* ---- the speaker ---- */

static struct {
  const char *errors[4]; /* what the session's error says after each answer */
  uint32_t asked;        /* channels asked for */
  uint32_t given_up;
  speech_open_t last;
  bool gone;
} speaker;

static struct {
  int count;
  exit_code_t code;
  char text[DIAG_TEXT_MAX];
  char first[DIAG_TEXT_MAX];
  int neutral; /* told without a reason */
} failed;

static char said[DIAG_TEXT_MAX];

#define REFUSED "Channel opening failure: channel 43 error (1) administratively prohibited"
#define DEAD    "Channel opening failure: channel 43 error (2) Connection refused"
#define OTHER   "Channel request subsystem failed"

static int fake_send(talk_t *talk, const speech_t *m, int fd)
{
  (void)talk;
  (void)fd;
  if (speaker.gone)
    return SMPL_ECLOSED;
  if (m->h.type == SPEECH_OPEN) {
    assert_int_equal(m->h.number, ++speaker.asked);
    speaker.last = m->open;
  }
  speaker.given_up += m->h.type == SPEECH_GIVE_UP;
  return SMPL_OK;
}

static bool fake_stands(const talk_t *talk)
{
  (void)talk;
  return true;
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

#define talk_send      fake_send
#define talk_stands    fake_stands
#define ask_question   fake_ask
#define ask_is_bastion fake_is_bastion
#define life_fail      fake_fail
#define say_event      fake_event
#include "tunnel/run/refusal.c"
#include "tunnel/run/resolve.c"
#include "tunnel/run/why.c"
#include "tunnel/run/carry.c"
#include "tunnel/run/learn.c"

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
  link_ = (link_t){.talk = (talk_t *)&speaker};
  routes_init(&routes, forwards, count);
  learn = (learn_t){.resolve = {&life, &link_, &routes}};
  why = why_new(&learn.resolve);
  carry = carry_new(&life, &link_, why, NULL, NULL);
  learn.carry = carry;
  speaker.asked = speaker.given_up = 0;
  speaker.gone = false;
  failed.count = question.count = 0;
}

static connection_t *hold_one(size_t route)
{
  return add(carry, &routes.items[route], -1, CONNECTION_HELD);
}

static void at_a_bastion(void)
{
  begin(LIFE_UP, (const char *const[]){"svc"}, 1);
  question.there = true;
}

/* ---- refusals ---- */

static bool hear(speech_type_t type, uint32_t number, bool mixed, const char *error)
{
  speech_t m;
  speech_init(&m, type, number);
  if (type == SPEECH_REFUSED) {
    m.text.value = mixed;
    text_copy(m.text.text, sizeof m.text.text, error);
  }
  return carry_heard(carry, &m);
}

/* Asks for svc:80 before ready, and has all answers arrive. */
static void ask_until_answered(const char *first, const char *second)
{
  question.there = false;
  begin(LIFE_LEARNING, (const char *const[]){"svc"}, 1);
  speaker.errors[0] = first;
  speaker.errors[1] = second;
  carry_check(carry, &routes.items[0]);
  for (int i = 0; i < 4 && carry->lists[CONNECTION_OPENING].first; i++)
    assert_true(hear(SPEECH_REFUSED, speaker.asked, false, speaker.errors[speaker.asked - 1]));
  assert_null(carry->lists[CONNECTION_OPENING].first);
  assert_int_equal(life.asking, 0);
  assert_int_equal(failed.count, 1);
}

static void test_a_refusal_and_a_dead_target_are_told_apart(void **state)
{
  (void)state;
  ask_until_answered(REFUSED, NULL);
  assert_int_equal(failed.code, EXIT_REFUSED);
  assert_non_null(strstr(failed.text, "administratively prohibited"));
  assert_int_equal(speaker.asked, 1);
  ask_until_answered(DEAD, NULL);
  assert_int_equal(failed.code, EXIT_UNREACHABLE);
  assert_non_null(strstr(failed.text, "Connection refused"));
  assert_int_equal(speaker.asked, 1);
}

/* A server that forbids forwarding and has no smpl-control answers both at once: 7, whichever answer comes
 * last. */
static void test_a_refusal_that_another_answer_covers_is_asked_for_again(void **state)
{
  (void)state;
  ask_until_answered(OTHER, REFUSED);
  assert_int_equal(speaker.asked, 2);
  assert_int_equal(failed.code, EXIT_REFUSED);
  ask_until_answered(OTHER, DEAD);
  assert_int_equal(failed.code, EXIT_UNREACHABLE);
  assert_non_null(strstr(failed.text, "Connection refused"));
}

static void test_it_is_asked_for_again_once_and_no_more(void **state)
{
  (void)state;
  ask_until_answered(OTHER, OTHER);
  assert_int_equal(speaker.asked, 2);
  assert_int_equal(failed.code, EXIT_UNREACHABLE);
  assert_string_equal(failed.text, "svc:80: the target cannot be reached");
}

static const char *error_of(const char *host)
{
  return strcmp(host, "dead") == 0 ? DEAD : REFUSED;
}

/* All that are asked for are refused in one turn: each with the last one's error. */
static void refuse_all(void)
{
  connection_t *all[64];
  size_t count = 0;
  bool mixed = false;
  for (connection_t *c = carry->lists[CONNECTION_OPENING].first; c; c = c->next) {
    assert_true(count < 64);
    all[count++] = c;
    mixed |= strcmp(c->asked_host, all[0]->asked_host) != 0;
  }
  const char *error = count > 0 ? error_of(all[count - 1]->asked_host) : "";
  for (size_t i = 0; i < count; i++)
    assert_true(hear(SPEECH_REFUSED, all[i]->nth, mixed, error));
}

/* What is told of each target, when so many connections to each of them are refused in one turn. */
static void refuse_together(const char *const *targets, size_t count, int each)
{
  question.there = false;
  begin(LIFE_UP, targets, count);
  for (size_t i = 0; i < count; i++) {
    for (int n = 0; n < each; n++)
      ask_for(hold_one(i));
  }
  for (int i = 0; i < 200 && carry_count(carry) > 0; i++) {
    refuse_all();
    carry_step(carry);
  }
  assert_int_equal(carry_count(carry), 0);
  assert_int_equal(failed.count, count * (size_t)each);
}

/* libssh keeps the last one's reason. */
static void test_each_of_two_targets_that_are_refused_at_once_has_its_own_reason(void **state)
{
  (void)state;
  refuse_together((const char *const[]){"forbidden", "dead"}, 2, 1);
  assert_int_equal(speaker.asked, 4);
  assert_non_null(strstr(failed.first, "forbidden:80: the server does not allow it"));
  assert_string_equal(failed.text, "dead:80: Connection refused");
  refuse_together((const char *const[]){"dead"}, 1, 3); /* the same for all: nothing to be asked again */
  assert_int_equal(speaker.asked, 3);
  assert_string_equal(failed.text, "dead:80: Connection refused");
}

static void test_of_many_that_are_refused_at_once_so_many_are_asked_for_again(void **state)
{
  (void)state;
  refuse_together((const char *const[]){"forbidden", "dead"}, 2, TUNNEL_UNCLEAR_MAX / 2);
  assert_int_equal(failed.neutral, 0);
  refuse_together((const char *const[]){"forbidden", "dead"}, 2, TUNNEL_UNCLEAR_MAX / 2 + 1);
  assert_int_equal(failed.neutral, 2);
  assert_int_equal(speaker.asked, 2 * TUNNEL_UNCLEAR_MAX + 2);
}

/* A server of which every turn has two targets' refusals: whoever is mixed again and again is told without a
 * reason. */
static void test_one_connection_is_asked_for_alone_so_often_and_no_more(void **state)
{
  (void)state;
  question.there = false;
  begin(LIFE_UP, (const char *const[]){"dead"}, 1);
  connection_t *c = hold_one(0);
  ask_for(c);
  for (int i = 0; i < TUNNEL_ALONE_MAX; i++) {
    hear(SPEECH_REFUSED, speaker.asked, true, DEAD);
    assert_int_equal(failed.count, 0);
    assert_int_equal(carry->lists[CONNECTION_UNCLEAR].count, 1);
    carry_step(carry); /* alone, until somebody else is refused in the same turn */
    assert_int_equal(c->alone, i + 1);
  }
  hear(SPEECH_REFUSED, speaker.asked, true, DEAD);
  assert_int_equal(carry_count(carry), 0);
  assert_int_equal(speaker.asked, 1 + TUNNEL_ALONE_MAX);
  assert_int_equal(failed.count, 1);
  assert_int_equal(failed.neutral, 1);
}

/* ---- what a speaker may tell of ---- */

static void test_of_connections_that_were_not_asked_for_nothing_may_be_told(void **state)
{
  (void)state;
  static const speech_type_t types[] = {SPEECH_OPENED, SPEECH_REFUSED, SPEECH_CLOSED};
  at_a_bastion();
  ask_for(hold_one(0));
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    assert_false(hear(types[i], speaker.asked + 1, false, DEAD));
  assert_int_equal(carry_count_in(carry, CONNECTION_OPENING), 1);
  assert_true(hear(SPEECH_CLOSED, speaker.asked, false, "")); /* it is not open: of no effect */
  assert_int_equal(carry_count_in(carry, CONNECTION_OPENING), 1);
}

static void test_a_connection_is_ours_too_until_it_has_ended(void **state)
{
  (void)state;
  int ends[2];
  char byte;
  at_a_bastion();
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  carry_take(carry, &routes.items[0], ends[0], NULL, 0);
  assert_true(hear(SPEECH_OPENED, 1, false, ""));
  assert_true(hear(SPEECH_OPENED, 1, false, "")); /* twice is once */
  assert_int_equal(carry_connections(carry), 1);
  assert_int_equal(recv(ends[1], &byte, 1, MSG_DONTWAIT), -1);
  task.stdio = false;
  assert_true(hear(SPEECH_CLOSED, 1, false, ""));
  assert_int_equal(recv(ends[1], &byte, 1, MSG_DONTWAIT), 0);
  assert_int_equal(carry_count(carry), 0);
  close(ends[1]);
}

static void test_one_that_is_not_answered_in_time_is_given_up(void **state)
{
  (void)state;
  at_a_bastion();
  connection_t *c = hold_one(0);
  ask_for(c);
  carry_step(carry);
  assert_int_equal(speaker.given_up, 0);
  c->until = clock_mono_ms();
  carry_step(carry);
  assert_int_equal(speaker.given_up, 1);
  assert_string_equal(failed.text, "svc:80: the bastion does not answer in time");
  assert_true(hear(SPEECH_OPENED, 1, false, "")); /* it may have been on its way */
  assert_int_equal(carry_count(carry), 0);
}

static void test_without_a_speaker_it_waits_for_the_next(void **state)
{
  (void)state;
  int ends[2];
  at_a_bastion();
  speaker.gone = true;
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  carry_take(carry, &routes.items[0], ends[0], NULL, 0);
  link_.talk = NULL;
  carry_lost(carry);
  assert_int_equal(carry_count_in(carry, CONNECTION_HELD), 1);
  close(ends[1]);
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
  assert_true(hear(SPEECH_REFUSED, speaker.asked, false, REFUSED));
  assert_null(carry->lists[CONNECTION_OPENING].first);
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
  assert_true(hear(SPEECH_REFUSED, c->nth, false, REFUSED));
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
      cmocka_unit_test(test_of_connections_that_were_not_asked_for_nothing_may_be_told),
      cmocka_unit_test(test_a_connection_is_ours_too_until_it_has_ended),
      cmocka_unit_test(test_one_that_is_not_answered_in_time_is_given_up),
      cmocka_unit_test(test_without_a_speaker_it_waits_for_the_next),
      cmocka_unit_test(test_the_bastion_is_asked_about_the_channel_itself_by_the_name_it_was_asked_for),
      cmocka_unit_test(test_a_reason_that_is_not_told_is_not_guessed),
      cmocka_unit_test(test_of_many_refusals_at_once_the_first_and_the_last_are_asked_about),
      cmocka_unit_test(test_a_socks_client_is_told_the_channels_own_reason),
      cmocka_unit_test(test_what_ends_the_session_soon_is_told_in_its_own_words),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
