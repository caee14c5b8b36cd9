/* SPDX-License-Identifier: Apache-2.0 */
/* DNS cookies: what is made, what is believed, and what stands in answers. */
#include "harness.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "common/dns/dns_wire.h"
#include "resolver/answer/cookies.h"
#include "resolver/limits.h"

static size_t allocations;

static void *count_malloc(size_t n, const char *file, int line)
{
  (void)file;
  (void)line;
  allocations++;
  return malloc(n);
}

static void *count_realloc(void *p, size_t n, const char *file, int line)
{
  (void)file;
  (void)line;
  allocations++;
  return realloc(p, n);
}

static void count_free(void *p, const char *file, int line)
{
  (void)file;
  (void)line;
  free(p);
}

/* RFC 9018 appendix A. */
static const uint8_t rfc_key[] = {0xe5, 0xe9, 0x73, 0xe5, 0xa6, 0xb2, 0xa4, 0x3f,
                                  0x48, 0xe7, 0xdc, 0x84, 0x9e, 0x37, 0xbf, 0xcf};
static const uint8_t rfc_client[] = {0x24, 0x64, 0xc4, 0xab, 0xcf, 0x10, 0xc9, 0x57};
static const uint8_t rfc_cookie[] = {0x01, 0,    0,    0,    0x5c, 0xf7, 0x9f, 0x11,
                                     0x1f, 0x81, 0x30, 0xc3, 0xee, 0xe2, 0x94, 0x80};
enum { RFC_TIME = 1559731985 };

static cookies_t *make(void)
{
  cookie_secret_t secret = {.made_ms = 1000};
  cookies_t *c;
  memcpy(secret.key, rfc_key, sizeof rfc_key);
  assert_int_equal(cookies_new(&secret, &c), 0);
  return c;
}

static ip_t ip(const char *text)
{
  ip_t a;
  assert_int_equal(ip_parse(text, &a), 0);
  return a;
}

static void cookies_are_those_of_rfc_9018(void **state)
{
  (void)state;
  cookies_t *c = make();
  ip_t a = ip("198.51.100.100");
  uint8_t out[COOKIE_SERVER_LEN];
  cookie_client_t client = {rfc_client, &a, RFC_TIME, 1000};
  cookies_make(c, &client, out);
  assert_memory_equal(out, rfc_cookie, sizeof out);
  assert_true(cookies_valid(c, &client, rfc_cookie, sizeof rfc_cookie));
  /* A.3: reserved bytes as they came */
  static const uint8_t other_client[] = {0xfc, 0x93, 0xfc, 0x62, 0x80, 0x7d, 0xdb, 0x86};
  static const uint8_t reserved[] = {0x01, 0xab, 0xcd, 0xef, 0x5c, 0xf7, 0x8f, 0x71,
                                     0xa3, 0x14, 0x22, 0x7b, 0x66, 0x79, 0xeb, 0xf5};
  a = ip("203.0.113.203");
  client = (cookie_client_t){other_client, &a, 1559727985, 1000};
  assert_true(cookies_valid(c, &client, reserved, sizeof reserved));
  cookies_free(c);
}

static void cookies_are_bound_to_client_address_time_and_length(void **state)
{
  (void)state;
  cookies_t *c = make();
  ip_t a = ip("198.51.100.100");
  ip_t b = ip("198.51.100.101");
  ip_t six = ip("2001:db8::1");
  cookie_client_t client = {rfc_client, &b, RFC_TIME, 1000};
  assert_false(cookies_valid(c, &client, rfc_cookie, sizeof rfc_cookie));
  client.address = &six;
  assert_false(cookies_valid(c, &client, rfc_cookie, sizeof rfc_cookie));
  uint8_t own[COOKIE_SERVER_LEN];
  cookies_make(c, &client, own);
  assert_true(cookies_valid(c, &client, own, sizeof own));
  client.address = &a;
  client.wall_s = RFC_TIME + COOKIE_AGE_MAX_S;
  assert_true(cookies_valid(c, &client, rfc_cookie, sizeof rfc_cookie));
  client.wall_s++;
  assert_false(cookies_valid(c, &client, rfc_cookie, sizeof rfc_cookie));
  client.wall_s = RFC_TIME - COOKIE_AHEAD_MAX_S;
  assert_true(cookies_valid(c, &client, rfc_cookie, sizeof rfc_cookie));
  client.wall_s--;
  assert_false(cookies_valid(c, &client, rfc_cookie, sizeof rfc_cookie));
  client.wall_s = RFC_TIME;
  uint8_t changed[32] = {0};
  for (size_t i = 0; i < sizeof rfc_cookie * 8; i++) {
    memcpy(changed, rfc_cookie, sizeof rfc_cookie);
    changed[i / 8] ^= (uint8_t)(1u << i % 8);
    assert_false(cookies_valid(c, &client, changed, sizeof rfc_cookie));
  }
  memcpy(changed, rfc_cookie, sizeof rfc_cookie);
  assert_false(cookies_valid(c, &client, changed, sizeof rfc_cookie - 8));
  assert_false(cookies_valid(c, &client, changed, sizeof rfc_cookie + 1));
  static const uint8_t another[8] = {1};
  client.cookie = another;
  assert_false(cookies_valid(c, &client, rfc_cookie, sizeof rfc_cookie));
  cookies_free(c);
}

