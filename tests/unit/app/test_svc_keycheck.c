/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/services/keycheck.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "tests/unit/app/svc_fake.h"

#define ACCOUNT "d290f1ee-6c54-4b01-90e6-d701748f0851"
#define KEY_ID  "b2c3d4e5-f6a7-4901-bcde-f12345678901"

enum { QUESTIONS_MAX = 16384 };

/* The tests' time: stands in for common/base/clock.c. */
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
  return keycheck_new(ask, NULL, NULL, &check);
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

static request_t *send_from(const char *source, const char *text)
{
  request_t *r = fake_request(NULL, text, NULL, NULL);
  fake_set_source(r, source);
  keycheck_guard(check, r, go_on, NULL);
  return r;
}

static request_t *send_made_up_from(const char *source)
{
  static char keys[QUESTIONS_MAX][KEY_TEXT_MAX]; /* the requests borrow them */
  static size_t count;
  char *text = keys[count++ % QUESTIONS_MAX];
  assert_int_equal(key_generate(text), SMPL_OK);
  return send_from(source, text);
}

static request_t *send_made_up(void)
{
  return send_made_up_from("192.0.2.1");
}

/* Of one network */
enum { ASKED_NEW = STRANGERS_ASKED_NETWORK_MAX, NEW_MAX = STRANGERS_WAITING_MAX };

/* As many made-up keys as there are places for. */
static void flood(request_t *r[NEW_MAX])
{
  size_t before = asked;
  for (int i = 0; i < NEW_MAX; i++) {
    r[i] = send_made_up();
    assert_int_equal(fake_replies(r[i]), 0);
  }
  assert_int_equal(asked, before + ASKED_NEW);
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
    if (next == 1 + ASKED_NEW)
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
  assert_int_equal(asked, ASKED_NEW + 1); /* just in time */
  now += 1;
  answer(1, SMPL_ETIMEOUT, 0, NULL);
  expect(r[1], 503);
  for (int i = ASKED_NEW + 1; i < NEW_MAX; i++) {
    assert_string_equal(fake_header(r[i]), "Retry-After: 1");
    expect(r[i], 503);
  }
  assert_int_equal(asked, ASKED_NEW + 1);
  for (size_t i = 2; i < asked; i++) {
    answer(i, 0, 200, INACTIVE);
    expect(r[i], 401);
  }
}

static void questions_under_way_hold_their_limit_and_known_keys_go_first(void **state)
{
  enum { KNOWN = KEYCHECK_ASKED_MAX + 1 };
  static char keys[KNOWN][KEY_TEXT_MAX];
  request_t *r[KNOWN], *made_up[ASKED_NEW + 1];
  (void)state;
  for (int i = 0; i < KNOWN; i++) {
    assert_int_equal(key_generate(keys[i]), SMPL_OK);
    make_known(keys[i]);
  }
  now += KEYCHECK_ACTIVE_MS;
  size_t before = asked;
  for (int i = 0; i <= ASKED_NEW; i++)
    made_up[i] = send_made_up(); /* the last one is queued */
  for (int i = 0; i < KNOWN - ASKED_NEW; i++)
    r[i] = send_key(keys[i]); /* the last one is queued */
  assert_int_equal(asked, before + KEYCHECK_ASKED_MAX);
  answer(before, 0, 200, INACTIVE);
  assert_int_equal(asked, before + KEYCHECK_ASKED_MAX + 1);
  assert_string_equal(questions[asked - 1].key, keys[KNOWN - ASKED_NEW - 1]);
  answer(before + 1, 0, 200, INACTIVE);
  assert_string_equal(questions[asked - 1].key, request_bearer(made_up[ASKED_NEW]));
  for (size_t i = before + 2; i < asked; i++)
    answer(i, 0, 200, i < before + ASKED_NEW || i == asked - 1 ? INACTIVE : ACTIVE);
  for (int i = 0; i <= ASKED_NEW; i++)
    expect(made_up[i], 401);
  for (int i = 0; i < KNOWN - ASKED_NEW; i++)
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
  enum { ALL = STRANGERS_WAITING_MAX + KEYCHECK_WAITING_MAX };
  static request_t *r[ALL];
  size_t active, refused, waiting;
  (void)state;
  make_known(key);
  now += KEYCHECK_ACTIVE_MS;
  char other[KEY_TEXT_MAX];
  assert_int_equal(key_generate(other), SMPL_OK);
  for (int i = 0; i < STRANGERS_WAITING_MAX; i++)
    r[i] = send_key(other);
  expect(send_key(other), 503);
  for (int i = STRANGERS_WAITING_MAX; i < ALL; i++)
    r[i] = send_key(key);
  keycheck_counts(check, &active, &refused, &waiting);
  assert_int_equal(waiting, ALL);
  expect(send_key(key), 200); /* nobody can be asked for it; it was active a moment ago */
  now += KEYCHECK_STALE_MS;
  expect(send_key(key), 503);
  answer(1, 0, 200, ACTIVE);
  answer(2, 0, 200, ACTIVE);
  for (int i = 0; i < ALL; i++)
    expect(r[i], 200);
  keycheck_counts(check, &active, &refused, &waiting);
  assert_int_equal(waiting, 0);
}

