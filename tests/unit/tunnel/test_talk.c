/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/session/talk.c before a speaker that was taken over: it says what it may not, asks for signatures,
 * floods, stands still, and ends in the middle. The module is included whole; the test is the speaker. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/error.h"
#include "tunnel/speaker/template.h"

static int theirs = -1; /* the speaker's end */
static unsigned kills;

static int fake_spawn(template_t *t, int *pair)
{
  int ends[2];
  (void)t;
  assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
  *pair = ends[0];
  theirs = ends[1];
  return SMPL_OK;
}

static void fake_kill(template_t *t)
{
  (void)t;
  kills++;
}

#define template_spawn fake_spawn
#define template_kill  fake_kill
#include "tunnel/session/talk.c"

static template_t nobody;
static speech_t m;
static diag_t diag;

static void say(speech_type_t type)
{
  static speech_t s;
  speech_init(&s, type, 1);
  if (type == SPEECH_EXCHANGED)
    s.exchanged.key_len = 1;
  if (type == SPEECH_SIGN)
    speech_init_bytes(&s, SPEECH_SIGN, "data", 4);
  assert_int_equal(speech_send(theirs, &s, -1), SMPL_OK);
}

static bool is_said(speech_type_t type)
{
  static speech_t s;
  int fd;
  return speech_receive(theirs, &s, SPEECH_FROM_SUPERVISOR, &fd) == SMPL_OK && s.h.type == type;
}

static talk_t *begin(void)
{
  talk_t *t;
  kills = 0;
  assert_int_equal(talk_new(&nobody, &t), SMPL_OK);
  return t;
}

static void finish(talk_t *t)
{
  talk_free(t, 0);
  if (theirs >= 0)
    close(theirs);
  theirs = -1;
}

static unsigned signs;

static size_t sign(void *ctx, const uint8_t *data, size_t len, uint8_t *out)
{
  (void)ctx;
  assert_int_equal(len, 4);
  assert_memory_equal(data, "data", 4);
  memcpy(out, "signed", 6);
  signs++;
  return 6;
}

static int ask(talk_t *t, speech_type_t type)
{
  speech_init(&m, type, 0);
  return talk_ask(t, &m, -1, 50, sign, NULL);
}

static void test_a_question_has_its_answer(void **state)
{
  (void)state;
  talk_t *t = begin();
  say(SPEECH_HELLO);
  say(SPEECH_DONE);
  assert_int_equal(ask(t, SPEECH_SERVICE), SMPL_OK);
  assert_int_equal(m.h.type, SPEECH_DONE);
  assert_true(is_said(SPEECH_SERVICE));
  finish(t);
  assert_int_equal(kills, 0);
}

static void test_one_offer_has_one_signature(void **state)
{
  (void)state;
  talk_t *t = begin();
  signs = 0;
  say(SPEECH_HELLO);
  say(SPEECH_SIGN);
  say(SPEECH_DONE);
  assert_int_equal(ask(t, SPEECH_OFFER), SMPL_OK);
  assert_int_equal(signs, 1);
  assert_true(is_said(SPEECH_OFFER) && is_said(SPEECH_SIGNED));
  say(SPEECH_SIGN);
  say(SPEECH_SIGN);
  assert_int_equal(ask(t, SPEECH_OFFER), SMPL_EPROTO);
  assert_int_equal(signs, 2);
  finish(t);
  assert_int_equal(kills, 1);
}

static void test_no_signature_is_given_but_for_an_offer(void **state)
{
  (void)state;
  static const speech_type_t questions[] = {SPEECH_START, SPEECH_SERVICE, SPEECH_HEAR, SPEECH_PROBE,
                                            SPEECH_OFFER_AGENT};
  for (size_t i = 0; i < sizeof questions / sizeof *questions; i++) {
    talk_t *t = begin();
    signs = 0;
    say(SPEECH_HELLO);
    say(SPEECH_SIGN);
    speech_init(&m, questions[i], 0);
    int fd = questions[i] == SPEECH_START ? STDIN_FILENO : -1;
    assert_int_equal(talk_ask(t, &m, fd, 50, sign, NULL), SMPL_EPROTO);
    assert_int_equal(signs, 0);
    finish(t);
    assert_int_equal(kills, 1);
  }
}

static void test_who_says_something_else_first_or_instead_is_ended(void **state)
{
  (void)state;
  for (speech_type_t type = SPEECH_HELLO; type < SPEECH_CRASHED; type++) {
    talk_t *t = begin();
    if (type != SPEECH_HELLO) {
      say(type);
      assert_int_equal(ask(t, SPEECH_SERVICE), SMPL_EPROTO);
      finish(t);
      assert_int_equal(kills, 1);
      t = begin();
    }
    say(SPEECH_HELLO);
    say(type);
    assert_int_equal(ask(t, SPEECH_HEAR), type == SPEECH_DONE ? SMPL_OK : SMPL_EPROTO);
    finish(t);
  }
}

