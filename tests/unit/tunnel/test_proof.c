/* SPDX-License-Identifier: Apache-2.0 */
/* Finding, in the first bytes of a server, how it proved its host key. */
#include "tunnel/speaker/proof.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct stream {
  uint8_t bytes[2 * PROOF_BYTES_MAX];
  size_t len;
} stream_t;

static void add(stream_t *s, const void *data, size_t len)
{
  assert_true(len <= sizeof s->bytes - s->len);
  memcpy(s->bytes + s->len, data, len);
  s->len += len;
}

static void add_u32(stream_t *s, size_t n)
{
  const uint8_t bytes[] = {(uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
  add(s, bytes, sizeof bytes);
}

static void add_packet(stream_t *s, uint8_t type, const void *body, size_t len)
{
  enum { PADDING = 7 };
  static const uint8_t padding[PADDING];
  add_u32(s, 1 + 1 + len + PADDING);
  add(s, (const uint8_t[]){PADDING, type}, 2);
  add(s, body, len);
  add(s, padding, PADDING);
}

static const char reply[] = "\0\0\0\3key\0\0\0\1f\0\0\0\6signed";
enum { REPLY = sizeof reply - 1 };

static void greet(stream_t *s)
{
  s->len = 0;
  add(s, "welcome\r\nSSH-2.0-test\r\n", 23);
}

/* In pieces of so many bytes. */
static bool found(const stream_t *s, size_t piece)
{
  cursor_t key = {0};
  cursor_t signature = {0};
  proof_t *p = proof_new();
  for (size_t at = 0; at < s->len; at += piece)
    proof_feed(p, s->bytes + at, piece < s->len - at ? piece : s->len - at);
  bool got = proof_get(p, &key, &signature);
  assert_int_equal(got, got && cursor_is(key, "key") && cursor_is(signature, "signed"));
  proof_free(p);
  return got;
}

static stream_t s; /* too large for the stack */

static void test_the_reply_is_found_in_whatever_pieces_it_comes(void **state)
{
  (void)state;
  static const size_t pieces[] = {1, 2, 3, 7, 64, sizeof s.bytes};
  static const uint8_t types[] = {31, 33};
  for (size_t t = 0; t < 2; t++) {
    greet(&s);
    add_packet(&s, 20, "offers", 6);
    if (types[t] == 33) /* a group comes first, under the other reply's number */
      add_packet(&s, 31, "\0\0\0\1p\0\0\0\1g", 10);
    add_packet(&s, types[t], reply, REPLY);
    add_packet(&s, 21, "", 0);
    add(&s, "what is behind is encrypted", 27);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
      assert_true(found(&s, pieces[i]));
  }
}

static void test_nothing_is_found_in_what_is_cut_or_broken(void **state)
{
  (void)state;
  greet(&s);
  add_packet(&s, 20, "offers", 6);
  add_packet(&s, 31, reply, REPLY);
  size_t whole = s.len;
  for (s.len = 0; s.len < whole; s.len++)
    assert_false(found(&s, 16));
  greet(&s);
  add_packet(&s, 31, reply, REPLY - 1);
  add_packet(&s, 21, "", 0);
  assert_false(found(&s, 16));
  greet(&s);
  add(&s, "\0\0\0\2\5\37", 6); /* more padding than packet */
  add_packet(&s, 31, reply, REPLY);
  assert_false(found(&s, 16));
}

/* From here on a reply could be anybody's. */
static void test_behind_new_keys_nothing_counts(void **state)
{
  (void)state;
  greet(&s);
  add_packet(&s, 21, "", 0);
  add_packet(&s, 31, reply, REPLY);
  assert_false(found(&s, 16));
}

static void test_a_server_that_goes_on_and_on_is_not_listened_to(void **state)
{
  (void)state;
  static const uint8_t nothing[PROOF_BYTES_MAX];
  for (int more = 0; more < 2; more++) {
    greet(&s);
    size_t rest = PROOF_BYTES_MAX - s.len - 2 * (4 + 2 + 7) - REPLY;
    add_packet(&s, 2, nothing, rest + (size_t)more);
    add_packet(&s, 31, reply, REPLY);
    assert_int_equal(found(&s, 16), !more);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_the_reply_is_found_in_whatever_pieces_it_comes),
      cmocka_unit_test(test_nothing_is_found_in_what_is_cut_or_broken),
      cmocka_unit_test(test_behind_new_keys_nothing_counts),
      cmocka_unit_test(test_a_server_that_goes_on_and_on_is_not_listened_to),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