/* ---- fairness: an attacker with as many made-up keys as he likes, and customers whose keys nobody has
 * asked about yet ---- */

enum { CUSTOMERS = 200, ATTACKS = 3 * STRANGERS_WAITING_MAX };

static const char *attacker_at(unsigned i)
{
  (void)i;
  return "192.0.2.1";
}

static const char *attacker_spread(unsigned i)
{
  static char text[64];
  snprintf(text, sizeof text, "2001:db8:1:%x::1", i);
  return text;
}

static const char *customer_at(unsigned i)
{
  static char text[64];
  if (i % 2 == 0)
    snprintf(text, sizeof text, "198.51.%u.7", i);
  else
    snprintf(text, sizeof text, "2001:db8:%x::7", 0x100 + i);
  return text;
}

static request_t *attacks[ATTACKS], *customers[CUSTOMERS];

/* The attack fills whatever it may; each customer comes in the middle of it. */
static void attack_and_customers(const char *(*attacker)(unsigned))
{
  static char keys[CUSTOMERS][KEY_TEXT_MAX];
  for (unsigned i = 0, c = 0; i < ATTACKS; i++) {
    attacks[i] = send_made_up_from(attacker(i));
    if (i > ATTACKS / 2 && c < CUSTOMERS) {
      assert_int_equal(key_generate(keys[c]), SMPL_OK);
      customers[c] = send_from(customer_at(c), keys[c]);
      c++;
    }
  }
}

static size_t customer_of(const char *text)
{
  size_t i = 0;
  while (i < CUSTOMERS && strcmp(request_bearer(customers[i]), text) != 0)
    i++;
  return i;
}

static void assert_customers_are_asked_about_first(const char *(*attacker)(unsigned))
{
  size_t attackers = 0, found = 0;
  attack_and_customers(attacker);
  /* Answered one after the other, each making room for the next. */
  for (size_t i = 0; found < CUSTOMERS; i++) {
    assert_true(i < asked);
    bool customer = customer_of(questions[i].key) < CUSTOMERS;
    found += customer;
    attackers += !customer;
    answer(i, 0, 200, customer ? ACTIVE : INACTIVE);
  }
  /* Those that were under way, and one for each turn of the attacker's network. */
  assert_in_range(attackers, 1, STRANGERS_ASKED_NETWORK_MAX + CUSTOMERS / 100);
  for (size_t i = 0; i < CUSTOMERS; i++)
    expect(customers[i], 200);
  for (size_t i = attackers + CUSTOMERS; i < asked; i++)
    answer(i, 0, 200, INACTIVE);
  for (size_t i = 0; i < ATTACKS; i++) {
    assert_int_equal(fake_replies(attacks[i]), 1);
    fake_request_free(attacks[i]);
  }
}

static void made_up_keys_of_one_source_do_not_keep_customers_of_others_from_being_checked(void **state)
{
  (void)state;
  assert_customers_are_asked_about_first(attacker_at);
}

static void made_up_keys_of_a_wide_network_do_not_either(void **state)
{
  (void)state;
  assert_customers_are_asked_about_first(attacker_spread);
}

