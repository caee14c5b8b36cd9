#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/services/keycheck.h"
#include "common/clock.h"
#include "common/error.h"
#include "tests/unit/app/svc_fake.h"

#define ACCOUNT "d290f1ee-6c54-4b01-90e6-d701748f0851"
#define KEY_ID  "b2c3d4e5-f6a7-4901-bcde-f12345678901"

enum { QUESTIONS_MAX = 16384 };

/* The tests' time: stands in for common/clock.c. */
static uint64_t now = 1000;

uint64_t clock_mono_ms(void)
{
  return now;
}

uint64_t clock_mono_us(void)
{
  return now * 1000;
}

uint64_t clock_wall_ms(void)
{
  return now;
}

char *clock_format_iso(char *buf, uint64_t wall_ms)
{
  (void)wall_ms;
  buf[0] = '\0';
  return buf;
}

char *clock_wall_iso(char *buf)
{
  return clock_format_iso(buf, 0);
}

/* Questions that the check asked, to be answered by the test. */
static struct {
  sister_cb cb;
  void *ctx;
  char key[KEY_TEXT_MAX];
} questions[QUESTIONS_MAX];
static size_t asked;
static int ask_error;

static int ask(void *ctx, const json_t *question, const char *id, sister_cb cb, void *cb_ctx)
{
  (void)ctx;
  assert_non_null(json_string_value(json_object_get(question, "key")));
  assert_string_equal(id, "test-request");
  if (ask_error)
    return ask_error;
  assert_true(asked < QUESTIONS_MAX);
  snprintf(questions[asked].key, KEY_TEXT_MAX, "%s", json_string_value(json_object_get(question, "key")));
  questions[asked].cb = cb;
  questions[asked++].ctx = cb_ctx;
  return SMPL_OK;
}

static void answer(size_t i, int err, int status, const char *body)
{
  json_t *json = body != NULL ? json_loads(body, 0, NULL) : NULL;
  questions[i].cb(questions[i].ctx,
                  &(sister_reply_t){.err = err, .status = status, .body = json, .why = "why"});
  json_decref(json);
}

#define ACTIVE                                                                                               \
  "{\"active\": true, \"account\": \"" ACCOUNT "\", \"key_id\": \"" KEY_ID "\", \"expires_in_ms\": null}"

static keycheck_t *check;
static char key[KEY_TEXT_MAX];

static int set_up(void **state)
{
  (void)state;
  asked = 0;
  ask_error = 0;
  assert_int_equal(key_generate(key), SMPL_OK);
  return keycheck_new(ask, NULL, &check);
}

static int tear_down(void **state)
{
  (void)state;
  keycheck_free(check);
  return 0;
}

static void go_on(request_t *request, void *service, const caller_t *caller)
{
  (void)service;
  assert_string_equal(caller->account, ACCOUNT);
  assert_string_equal(caller->key_id, KEY_ID);
  request_reply(request, 200, NULL);
}

static request_t *send_key(const char *text)
{
  request_t *r = fake_request(NULL, text, NULL, NULL);
  keycheck_guard(check, r, go_on, NULL);
  return r;
}

static void expect(request_t *r, int status)
{
  assert_int_equal(fake_replies(r), status == 0 ? 0 : 1);
  assert_int_equal(fake_status(r), status);
  fake_request_free(r);
}

static void without_a_key_or_with_a_mistyped_one_nobody_is_asked(void **state)
{
  char wrong[KEY_TEXT_MAX];
  (void)state;
  expect(send_key(NULL), 401);
  expect(send_key("hello"), 401);
  memcpy(wrong, key, sizeof wrong);
  wrong[20] = wrong[20] == 'a' ? 'b' : 'a';
  request_t *r = send_key(wrong);
  assert_string_equal(fake_header(r), "WWW-Authenticate: Bearer");
  expect(r, 401);
  assert_int_equal(asked, 0);
}

static void an_active_key_is_asked_about_once_in_30_seconds(void **state)
{
  (void)state;
  request_t *r = send_key(key);
  answer(0, 0, 200, ACTIVE);
  expect(r, 200);
  now += KEYCHECK_ACTIVE_MS - 1;
  expect(send_key(key), 200);
  assert_int_equal(asked, 1);
  now += 1;
  r = send_key(key);
  assert_int_equal(asked, 2);
  answer(1, 0, 200, "{\"active\": false}");
  expect(r, 401);
}

static void an_unknown_key_is_asked_about_once_in_5_seconds(void **state)
{
  (void)state;
  request_t *r = send_key(key);
  answer(0, 0, 200, "{\"active\": false}");
  expect(r, 401);
  now += KEYCHECK_REFUSED_MS - 1;
  expect(send_key(key), 401);
  assert_int_equal(asked, 1);
  now += 1;
  r = send_key(key);
  answer(1, 0, 200, ACTIVE);
  expect(r, 200);
}