/* All workers' secrets turn alike; a cookie outlives one turn and not two. */
static void secrets_are_replaced_in_step(void **state)
{
  (void)state;
  cookies_t *c = make();
  cookies_t *d = make();
  ip_t a = ip("198.51.100.100");
  uint8_t first[COOKIE_SERVER_LEN];
  uint8_t second[COOKIE_SERVER_LEN];
  cookie_client_t client = {rfc_client, &a, RFC_TIME, 1000 + COOKIE_ROTATE_MS - 1};
  cookies_make(c, &client, first);
  assert_memory_equal(first, rfc_cookie, sizeof first);
  client.mono_ms++;
  cookies_make(c, &client, second);
  assert_memory_not_equal(first, second, sizeof first);
  assert_true(cookies_valid(c, &client, first, sizeof first));
  assert_true(cookies_valid(d, &client, second, sizeof second));
  client.mono_ms += COOKIE_ROTATE_MS;
  assert_false(cookies_valid(c, &client, first, sizeof first));
  assert_true(cookies_valid(c, &client, second, sizeof second));
  client.mono_ms += 100 * (uint64_t)COOKIE_ROTATE_MS;
  cookies_make(c, &client, first);
  assert_true(cookies_valid(d, &client, first, sizeof first));
  cookies_free(c);
  cookies_free(d);
}

static void secrets_differ_from_start_to_start(void **state)
{
  (void)state;
  cookie_secret_t a;
  cookie_secret_t b;
  assert_int_equal(cookie_secret_make(&a), 0);
  assert_int_equal(cookie_secret_make(&b), 0);
  assert_memory_not_equal(a.key, b.key, sizeof a.key);
}

static void making_and_checking_allocates_nothing(void **state)
{
  (void)state;
  cookies_t *c = make();
  ip_t a = ip("198.51.100.100");
  uint8_t out[COOKIE_SERVER_LEN];
  cookie_client_t client = {rfc_client, &a, RFC_TIME, 1000};
  assert_true(allocations > 0);
  size_t before = allocations;
  for (int i = 0; i < 1000; i++) {
    client.mono_ms += COOKIE_ROTATE_MS / 100;
    cookies_make(c, &client, out);
    assert_true(cookies_valid(c, &client, out, sizeof out));
  }
  assert_int_equal(allocations, before);
  cookies_free(c);
}

/* A query with a COOKIE option of len bytes; returns its length. */
static size_t query_with(const ask_t *ask, const uint8_t *cookie, size_t len, uint8_t *msg)
{
  size_t n = harness_query(ask, msg);
  msg[n - 1] = (uint8_t)(4 + len);
  const uint8_t head[] = {0, 10, 0, (uint8_t)len};
  memcpy(msg + n, head, sizeof head);
  memcpy(msg + n + 4, cookie, len);
  return n + 4 + len;
}

static size_t ask_raw(const view_t *v, const uint8_t *msg, size_t len, uint8_t *out, exchange_note_t *note)
{
  uint8_t *copy = malloc(len);
  uint8_t *reply = malloc(UDP_REPLY_MAX);
  assert_non_null(copy);
  assert_non_null(reply);
  memcpy(copy, msg, len);
  size_t n = harness_answer(v, EXCHANGE_UDP, copy, len, reply, UDP_REPLY_MAX, note);
  memcpy(out, reply, n);
  free(copy);
  free(reply);
  return n;
}

static const char zone_text[] = "$TTL 60\n@ SOA ns admin 7 3600 600 604800 30\n@ NS ns\na TXT hello\n";