/* One made-up key, and more requests with it than may wait. */
static void many_requests_with_one_made_up_key_leave_places_to_others(void **state)
{
  char made_up[KEY_TEXT_MAX];
  (void)state;
  assert_int_equal(key_generate(made_up), SMPL_OK);
  for (size_t i = 0; i < STRANGERS_WAITING_MAX; i++)
    attacks[i] = send_key(made_up);
  request_t *customer = send_from("198.51.100.7", key);
  assert_int_equal(fake_replies(customer), 0);
  expect(attacks[STRANGERS_WAITING_MAX - 1], 503); /* the last one gave way */
  answer(1, 0, 200, ACTIVE);
  expect(customer, 200);
  answer(0, 0, 200, INACTIVE);
  for (size_t i = 0; i < STRANGERS_WAITING_MAX - 1; i++)
    expect(attacks[i], 401);
}

/* Who shares the attacker's network, but not his address, is asked about after at most one question of
 * his; who shares the address waits behind him, and is told to try again when all places are taken. A key
 * that was active lately never waits. */
static void
who_shares_a_network_with_the_attacker_waits_a_turn_and_who_shares_his_address_behind_him(void **state)
{
  char neighbour_key[KEY_TEXT_MAX], behind_key[KEY_TEXT_MAX], late_key[KEY_TEXT_MAX], known[KEY_TEXT_MAX];
  (void)state;
  assert_int_equal(key_generate(known), SMPL_OK);
  make_known(known);
  key_generate(neighbour_key);
  key_generate(behind_key);
  key_generate(late_key);
  enum { FLOOD = STRANGERS_WAITING_MAX - 2 };
  for (size_t i = 0; i < FLOOD; i++)
    attacks[i] = send_made_up();
  request_t *behind = send_key(behind_key);
  request_t *neighbour = send_from("192.0.2.77", neighbour_key);
  request_t *late = send_key(late_key);
  assert_string_equal(fake_header(late), "Retry-After: 1");
  expect(late, 503);
  expect(send_key(known), 200);
  size_t before = asked;
  answer(1, 0, 200, INACTIVE);
  answer(2, 0, 200, INACTIVE);
  assert_int_equal(asked, before + 2);
  assert_true(strcmp(questions[before].key, neighbour_key) == 0 ||
              strcmp(questions[before + 1].key, neighbour_key) == 0);
  for (size_t i = 3; i < asked; i++) {
    bool his = strcmp(questions[i].key, neighbour_key) == 0 || strcmp(questions[i].key, behind_key) == 0;
    answer(i, 0, 200, his ? ACTIVE : INACTIVE);
  }
  expect(neighbour, 200);
  expect(behind, 200);
  for (size_t i = 0; i < FLOOD; i++)
    expect(attacks[i], 401);
}

/* By the guard and again by the handler, which both ask about the key: counted once. */
static void a_request_is_counted_once_and_a_key_over_its_rate_gets_429(void **state)
{
  char other[KEY_TEXT_MAX];
  rates_t *rates = rates_new(1, 2);
  (void)state;
  assert_non_null(rates);
  keycheck_free(check);
  assert_int_equal(keycheck_new(ask, NULL, rates, &check), SMPL_OK);
  request_t *r[3];
  for (size_t i = 0; i < 3; i++) /* they wait for one answer */
    r[i] = send_key(key);
  answer(0, 0, 200, ACTIVE);
  assert_int_equal(fake_status(r[0]) + fake_status(r[1]) + fake_status(r[2]), 200 + 200 + 429);
  for (size_t i = 0; i < 3; i++) {
    if (fake_status(r[i]) == 429) {
      assert_string_equal(fake_header(r[i]), "Retry-After: 1");
      assert_string_equal(fake_error(r[i], "title"), "Too many requests");
    } else {
      keycheck_guard(check, r[i], go_on, NULL); /* the handler's turn */
      assert_int_equal(fake_replies(r[i]), 2);
      assert_int_equal(fake_status(r[i]), 200);
    }
    fake_request_free(r[i]);
  }
  now += 1000;
  expect(send_key(key), 200);
  expect(send_key(key), 429);
  assert_int_equal(key_generate(other), SMPL_OK);
  request_t *unknown = send_key(other); /* whose key nobody knows is not counted by key */
  answer(1, 0, 200, INACTIVE);
  expect(unknown, 401);
  rates_free(rates);
}

#define OTHERS                                                                                               \
  "{\"active\": true, \"account\": \"11111111-2222-4333-8444-555555555555\", \"key_id\": \"" KEY_ID          \
  "\", \"expires_in_ms\": null}"

static void take_any(request_t *request, void *service, const caller_t *caller)
{
  (void)service;
  (void)caller;
  request_reply(request, 200, NULL);
}

