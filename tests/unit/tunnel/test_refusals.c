/* What becomes of a connection that the server refuses, and of what the bastion announces. carry.c and learn.c are included
 * whole and stand before a made-up session: libssh keeps one error a session, and what is in it at the wrong moment depends
 * on which answers arrive together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <libssh/libssh.h>

#include "common/error.h"
#include "tunnel/tunnel_state.h"

/* ---- the session ---- */

static struct {
  const char *errors[4]; /* what the session's error says after each answer */
  int asked;             /* channels asked for */
  int freed;
} server;

static struct {
  int count;
  exit_code_t code;
  char text[DIAG_TEXT_MAX];
} failed;

static char said[DIAG_TEXT_MAX];

static ssh_channel fake_new(ssh_session session)
{
  (void)session;
  static int nothing;
  server.asked++;
  return (ssh_channel)&nothing;
}

/* The first call sends the question; the answer is there at the second. */
static int fake_open(ssh_channel channel, const char *host, int port, const char *source, int source_port)
{
  (void)channel;
  (void)host;
  (void)port;
  (void)source;
  (void)source_port;
  static int calls;
  return ++calls % 2 ? SSH_AGAIN : SSH_ERROR;
}

static void fake_free(ssh_channel channel)
{
  (void)channel;
  server.freed++;
}

static const char *fake_error(void *session)
{
  (void)session;
  return server.errors[server.asked - 1];
}

static int fake_connected(ssh_session session)
{
  (void)session;
  return 1;
}

static int fake_ask(ask_t *ask, json_t *body, ask_answer_cb cb, void *ctx)
{
  (void)ask;
  (void)cb;
  (void)ctx;
  json_decref(body);
  return SMPL_ECLOSED; /* a server without smpl-control */
}

static void fake_fail(tunnel_t *t, exit_code_t code, const char *reason, const char *text)
{
  (void)t;
  (void)reason;
  failed.count++;
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

void tunnel_stop(tunnel_t *t)
{
  (void)t;
}

void tunnel_hurry(tunnel_t *t)
{
  (void)t;
}

#define ssh_channel_new          fake_new
#define ssh_channel_open_forward fake_open
#define ssh_channel_free         fake_free
#define ssh_get_error            fake_error
#define ssh_is_connected         fake_connected
#define ask_question             fake_ask
#define tunnel_fail              fake_fail
#define say_event                fake_event
#include "tunnel/carry.c"
#include "tunnel/learn.c"

#include <cmocka.h>

/* ---- refusals ---- */

#define REFUSED "Channel opening failure: channel 43 error (1) administratively prohibited"
#define DEAD    "Channel opening failure: channel 43 error (2) Connection refused"
#define OTHER   "Channel request subsystem failed"

/* Asks for svc:80 before ready, and has all answers arrive. */
static void ask_until_answered(const char *first, const char *second)
{
  static tunnel_t t; /* too large for the stack */
  static forward_t forward = {.target = "svc", .target_port = 80};
  t = (tunnel_t){.state = TUNNEL_LEARNING, .route_count = 1};
  t.routes[0] = (route_t){.tunnel = &t, .forward = &forward, .port = 80, .host = "svc", .name = "svc"};
  server.errors[0] = first;
  server.errors[1] = second;
  server.asked = server.freed = 0;
  failed.count = 0;
  carry_check(&t, &t.routes[0]);
  for (int i = 0; i < 10 && t.lists[CONNECTION_OPENING].first; i++)
    step(t.lists[CONNECTION_OPENING].first);
  assert_null(t.lists[CONNECTION_OPENING].first);
  assert_int_equal(t.asking, 0);
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

/* A server that forbids forwarding and has no smpl-control answers both at once: 7, whichever answer comes last. */
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

/* ---- announcements ---- */

static void announce(const char *event)
{
  static tunnel_t t;
  json_t *json = json_loads(event, 0, NULL);
  assert_non_null(json);
  said[0] = '\0';
  learn_event(&t, json);
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
      cmocka_unit_test(test_what_ends_the_session_soon_is_told_in_its_own_words),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
