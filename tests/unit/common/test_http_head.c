/* SPDX-License-Identifier: Apache-2.0 */
/* The reader of request heads: what it takes, and that it takes nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/error.h"
#include "common/net/http_head.h"

/* From memory of exactly this size, so that a byte too far is found. */
static int read_head(const char *text, size_t len, http_head_t *out, char **keep)
{
  *keep = malloc(len > 0 ? len : 1);
  assert_non_null(*keep);
  memcpy(*keep, text, len);
  return http_head_read(*keep, len, out);
}

static void a_head_is_taken_apart(void **state)
{
  (void)state;
  static const char text[] = "GET /metrics HTTP/1.1\r\nX: a: b\r\nhOsT: \t name:80 \r\nEmpty:\r\n\r\nbody";
  http_head_t head;
  char *keep;
  size_t len = http_head_end(text, sizeof text - 1);
  assert_int_equal(len, sizeof text - 1 - 4);
  assert_int_equal(read_head(text, len, &head, &keep), SMPL_OK);
  assert_true(http_text_is(head.method, "GET"));
  assert_true(http_text_is(head.target, "/metrics"));
  assert_true(head.has_host);
  assert_true(http_text_is(head.host, "name:80"));
  free(keep);
}

static void a_head_ends_with_its_empty_line(void **state)
{
  (void)state;
  static const char text[] = "GET / HTTP/1.0\r\n\r\n";
  for (size_t n = 0; n < sizeof text - 1; n++)
    assert_int_equal(http_head_end(text, n), 0);
  assert_int_equal(http_head_end(text, sizeof text - 1), sizeof text - 1);
}

static void what_is_not_a_plain_head_is_refused(void **state)
{
  (void)state;
#define BAD(text)                                                                                            \
  {                                                                                                          \
    text, sizeof text - 1                                                                                    \
  }
  static const struct {
    const char *text;
    size_t len;
  } bad[] = {
      BAD(""),
      BAD("\r\n\r\n"),
      BAD("GET / HTTP/1.1\r\n\r\n"),
      BAD("GET /\r\n\r\n"),
      BAD("GET  / HTTP/1.0\r\n\r\n"),
      BAD("GET / HTTP/1.0 \r\n\r\n"),
      BAD("GET / x HTTP/1.0\r\n\r\n"),
      BAD("GET / HTTP/2.0\r\n\r\n"),
      BAD("GET / http/1.0\r\n\r\n"),
      BAD(" GET / HTTP/1.0\r\n\r\n"),
      BAD("G\x01T / HTTP/1.0\r\n\r\n"),
      BAD("GET /\x7f HTTP/1.0\r\n\r\n"),
      BAD("GET /\0 HTTP/1.0\r\n\r\n"),
      BAD("GET / HTTP/1.0\r\nno colon\r\n\r\n"),
      BAD("GET / HTTP/1.0\r\n: empty\r\n\r\n"),
      BAD("GET / HTTP/1.0\r\na b: c\r\n\r\n"),
      BAD("GET / HTTP/1.0\r\na : c\r\n\r\n"),
      BAD("GET / HTTP/1.0\r\na: b\r\n c\r\n\r\n"),
      BAD("GET / HTTP/1.0\r\na: b\nc: d\r\n\r\n"),
      BAD("GET / HTTP/1.0\r\na: b\rc\r\n\r\n"),
      BAD("GET / HTTP/1.0\r\na: \0\r\n\r\n"),
      BAD("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"),
      BAD("GET / HTTP/1.1\r\nHost: a\r\nHOST: b\r\n\r\n"),
      BAD("GET / HTTP/1.1\r\nHost: a\r\n"),
      BAD("GET / HTTP/1.1\r\nHost: a\r\n\r\nmore"),
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    http_head_t head;
    char *keep;
    if (read_head(bad[i].text, bad[i].len, &head, &keep) != SMPL_EINVAL)
      fail_msg("taken: %s", bad[i].text);
    free(keep);
  }
}

/* Every head that has one byte changed is read without touching a byte beside it, whatever the outcome. */
static void every_byte_may_be_any(void **state)
{
  (void)state;
  static const char text[] = "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n";
  char changed[sizeof text - 1];
  for (size_t i = 0; i < sizeof changed; i++)
    for (unsigned b = 0; b < 256; b++) {
      http_head_t head;
      http_text_t name;
      char *keep;
      uint16_t port;
      ip_t ip;
      memcpy(changed, text, sizeof changed);
      changed[i] = (char)b;
      if (read_head(changed, sizeof changed, &head, &keep) == SMPL_OK &&
          http_host_split(head.host, &name, &port) == SMPL_OK)
        http_host_address(name, &ip);
      free(keep);
    }
}

static http_text_t text_of(const char *s)
{
  return (http_text_t){s, strlen(s)};
}

static void a_host_is_a_name_or_an_address_with_or_without_a_port(void **state)
{
  (void)state;
  static const struct {
    const char *host, *name;
    uint16_t port;
  } good[] = {{"a", "a", 0},           {"a:1", "a", 1},
              {"a:65535", "a", 65535}, {"1.2.3.4:80", "1.2.3.4", 80},
              {"[::1]", "[::1]", 0},   {"[::1]:9", "[::1]", 9},
              {"a:00080", "a", 80}};
  static const char *const bad[] = {"",    ":80",  "a:",     "a:0",    "a:65536", "a:x",      "a:1:2",
                                    "::1", "[::1", "[::1]x", "[::1]:", "a b",     "a:000080", "[::1]x:9"};
  http_text_t name;
  uint16_t port;
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    assert_int_equal(http_host_split(text_of(good[i].host), &name, &port), SMPL_OK);
    assert_true(http_text_is(name, good[i].name));
    assert_int_equal(port, good[i].port);
  }
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    if (http_host_split(text_of(bad[i]), &name, &port) != SMPL_EINVAL)
      fail_msg("taken: %s", bad[i]);
}

static void addresses_are_told_from_names(void **state)
{
  (void)state;
  ip_t ip, same;
  assert_true(http_host_address(text_of("[::ffff:127.0.0.1]"), &ip));
  assert_true(http_host_address(text_of("127.0.0.1"), &same));
  assert_true(ip_equal(&ip, &same));
  static const char *const names[] = {"::1",
                                      "[127.0.0.1]",
                                      "127.1",
                                      "0x7f000001",
                                      "localhost",
                                      "[]",
                                      "[",
                                      "",
                                      "[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc]"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    assert_false(http_host_address(text_of(names[i]), &ip));
  assert_true(http_host_same(text_of("A.Example."), "a.example"));
  assert_false(http_host_same(text_of("a.example.."), "a.example"));
  assert_false(http_host_same(text_of("."), ""));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_head_is_taken_apart),
      cmocka_unit_test(a_head_ends_with_its_empty_line),
      cmocka_unit_test(what_is_not_a_plain_head_is_refused),
      cmocka_unit_test(every_byte_may_be_any),
      cmocka_unit_test(a_host_is_a_name_or_an_address_with_or_without_a_port),
      cmocka_unit_test(addresses_are_told_from_names),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