/* An account may have 1,000 keys, and there may be many: those of others stay known here. */
static void an_account_with_many_keys_does_not_drive_out_those_of_others(void **state)
{
  (void)state;
  request_t *r = send_key(key);
  answer(asked - 1, 0, 200, ACTIVE);
  expect(r, 200);
  for (size_t i = 0; i < KEYCHECK_ACTIVE_MAX + 10; i++) {
    char other[KEY_TEXT_MAX];
    assert_int_equal(key_generate(other), SMPL_OK);
    r = fake_request(NULL, other, NULL, NULL);
    keycheck_guard(check, r, take_any, NULL);
    answer(asked - 1, 0, 200, OTHERS);
    expect(r, 200);
  }
  size_t before = asked, active, refused, waiting;
  expect(send_key(key), 200);
  assert_int_equal(asked, before);
  keycheck_counts(check, &active, &refused, &waiting);
  assert_int_equal(active, KEYCHECK_ACTIVE_MAX);
}

/* Both keys were active here, but too long ago to be believed. */
static void requests_with_known_keys_of_one_account_leave_places_to_those_of_others(void **state)
{
  static request_t *r[KEYCHECK_WAITING_MAX];
  char greedy[KEY_TEXT_MAX];
  (void)state;
  assert_int_equal(key_generate(greedy), SMPL_OK);
  make_known(key);
  request_t *first = fake_request(NULL, greedy, NULL, NULL);
  keycheck_guard(check, first, take_any, NULL);
  answer(asked - 1, 0, 200, OTHERS);
  expect(first, 200);
  now += KEYCHECK_ACTIVE_MS + KEYCHECK_STALE_MS;
  for (size_t i = 0; i < KEYCHECK_WAITING_MAX; i++) {
    r[i] = fake_request(NULL, greedy, NULL, NULL);
    keycheck_guard(check, r[i], take_any, NULL);
  }
  request_t *customer = send_key(key);
  expect(r[KEYCHECK_WAITING_MAX - 1], 503); /* the newest of who has most */
  request_t *more = fake_request(NULL, greedy, NULL, NULL);
  keycheck_guard(check, more, take_any, NULL);
  expect(more, 503);
  answer(asked - 1, 0, 200, ACTIVE);
  expect(customer, 200);
  answer(asked - 2, 0, 200, OTHERS);
  for (size_t i = 0; i + 1 < KEYCHECK_WAITING_MAX; i++)
    expect(r[i], 200);
}

static void whoever_fills_the_memory_of_refused_keys_forgets_his_own(void **state)
{
  (void)state;
  request_t *r = send_from("198.51.100.7", key);
  answer(asked - 1, 0, 200, INACTIVE);
  expect(r, 401);
  for (size_t i = 0; i < KEYCHECK_REFUSED_MAX + 10; i++) {
    r = send_made_up_from(attacker_spread((unsigned)i));
    answer(asked - 1, 0, 200, INACTIVE);
    expect(r, 401);
  }
  size_t before = asked;
  expect(send_from("198.51.100.7", key), 401);
  assert_int_equal(asked, before);
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
      cmocka_unit_test_setup_teardown(
          made_up_keys_of_one_source_do_not_keep_customers_of_others_from_being_checked, set_up, tear_down),
      cmocka_unit_test_setup_teardown(made_up_keys_of_a_wide_network_do_not_either, set_up, tear_down),
      cmocka_unit_test_setup_teardown(many_requests_with_one_made_up_key_leave_places_to_others, set_up,
                                      tear_down),
      cmocka_unit_test_setup_teardown(
          who_shares_a_network_with_the_attacker_waits_a_turn_and_who_shares_his_address_behind_him, set_up,
          tear_down),
      cmocka_unit_test_setup_teardown(a_request_is_counted_once_and_a_key_over_its_rate_gets_429, set_up,
                                      tear_down),
      cmocka_unit_test_setup_teardown(an_account_with_many_keys_does_not_drive_out_those_of_others, set_up,
                                      tear_down),
      cmocka_unit_test_setup_teardown(requests_with_known_keys_of_one_account_leave_places_to_those_of_others,
                                      set_up, tear_down),
      cmocka_unit_test_setup_teardown(whoever_fills_the_memory_of_refused_keys_forgets_his_own, set_up,
                                      tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