static void test_who_says_nothing_or_ends_in_the_middle_is_told_apart(void **state)
{
  (void)state;
  talk_t *t = begin();
  assert_int_equal(ask(t, SPEECH_HEAR), SMPL_ETIMEOUT);
  talk_explain(t, SMPL_ETIMEOUT, &diag);
  assert_string_equal(diag.text, "the process that speaks SSH does not answer");
  finish(t);
  t = begin();
  say(SPEECH_HELLO);
  speech_init(&m, SPEECH_CRASHED, 0);
  memcpy(m.text.text, "signal 11\x1b[2J", 13);
  assert_int_equal(speech_send(theirs, &m, -1), SMPL_OK);
  close(theirs);
  theirs = -1;
  int err = ask(t, SPEECH_HEAR);
  assert_int_equal(err, SMPL_ECLOSED);
  diag = (diag_t){0};
  talk_explain(t, err, &diag);
  assert_non_null(strstr(diag.text, "has ended: signal 11"));
  assert_null(strchr(diag.text, '\x1b'));
  finish(t);
}

/* ---- serving ---- */

static struct {
  unsigned messages, gone;
  int err;
} heard;

static void on_message(void *ctx, const speech_t *s)
{
  (void)ctx;
  (void)s;
  heard.messages++;
}

static void on_gone(void *ctx, int err)
{
  (void)ctx;
  heard.gone++;
  heard.err = err;
}

static talk_t *serve(uv_loop_t *loop)
{
  talk_t *t = begin();
  const talk_hooks_t hooks = {on_message, on_gone, NULL};
  memset(&heard, 0, sizeof heard);
  assert_int_equal(uv_loop_init(loop), 0);
  speech_init(&m, SPEECH_SERVE, 0);
  assert_int_equal(talk_tell(t, &m, -1), SMPL_OK);
  assert_true(is_said(SPEECH_SERVE));
  assert_true(talk_stands(t));
  assert_int_equal(talk_serve(t, loop, &hooks), SMPL_OK);
  return t;
}

static void stop_serving(talk_t *t, uv_loop_t *loop)
{
  finish(t);
  uv_run(loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(loop), 0);
}

static void test_a_flood_gives_way_to_the_loop(void **state)
{
  (void)state;
  enum { A_TURN = 64 };
  uv_loop_t loop;
  talk_t *t = serve(&loop);
  for (int i = 0; i < A_TURN + 1; i++)
    say(SPEECH_CLOSED);
  uv_run(&loop, UV_RUN_NOWAIT);
  assert_int_equal(heard.messages, A_TURN);
  uv_run(&loop, UV_RUN_NOWAIT);
  assert_int_equal(heard.messages, A_TURN + 1);
  stop_serving(t, &loop);
}

static void test_who_serves_may_ask_for_no_signature(void **state)
{
  (void)state;
  uv_loop_t loop;
  talk_t *t = serve(&loop);
  say(SPEECH_SIGN);
  say(SPEECH_CLOSED);
  uv_run(&loop, UV_RUN_NOWAIT);
  assert_int_equal(heard.messages, 0);
  assert_int_equal(heard.gone, 1);
  assert_int_equal(heard.err, SMPL_EPROTO);
  assert_int_equal(kills, 1);
  assert_false(talk_stands(t));
  speech_init(&m, SPEECH_KEEPALIVE, 0);
  assert_int_equal(talk_send(t, &m, -1), SMPL_ECLOSED);
  stop_serving(t, &loop);
}

static void test_after_the_end_nothing_more_is_heard(void **state)
{
  (void)state;
  uv_loop_t loop;
  talk_t *t = serve(&loop);
  say(SPEECH_OVER);
  say(SPEECH_OPENED);
  uv_run(&loop, UV_RUN_NOWAIT);
  assert_int_equal(heard.messages, 1);
  assert_int_equal(heard.err, SMPL_EPROTO);
  stop_serving(t, &loop);
}

static void test_who_ends_is_gone(void **state)
{
  (void)state;
  uv_loop_t loop;
  talk_t *t = serve(&loop);
  close(theirs);
  theirs = -1;
  uv_run(&loop, UV_RUN_NOWAIT);
  assert_int_equal(heard.gone, 1);
  assert_int_equal(heard.err, SMPL_ECLOSED);
  stop_serving(t, &loop);
}

/* A speaker that does not read: what it is told waits, in its order, with its descriptors. */
static void test_what_finds_no_room_waits(void **state)
{
  (void)state;
  uv_loop_t loop;
  speech_t s;
  unsigned sent = 0, taken = 0;
  int fd;
  talk_t *t = serve(&loop);
  while (list_empty(&t->queue) || sent % 10 != 0) {
    speech_init(&m, SPEECH_OPEN, ++sent);
    assert_int_equal(talk_send(t, &m, STDIN_FILENO), SMPL_OK);
  }
  while (taken < sent) {
    while (speech_receive(theirs, &s, SPEECH_FROM_SUPERVISOR, &fd) == SMPL_OK) {
      assert_int_equal(s.h.number, ++taken);
      assert_true(fd >= 0);
      close(fd);
    }
    uv_run(&loop, UV_RUN_NOWAIT);
  }
  assert_true(list_empty(&t->queue));
  stop_serving(t, &loop);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_question_has_its_answer),
      cmocka_unit_test(test_one_offer_has_one_signature),
      cmocka_unit_test(test_no_signature_is_given_but_for_an_offer),
      cmocka_unit_test(test_who_says_something_else_first_or_instead_is_ended),
      cmocka_unit_test(test_who_says_nothing_or_ends_in_the_middle_is_told_apart),
      cmocka_unit_test(test_a_flood_gives_way_to_the_loop),
      cmocka_unit_test(test_who_serves_may_ask_for_no_signature),
      cmocka_unit_test(test_after_the_end_nothing_more_is_heard),
      cmocka_unit_test(test_who_ends_is_gone),
      cmocka_unit_test(test_what_finds_no_room_waits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
