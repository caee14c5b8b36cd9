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

static void waiting_requests_are_counted_and_refused_beyond_the_limit(void **state)
{
  size_t active, refused, waiting;
  static request_t *r[KEYCHECK_WAITING_MAX];
  (void)state;
  for (int i = 0; i < KEYCHECK_WAITING_MAX; i++)
    r[i] = send_key(key);
  keycheck_counts(check, &active, &refused, &waiting);
  assert_int_equal(waiting, KEYCHECK_WAITING_MAX);
  expect(send_key(key), 503);
  answer(0, 0, 200, ACTIVE);
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
      cmocka_unit_test_setup_teardown(waiting_requests_are_counted_and_refused_beyond_the_limit, set_up,
                                      tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