static void a_key_is_not_believed_beyond_its_expiry(void **state)
{
  (void)state;
  request_t *r = send_key(key);
  answer(0, 0, 200,
         "{\"active\": true, \"account\": \"" ACCOUNT "\", \"key_id\": \"" KEY_ID
         "\", \"expires_in_ms\": 700}");
  expect(r, 200);
  now += 699;
  expect(send_key(key), 200);
  now += 1;
  r = send_key(key);
  assert_int_equal(asked, 2);
  answer(1, 0, 200, "{\"active\": false}");
  expect(r, 401);
}

static void requests_for_one_key_share_one_question(void **state)
{
  request_t *r[5];
  (void)state;
  for (int i = 0; i < 5; i++)
    r[i] = send_key(key);
  assert_int_equal(asked, 1);
  answer(0, 0, 200, ACTIVE);
  for (int i = 0; i < 5; i++)
    expect(r[i], 200);
}

static void no_usable_answer_is_no_access_and_is_not_remembered(void **state)
{
  static const struct {
    int err, status;
    const char *body;
  } answers[] = {
      {SMPL_ECLOSED, 0, NULL},
      {SMPL_ETIMEOUT, 0, NULL},
      {0, 500, ACTIVE},
      {0, 404, ACTIVE},
      {0, 201, ACTIVE},
      {0, 200, NULL},
      {0, 200, "{}"},
      {0, 200, "[true]"},
      {0, 200, "{\"active\": \"true\"}"},
      {0, 200, "{\"active\": true}"},
      {0, 200, "{\"active\": true, \"account\": \"x\", \"key_id\": \"" KEY_ID "\"}"},
      {0, 200, "{\"active\": true, \"account\": \"" ACCOUNT "\", \"key_id\": 5}"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
    request_t *r = send_key(key);
    assert_int_equal(asked, i + 1);
    answer(i, answers[i].err, answers[i].status, answers[i].body);
    assert_string_equal(fake_header(r), "Retry-After: 1");
    expect(r, 503);
  }
  ask_error = SMPL_ELIMIT;
  expect(send_key(key), 503);
}

/* Fills one of the cache's lists with made-up keys. */
static void fill(size_t count, const char *body)
{
  char other[KEY_TEXT_MAX];
  for (size_t i = 0; i < count; i++) {
    assert_int_equal(key_generate(other), SMPL_OK);
    request_t *r = send_key(other);
    answer(asked - 1, 0, 200, body);
    fake_request_free(r);
  }
}

static void the_cache_keeps_its_limit_and_made_up_keys_do_not_drive_out_real_ones(void **state)
{
  size_t active, refused, waiting;
  (void)state;
  request_t *r = send_key(key);
  answer(0, 0, 200, ACTIVE);
  expect(r, 200);
  fill(KEYCHECK_REFUSED_MAX + 10, "{\"active\": false}");
  keycheck_counts(check, &active, &refused, &waiting);
  assert_int_equal(active, 1);
  assert_int_equal(refused, KEYCHECK_REFUSED_MAX);
  size_t before = asked;
  expect(send_key(key), 200);
  assert_int_equal(asked, before);
  fill(KEYCHECK_ACTIVE_MAX - 1, ACTIVE);
  expect(send_key(key), 200); /* full, and this one is now the newest */
  assert_int_equal(asked, before + KEYCHECK_ACTIVE_MAX - 1);
  fill(1, ACTIVE);
  keycheck_counts(check, &active, &refused, &waiting);
  assert_int_equal(active, KEYCHECK_ACTIVE_MAX);
  before = asked;
  expect(send_key(key), 200);
  assert_int_equal(asked, before);
}

#define INACTIVE "{\"active\": false}"

/* The key was active once, and must be asked about again. */
static void make_known(const char *text)
{
  request_t *r = send_key(text);
  answer(asked - 1, 0, 200, ACTIVE);
  expect(r, 200);
}

static request_t *send_made_up(void)
{
  static char keys[QUESTIONS_MAX][KEY_TEXT_MAX]; /* the requests borrow them */
  static size_t count;
  char *text = keys[count++ % QUESTIONS_MAX];
  assert_int_equal(key_generate(text), SMPL_OK);
  return send_key(text);
}

enum { NEW_MAX = KEYCHECK_ASKED_NEW_MAX + KEYCHECK_QUEUED_NEW_MAX };

/* As many made-up keys as there are places for. */
static void flood(request_t *r[NEW_MAX])
{
  size_t before = asked;
  for (int i = 0; i < NEW_MAX; i++) {
    r[i] = send_made_up();
    assert_int_equal(fake_replies(r[i]), 0);
  }
  assert_int_equal(asked, before + KEYCHECK_ASKED_NEW_MAX);
}

static void made_up_keys_wait_their_turn_and_known_keys_do_not(void **state)
{
  static request_t *r[NEW_MAX];
  (void)state;
  make_known(key);
  now += KEYCHECK_ACTIVE_MS;
  flood(r);
  expect(send_made_up(), 503); /* one more than there are places */
  request_t *known = send_key(key);
  assert_string_equal(questions[asked - 1].key, key);
  answer(asked - 1, 0, 200, ACTIVE);
  expect(known, 200);
  /* Each answer makes room for the next, in their order, until all have been asked about. */
  size_t next = 1;
  for (int i = 0; i < NEW_MAX; i++, next++) {
    if (next == 1 + KEYCHECK_ASKED_NEW_MAX)
      next++; /* the known one's */
    assert_string_equal(questions[next].key, request_bearer(r[i]));
    answer(next, 0, 200, i == NEW_MAX - 1 ? ACTIVE : INACTIVE);
    expect(r[i], i == NEW_MAX - 1 ? 200 : 401);
  }
  assert_int_equal(asked, next);
}

static void made_up_keys_do_not_wait_for_ever(void **state)
{
  static request_t *r[NEW_MAX];
  (void)state;
  flood(r);
  now += KEYCHECK_QUEUE_MS - 1;
  answer(0, 0, 200, INACTIVE);
  expect(r[0], 401);
  assert_int_equal(asked, KEYCHECK_ASKED_NEW_MAX + 1); /* just in time */
  now += 1;
  answer(1, SMPL_ETIMEOUT, 0, NULL);
  expect(r[1], 503);
  for (int i = KEYCHECK_ASKED_NEW_MAX + 1; i < NEW_MAX; i++) {
    assert_string_equal(fake_header(r[i]), "Retry-After: 1");
    expect(r[i], 503);
  }
  assert_int_equal(asked, KEYCHECK_ASKED_NEW_MAX + 1);
  for (size_t i = 2; i < asked; i++) {
    answer(i, 0, 200, INACTIVE);
    expect(r[i], 401);
  }
}

static void questions_under_way_hold_their_limit_and_known_keys_go_first(void **state)
{
  enum { KNOWN = KEYCHECK_ASKED_MAX + 1 };
  static char keys[KNOWN][KEY_TEXT_MAX];
  request_t *r[KNOWN], *made_up[KEYCHECK_ASKED_NEW_MAX + 1];
  (void)state;
  for (int i = 0; i < KNOWN; i++) {
    assert_int_equal(key_generate(keys[i]), SMPL_OK);
    make_known(keys[i]);
  }
  now += KEYCHECK_ACTIVE_MS;
  size_t before = asked;
  for (int i = 0; i <= KEYCHECK_ASKED_NEW_MAX; i++)
    made_up[i] = send_made_up(); /* the last one is queued */
  for (int i = 0; i < KNOWN - KEYCHECK_ASKED_NEW_MAX; i++)
    r[i] = send_key(keys[i]); /* the last one is queued */
  assert_int_equal(asked, before + KEYCHECK_ASKED_MAX);
  answer(before, 0, 200, INACTIVE);
  assert_int_equal(asked, before + KEYCHECK_ASKED_MAX + 1);
  assert_string_equal(questions[asked - 1].key, keys[KNOWN - KEYCHECK_ASKED_NEW_MAX - 1]);
  answer(before + 1, 0, 200, INACTIVE);
  assert_string_equal(questions[asked - 1].key, request_bearer(made_up[KEYCHECK_ASKED_NEW_MAX]));
  for (size_t i = before + 2; i < asked; i++)
    answer(i, 0, 200, i < before + KEYCHECK_ASKED_NEW_MAX || i == asked - 1 ? INACTIVE : ACTIVE);
  for (int i = 0; i <= KEYCHECK_ASKED_NEW_MAX; i++)
    expect(made_up[i], 401);
  for (int i = 0; i < KNOWN - KEYCHECK_ASKED_NEW_MAX; i++)
    expect(r[i], 200);
}

static void an_active_key_is_believed_60_seconds_longer_while_nobody_can_be_asked(void **state)
{
  static const struct {
    int err, status;
  } cases[] = {{SMPL_ECLOSED, 0}, {SMPL_ETIMEOUT, 0}, {SMPL_ENOENT, 0}, {0, 500}, {0, 503}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    make_known(key);
    now += KEYCHECK_ACTIVE_MS;
    uint64_t end = now + KEYCHECK_STALE_MS;
    while (now < end) {
      size_t before = asked;
      request_t *r = send_key(key);
      assert_int_equal(asked, before + 1);
      answer(before, cases[i].err, cases[i].status, NULL);
      expect(r, 200);
      now += KEYCHECK_STALE_RETRY_MS - 1;
      expect(send_key(key), 200); /* without another question */
      assert_int_equal(asked, before + 1);
      now += 1;
    }
    request_t *r = send_key(key);
    answer(asked - 1, cases[i].err, cases[i].status, NULL);
    expect(r, 503);
  }
}

static void an_answer_ends_belief_at_once(void **state)
{
  (void)state;
  make_known(key);
  now += KEYCHECK_ACTIVE_MS;
  request_t *r = send_key(key);
  answer(asked - 1, SMPL_ECLOSED, 0, NULL);
  expect(r, 200);
  now += KEYCHECK_STALE_RETRY_MS;
  r = send_key(key);
  answer(asked - 1, 0, 200, INACTIVE);
  expect(r, 401);
  now += KEYCHECK_REFUSED_MS;
  r = send_key(key);
  answer(asked - 1, SMPL_ECLOSED, 0, NULL);
  expect(r, 503);
  /* What makes no sense is no reason to believe, either. */
  make_known(key);
  now += KEYCHECK_ACTIVE_MS;
  r = send_key(key);
  answer(asked - 1, 0, 404, ACTIVE);
  expect(r, 503);
}

static void a_key_is_never_believed_beyond_its_expiry(void **state)
{
  (void)state;
  request_t *r = send_key(key);
  answer(0, 0, 200,
         "{\"active\": true, \"account\": \"" ACCOUNT "\", \"key_id\": \"" KEY_ID
         "\", \"expires_in_ms\": 45000}");
  expect(r, 200);
  now += 44999;
  r = send_key(key);
  answer(1, SMPL_ECLOSED, 0, NULL);
  expect(r, 200);
  now += 1;
  r = send_key(key);
  answer(2, SMPL_ECLOSED, 0, NULL);
  expect(r, 503);
}

static void waiting_requests_are_counted_and_refused_beyond_the_limits(void **state)
{
  static request_t *r[KEYCHECK_WAITING_MAX];
  size_t active, refused, waiting;
  (void)state;
  make_known(key);
  now += KEYCHECK_ACTIVE_MS;
  char other[KEY_TEXT_MAX];
  assert_int_equal(key_generate(other), SMPL_OK);
  for (int i = 0; i < KEYCHECK_WAITING_NEW_MAX; i++)
    r[i] = send_key(other);
  expect(send_key(other), 503);
  for (int i = KEYCHECK_WAITING_NEW_MAX; i < KEYCHECK_WAITING_MAX; i++)
    r[i] = send_key(key);
  keycheck_counts(check, &active, &refused, &waiting);
  assert_int_equal(waiting, KEYCHECK_WAITING_MAX);
  expect(send_key(key), 200); /* nobody can be asked for it; it was active a moment ago */
  now += KEYCHECK_STALE_MS;
  expect(send_key(key), 503);
  answer(1, 0, 200, ACTIVE);
  answer(2, 0, 200, ACTIVE);
  for (int i = 0; i < KEYCHECK_WAITING_MAX; i++)
    expect(r[i], 200);
  keycheck_counts(check, &active, &refused, &waiting);
  assert_int_equal(waiting, 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(without_a_key_or_with_a_mistyped_one_nobody_is_asked, set_up,
                                      tear_down),
      cmocka_unit_test_setup_teardown(an_active_key_is_asked_about_once_in_30_seconds, set_up, tear_down),
      cmocka_unit_test_setup_teardown(an_unknown_key_is_asked_about_once_in_5_seconds, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_key_is_not_believed_beyond_its_expiry, set_up, tear_down),
      cmocka_unit_test_setup_teardown(requests_for_one_key_share_one_question, set_up, tear_down),
      cmocka_unit_test_setup_teardown(no_usable_answer_is_no_access_and_is_not_remembered, set_up, tear_down),
      cmocka_unit_test_setup_teardown(the_cache_keeps_its_limit_and_made_up_keys_do_not_drive_out_real_ones,
                                      set_up, tear_down),
      cmocka_unit_test_setup_teardown(made_up_keys_wait_their_turn_and_known_keys_do_not, set_up, tear_down),
      cmocka_unit_test_setup_teardown(made_up_keys_do_not_wait_for_ever, set_up, tear_down),
      cmocka_unit_test_setup_teardown(questions_under_way_hold_their_limit_and_known_keys_go_first, set_up,
                                      tear_down),
      cmocka_unit_test_setup_teardown(an_active_key_is_believed_60_seconds_longer_while_nobody_can_be_asked,
                                      set_up, tear_down),
      cmocka_unit_test_setup_teardown(an_answer_ends_belief_at_once, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_key_is_never_believed_beyond_its_expiry, set_up, tear_down),
      cmocka_unit_test_setup_teardown(waiting_requests_are_counted_and_refused_beyond_the_limits, set_up,
                                      tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