static void cookie_option_comes_back_with_room_for_ours(void **state)
{
  (void)state;
  zone_t *z = harness_zone("org", zone_text);
  view_t *v = harness_view("v", z, NULL, NULL);
  uint8_t msg[600];
  uint8_t out[UDP_REPLY_MAX];
  uint8_t sent[41] = "clientC1server";
  exchange_note_t note;
  ask_t ask = {.name = "a.org", .type = DNS_TYPE_TXT, .edns = true};
  for (size_t len = 0; len <= 41; len++) {
    size_t n = query_with(&ask, sent, len, msg);
    size_t got = ask_raw(v, msg, n, out, &note);
    bool fine = len == 8 || (len >= 16 && len <= 40);
    assert_int_equal(out[3] & 15, fine ? DNS_RCODE_NOERROR : DNS_RCODE_FORMERR);
    assert_int_equal(note.cookie_at, fine ? got - COOKIE_SERVER_LEN : 0);
    if (!fine)
      continue;
    assert_int_equal(note.server_cookie_len, len - 8);
    static const uint8_t opt[] = {0, 0, 41, 1232 >> 8, 1232 & 255, 0, 0, 0, 0, 0, 28, 0, 10, 0, 24};
    assert_memory_equal(out + got - sizeof opt - 24, opt, sizeof opt);
    assert_memory_equal(out + got - 24, sent, 8);
  }
  /* none asked for, none given */
  size_t n = harness_query(&ask, msg);
  ask_raw(v, msg, n, out, &note);
  assert_int_equal(note.cookie_at, 0);
  /* the first of two counts; a bad second one is malformed */
  n = query_with(&ask, sent, 8, msg);
  memcpy(msg + n, msg + n - 12, 12);
  msg[n - 13] = 24;
  msg[n + 4] ^= 1;
  size_t got = ask_raw(v, msg, n + 12, out, &note);
  assert_memory_equal(out + got - 24, sent, 8);
  view_free(v);
  zone_free(z);
}

static void cookie_alone_may_be_asked_for(void **state)
{
  (void)state;
  uint8_t out[UDP_REPLY_MAX];
  exchange_note_t note;
  static const uint8_t msg[] = {1, 2, 0, 0, 0,  0, 0,  0, 0, 0,   0,   1,   0,   0,   41,  4,   208, 0,
                                0, 0, 0, 0, 12, 0, 10, 0, 8, 'c', 'o', 'o', 'k', 'i', 'e', '0', '1'};
  size_t n = ask_raw(NULL, msg, sizeof msg, out, &note);
  static const uint8_t want[] = {1,  2, 0x80, 0, 0, 0, 0, 0, 0,  0, 0,  1, 0, 0,
                                 41, 4, 208,  0, 0, 0, 0, 0, 28, 0, 10, 0, 24};
  assert_int_equal(n, sizeof want + 24);
  assert_memory_equal(out, want, sizeof want);
  /* without a cookie, with another opcode: malformed as ever */
  uint8_t other[sizeof msg];
  memcpy(other, msg, sizeof msg);
  other[24] = 11;
  n = ask_raw(NULL, other, sizeof other, out, &note);
  assert_int_equal(out[3] & 15, DNS_RCODE_FORMERR);
  memcpy(other, msg, sizeof msg);
  other[2] = 4 << 3;
  n = ask_raw(NULL, other, sizeof other, out, &note);
  assert_int_equal(n, DNS_HEADER_LEN);
  assert_int_equal(out[3] & 15, DNS_RCODE_FORMERR);
}

static void refusals_with_cookies_do_not_depend_on_the_name(void **state)
{
  (void)state;
  zone_t *z = harness_zone("org", zone_text);
  view_t *none = harness_view("none", NULL, NULL, NULL);
  static const char *const names[] = {"a.org", "b.org", "org", "x.y.test"};
  uint8_t first[64];
  for (size_t i = 0; i < 4; i++) {
    uint8_t msg[600];
    uint8_t out[UDP_REPLY_MAX];
    exchange_note_t note;
    ask_t ask = {.name = names[i], .type = DNS_TYPE_A, .edns = true};
    size_t len = query_with(&ask, rfc_client, 8, msg);
    size_t question = len - 11 - 12;
    size_t n = ask_raw(i % 2 ? none : NULL, msg, len, out, &note);
    assert_int_equal(n - question, 11 + 6 + 28);
    if (i == 0)
      memcpy(first, out + question, n - question);
    assert_memory_equal(out + question, first, n - question);
    assert_int_equal(out[3] & 15, DNS_RCODE_REFUSED);
  }
  view_free(none);
  zone_free(z);
}

int main(void)
{
  if (CRYPTO_set_mem_functions(count_malloc, count_realloc, count_free) != 1)
    return 1;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(cookies_are_those_of_rfc_9018),
      cmocka_unit_test(cookies_are_bound_to_client_address_time_and_length),
      cmocka_unit_test(secrets_are_replaced_in_step),
      cmocka_unit_test(secrets_differ_from_start_to_start),
      cmocka_unit_test(making_and_checking_allocates_nothing),
      cmocka_unit_test(cookie_option_comes_back_with_room_for_ours),
      cmocka_unit_test(cookie_alone_may_be_asked_for),
      cmocka_unit_test(refusals_with_cookies_do_not_depend_on_the_name),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
