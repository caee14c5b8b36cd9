/* SPDX-License-Identifier: Apache-2.0 */
/* The gate against a naive reading of the same rules, on every string of small universes, and each of its
 * refusals and limits by example. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#include <llhttp.h>

#include "app/gate/gate.h"
#include "app/gate/head.h"
#include "tests/unit/app/language.h"

/* ---- paths ---- */

static language_t language; /* which bytes there are; how they make UTF-8 is read naively here */

static int load_language(void **state)
{
  (void)state;
  return language_load(&language) ? 0 : -1;
}

static bool naive_hex(char c)
{
  return c != '\0' && strchr("0123456789abcdefABCDEF", c) != NULL;
}

/* Code point by code point, by arithmetic: encoded again it must have the same length. */
static bool naive_utf8(const uint8_t *s, size_t len)
{
  for (size_t i = 0; i < len;) {
    size_t n = s[i] < 0x80 ? 1 : (s[i] >> 5) == 6 ? 2 : (s[i] >> 4) == 14 ? 3 : (s[i] >> 3) == 30 ? 4 : 0;
    if (n == 0 || n > len - i)
      return false;
    uint32_t point = n == 1 ? s[i] : s[i] & (0xffu >> (n + 1));
    for (size_t k = 1; k < n; k++) {
      if ((s[i + k] & 0xc0) != 0x80)
        return false;
      point = point << 6 | (s[i + k] & 0x3f);
    }
    size_t shortest = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    if (shortest != n || point > 0x10ffff || (point >= 0xd800 && point < 0xe000) || point < 0x20 ||
        point == 0x7f || (point >= 0x80 && point < 0xa0))
      return false;
    i += n;
  }
  return true;
}

/* One segment, raw: may it stand in a path? */
static bool naive_segment(const char *s, size_t len)
{
  uint8_t decoded[64];
  size_t n = 0;
  if (len == 0 || (len == 1 && s[0] == '.') || (len == 2 && s[0] == '.' && s[1] == '.'))
    return false;
  for (size_t i = 0; i < len; i++) {
    if (s[i] != '%') {
      if (!language.path[(uint8_t)s[i]])
        return false;
      decoded[n++] = (uint8_t)s[i];
      continue;
    }
    if (i + 2 >= len || !naive_hex(s[i + 1]) || !naive_hex(s[i + 2]))
      return false;
    char hex[3] = {s[i + 1], s[i + 2], '\0'};
    unsigned long value = strtoul(hex, NULL, 16);
    if (language.control[value] || language.hidden[value])
      return false;
    decoded[n++] = (uint8_t)value;
    i += 2;
  }
  return naive_utf8(decoded, n);
}

typedef enum naive { NAIVE_NO, NAIVE_YES, NAIVE_SLASH } naive_t;

static naive_t naive_path(const char *path)
{
  if (path[0] != '/')
    return NAIVE_NO;
  if (path[1] == '\0')
    return NAIVE_YES;
  for (const char *at = path + 1;;) {
    size_t len = strcspn(at, "/");
    if (len == 0 && at[0] == '\0')
      return NAIVE_SLASH;
    if (!naive_segment(at, len))
      return NAIVE_NO;
    if (at[len] == '\0')
      return NAIVE_YES;
    at += len + 1;
  }
}

/* Decodes %XX once, in place, and turns backslashes. */
static void decode_once(char *text)
{
  char *to = text;
  for (const char *at = text; *at != '\0'; at++) {
    if (at[0] == '%' && naive_hex(at[1]) && naive_hex(at[2])) {
      char hex[3] = {at[1], at[2], '\0'};
      *to++ = (char)strtoul(hex, NULL, 16);
      at += 2;
    } else {
      *to++ = at[0] == '\\' ? '/' : at[0];
    }
  }
  *to = '\0';
}

/* What the laxest of servers could make of a path: decoded again and again, parameters cut off segments,
 * slashes merged, dot segments resolved. out has as many bytes as path. */
static void repair(const char *path, char *out)
{
  char text[64];
  size_t starts[64];
  size_t count = 0, len = 0;
  memcpy(text, path, strlen(path) + 1);
  for (int round = 0; round < 3; round++)
    decode_once(text);
  for (const char *at = text; *at != '\0';) {
    at += strspn(at, "/");
    size_t whole = strcspn(at, "/");
    size_t part = strcspn(at, "/;?#");
    if (part == 2 && memcmp(at, "..", 2) == 0) {
      len = count > 0 ? starts[--count] : 0;
    } else if (part > 0 && !(part == 1 && at[0] == '.')) {
      starts[count++] = len;
      out[len++] = '/';
      memcpy(out + len, at, part);
      len += part;
    }
    at += whole;
  }
  out[len] = '\0';
}

/* Calls each with every string of at most `most` pieces behind the prefix. */
static size_t for_all(const char *prefix, const char *const *pieces, size_t count, size_t most,
                      void (*each)(const char *text))
{
  char text[256];
  size_t picks[16], lens[16], total = 0;
  size_t depth = 0, len = strlen(prefix);
  memcpy(text, prefix, len + 1);
  each(text);
  picks[0] = 0;
  lens[0] = len;
  for (;;) {
    if (picks[depth] == count) {
      if (depth == 0)
        return total + 1;
      depth--;
      picks[depth]++;
      continue;
    }
    size_t piece = strlen(pieces[picks[depth]]);
    memcpy(text + lens[depth], pieces[picks[depth]], piece + 1);
    each(text);
    total++;
    if (depth + 1 < most) {
      lens[depth + 1] = lens[depth] + piece;
      picks[++depth] = 0;
    } else {
      picks[depth]++;
    }
  }
}

static size_t admitted_count;

static void compare_path(const char *path)
{
  gate_verdict_t verdict = gate_path((const uint8_t *)path, strlen(path));
  naive_t naive = naive_path(path);
  bool same = verdict == GATE_ADMIT            ? naive == NAIVE_YES
              : verdict == GATE_TRAILING_SLASH ? naive == NAIVE_SLASH
                                               : naive == NAIVE_NO;
  admitted_count += verdict == GATE_ADMIT;
  if (!same)
    fail_msg("%s: %s, naively %d", path, gate_reason(verdict), naive);
}

static const char *const path_bytes[] = {"/", ".", "%", "2", "e", "f",  "5",
                                         "c", "0", "a", ";", "?", "\\", "\x80"};

static void gate_and_naive_reading_agree_on_every_short_path(void **state)
{
  (void)state;
  admitted_count = 0;
  assert_true(for_all("/", path_bytes, sizeof path_bytes / sizeof *path_bytes, 6, compare_path) > 7000000);
  assert_true(admitted_count > 10000);
  for_all("", path_bytes, sizeof path_bytes / sizeof *path_bytes, 3, compare_path);
}

static void every_byte_is_judged_as_naively_raw_and_encoded(void **state)
{
  (void)state;
  for (unsigned a = 1; a < 256; a++) {
    char raw[] = {'/', 'x', (char)a, '\0'};
    compare_path(raw);
    for (unsigned b = 0; b < 256; b++) {
      char text[16];
      snprintf(text, sizeof text, "/%%%02x%%%02X", a, b);
      compare_path(text);
    }
  }
  compare_path("/%00");
}

static void every_encoded_sequence_of_three_bytes_is_judged_as_naively(void **state)
{
  (void)state;
  char text[16];
  for (unsigned a = 0xe0; a < 0xf0; a++)
    for (unsigned b = 0x70; b < 0xd0; b++)
      for (unsigned c = 0x70; c < 0xd0; c++) {
        snprintf(text, sizeof text, "/%%%02x%%%02x%%%02x", a, b, c);
        compare_path(text);
      }
}

static void encoded_sequences_of_four_bytes_are_judged_as_naively_at_all_edges(void **state)
{
  (void)state;
  static const unsigned edges[] = {0x2f, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff};
  char text[20];
  for (unsigned a = 0xf0; a < 0x100; a++)
    for (size_t b = 0; b < 10; b++)
      for (size_t c = 0; c < 10; c++)
        for (size_t d = 0; d < 10; d++) {
          snprintf(text, sizeof text, "/%%%02x%%%02x%%%02x%%%02x", a, edges[b], edges[c], edges[d]);
          compare_path(text);
        }
}

static void stays_below(const char *path)
{
  static const char prefix[] = "/api/v1/";
  size_t len = strlen(path);
  if (gate_path((const uint8_t *)path, len) != GATE_ADMIT ||
      !gate_rule((const uint8_t *)path, len, (const uint8_t *)prefix, sizeof prefix - 1, true))
    return;
  char repaired[64];
  admitted_count++;
  repair(path, repaired);
  if (strncmp(repaired, prefix, sizeof prefix - 1) != 0)
    fail_msg("%s could be taken for %s", path, repaired);
}

static const char *const path_parts[] = {"/",   "api", "v1", "internal", "x", ".",   "..", "%2e", "%2F",
                                         "%5c", "\\",  ";",  "?",        "#", "%25", "%",  "2e",  "//"};

static void no_repair_leads_an_admitted_path_out_of_its_rule(void **state)
{
  (void)state;
  size_t count = sizeof path_parts / sizeof *path_parts;
  admitted_count = 0;
  for_all("/api/v1/", path_parts, count, 5, stays_below);
  assert_true(admitted_count > 100);
  for_all("/", path_parts, count, 5, stays_below);
}

static void rules_compare_bytes(void **state)
{
  (void)state;
  static const struct {
    const char *path, *prefix;
    bool open, match;
  } cases[] = {
      {"/api/v1/x", "/api/v1/", true, true},    {"/api/v1", "/api/v1/", true, false},
      {"/api/v1x/y", "/api/v1/", true, false},  {"/API/v1/x", "/api/v1/", true, false},
      {"/%61pi/v1/x", "/api/v1/", true, false}, {"/", "/", true, true},
      {"/healthz", "/healthz", false, true},    {"/healthz/x", "/healthz", false, false},
      {"/health", "/healthz", false, false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_int_equal(gate_rule((const uint8_t *)cases[i].path, strlen(cases[i].path),
                               (const uint8_t *)cases[i].prefix, strlen(cases[i].prefix), cases[i].open),
                     cases[i].match);
}

/* ---- heads ---- */

static bool only(const char *at, size_t len, const char *allowed)
{
  for (size_t i = 0; i < len; i++)
    if (at[i] == '\0' || strchr(allowed, at[i]) == NULL)
      return false;
  return true;
}

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS  "0123456789"

static bool naive_host(const char *at, size_t len)
{
  const char *colon = memchr(at, ':', len);
  size_t name = colon != NULL ? (size_t)(colon - at) : len;
  if (name == 0 || !only(at, name, LETTERS DIGITS "-._") || at[0] == '-' || at[0] == '.')
    return false;
  if (colon == NULL)
    return true;
  size_t port = len - name - 1;
  char digits[8] = "";
  if (port < 1 || port > 5 || !only(colon + 1, port, DIGITS))
    return false;
  memcpy(digits, colon + 1, port);
  return strtoul(digits, NULL, 10) < 65536;
}

/* The name in lower case without its hyphens. */
static void squeeze(const char *name, size_t len, char *out)
{
  for (size_t i = 0; i < len; i++)
    if (name[i] != '-')
      *out++ = (char)(name[i] | 0x20);
  *out = '\0';
}

/* One header line of a GET request; counts Host and Content-Length. */
static bool naive_header(const char *at, size_t len, unsigned *hosts, unsigned *lengths)
{
  const char *colon = memchr(at, ':', len);
  char squeezed[256];
  size_t name = colon != NULL ? (size_t)(colon - at) : 0;
  if (name == 0 || !only(at, name, LETTERS DIGITS "-"))
    return false;
  const char *value = colon + 1;
  size_t left = len - name - 1;
  for (; left > 0 && (value[0] == ' ' || value[0] == '\t'); left--)
    value++;
  while (left > 0 && (value[left - 1] == ' ' || value[left - 1] == '\t'))
    left--;
  bool tab_behind = memchr(value + left, '\t', (size_t)(at + len - value) - left) != NULL;
  squeeze(at, name, squeezed);
  if (strcmp(squeezed, "host") == 0)
    return name == 4 && ++*hosts == 1 && naive_host(value, left);
  if (strcmp(squeezed, "contentlength") == 0) /* a GET has no body, so only 0 will do */
    return strncasecmp(at, "content-length", name) == 0 && name == 14 && ++*lengths == 1 && left == 1 &&
           *value == '0' && !tab_behind;
  return strcmp(squeezed, "transferencoding") != 0;
}

/* A head's lines after its request line, read the plain way. */
static bool naive_headers(const char *at)
{
  unsigned hosts = 0, lengths = 0;
  for (;;) {
    const char *end = strstr(at, "\r\n");
    if (end == NULL)
      return false;
    size_t len = (size_t)(end - at);
    if (len == 0)
      return end[2] == '\0' && hosts == 1;
    if (memchr(at, '\r', len) != NULL || memchr(at, '\n', len) != NULL || memchr(at, '\v', len) != NULL ||
        !naive_header(at, len, &hosts, &lengths))
      return false;
    at = end + 2;
  }
}

static void compare_headers(const char *lines)
{
  char head[256];
  gate_head_t out;
  bool keep;
  size_t end = 0;
  int len = snprintf(head, sizeof head, "GET /a HTTP/1.1\r\n%s\r\n\r\n", lines);
  gate_verdict_t verdict = gate_scan((const uint8_t *)head, (size_t)len, 0, &end);
  if (verdict == GATE_ADMIT && end != (size_t)len)
    return; /* the lines hold the end of the head: a shorter list was judged before */
  if (verdict == GATE_ADMIT)
    verdict = head_read((const uint8_t *)head, (size_t)len, &out, &keep);
  bool naive = naive_headers(head + strlen("GET /a HTTP/1.1\r\n"));
  admitted_count += verdict == GATE_ADMIT;
  if ((verdict == GATE_ADMIT) != naive)
    fail_msg("%s: %s, naively %s", lines, gate_reason(verdict), naive ? "fine" : "malformed");
  if (verdict == GATE_DISAGREE)
    fail_msg("%s: llhttp understands what we admit differently", lines);
}

static const char *const head_pieces[] = {
    "Host:",           "Content-Length:",  "h", "0", "00", " ", "\t", "\r\n", "\n", "\r", ":",
    "Content_Length:", "Content--Length:", "\v"};

static void gate_and_naive_reading_agree_on_every_short_list_of_headers(void **state)
{
  (void)state;
  size_t count = sizeof head_pieces / sizeof *head_pieces;
  admitted_count = 0;
  for_all("Host:h", head_pieces, count, 5, compare_headers);
  for_all("", head_pieces, count, 5, compare_headers);
  assert_true(admitted_count > 20);
}

typedef struct example {
  gate_verdict_t verdict;
  const char *head;
} example_t;

#define GET(target)   "GET " target " HTTP/1.1\r\nHost: h\r\n\r\n"
#define WITH(header)  "GET /a HTTP/1.1\r\nHost: h\r\n" header "\r\n\r\n"
#define POST(headers) "POST /a HTTP/1.1\r\nHost: h\r\n" headers "\r\n\r\n"

static const example_t examples[] = {
    {GATE_ADMIT, GET("/")},
    {GATE_ADMIT, GET("/api/v1/configs/a%20b?page[number]=1&q=%C3%A9+x")},
    {GATE_ADMIT, GET("http://h/a")},
    {GATE_ADMIT, "GET /a HTTP/1.0\r\nHost: h:80\r\n\r\n"},
    {GATE_ADMIT, "HEAD /a HTTP/1.1\r\nhOsT:[::1]:8000\r\n\r\n"},
    {GATE_ADMIT, "DELETE /a HTTP/1.1\r\nHost: a.b_c-d:65535\r\nContent-Length: 0\r\n\r\n"},
    {GATE_ADMIT, POST("Content-Length: 5\r\nExpect: 100-Continue")},
    {GATE_ADMIT, WITH("X-Empty:\r\nX-Text: caf\xc3\xa9 \t")},
    {GATE_LINE_END, "GET /a HTTP/1.1\nHost: h\n\n"},
    {GATE_LINE_END, "GET /a HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n"},
    {GATE_LINE_END, "\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n"},
    {GATE_CONTROL, WITH("X: a\x01"
                        "b")},
    {GATE_CONTROL, WITH("X: a\x7f")},
    {GATE_CONTROL, "\x16\x03\x01\x02\r\n\r\n"},
    {GATE_REQUEST_LINE, "\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n"},
    {GATE_REQUEST_LINE, "GET /a\r\nHost: h\r\n\r\n"},
    {GATE_REQUEST_LINE, "GET\r\nHost: h\r\n\r\n"},
    {GATE_REQUEST_LINE, " GET /a HTTP/1.1\r\nHost: h\r\n\r\n"},
    {GATE_REQUEST_LINE, "GET  HTTP/1.1\r\nHost: h\r\n\r\n"},
    {GATE_METHOD, "PRI /a HTTP/1.1\r\nHost: h\r\n\r\n"},
    {GATE_METHOD, "get /a HTTP/1.1\r\nHost: h\r\n\r\n"},
    {GATE_METHOD, "TRACE /a HTTP/1.1\r\nHost: h\r\n\r\n"},
    {GATE_METHOD, "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n"},
    {GATE_METHOD, "GETX /a HTTP/1.1\r\nHost: h\r\n\r\n"},
    {GATE_VERSION, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
    {GATE_VERSION, "GET /a HTTP/1.2\r\nHost: h\r\n\r\n"},
    {GATE_VERSION, "GET /a HTTP/0.9\r\nHost: h\r\n\r\n"},
    {GATE_VERSION, "GET /a http/1.1\r\nHost: h\r\n\r\n"},
    {GATE_VERSION, "GET /a RTSP/1.0\r\nHost: h\r\n\r\n"},
    {GATE_VERSION, "GET /a HTTP/1.1 \r\nHost: h\r\n\r\n"},
    {GATE_VERSION, "GET /a HTTP/1.10\r\nHost: h\r\n\r\n"},
    {GATE_VERSION, "GET /a\tHTTP/1.1 x\r\nHost: h\r\n\r\n"},
    {GATE_TARGET_FORM, "GET  /a HTTP/1.1\r\nHost: h\r\n\r\n"},
    {GATE_TARGET_FORM, GET("*")},
    {GATE_TARGET_FORM, GET("api/v1/x")},
    {GATE_TARGET_FORM, GET("h:80")},
    {GATE_TARGET_FORM, GET("https://h/a")},
    {GATE_TARGET_FORM, GET("HTTP://h/a")},
    {GATE_TARGET_FORM, GET("http://h")},
    {GATE_TARGET_FORM, GET("http:///a")},
    {GATE_TARGET_FORM, GET("http://user@h/a")},
    {GATE_TARGET_FORM, GET("?a=b")},
    {GATE_AUTHORITY, GET("http://g/a")},
    {GATE_AUTHORITY, GET("http://h:80/a")},
    {GATE_PATH_BYTE, GET("/a b")},
    {GATE_PATH_BYTE, GET("/a#b")},
    {GATE_PATH_BYTE, GET("/a;b")},
    {GATE_PATH_BYTE, GET("/a\\b")},
    {GATE_PATH_BYTE, GET("/a\xc3\xa9")},
    {GATE_PATH_BYTE, GET("/a$b")},
    {GATE_PATH_BYTE, GET("/a'b")},
    {GATE_PATH_BYTE, GET("/a{b}")},
    {GATE_PATH_BYTE, "GET /a\tb HTTP/1.1\r\nHost: h\r\n\r\n"},
    {GATE_PATH_ESCAPE, GET("/a%2fb")},
    {GATE_PATH_ESCAPE, GET("/a%5Cb")},
    {GATE_PATH_ESCAPE, GET("/%2e%2e/a")},
    {GATE_PATH_ESCAPE, GET("/a%00")},
    {GATE_PATH_ESCAPE, GET("/a%252e")},
    {GATE_PATH_ESCAPE, GET("/a%3b")},
    {GATE_PATH_ESCAPE, GET("/a%3F")},
    {GATE_PATH_ESCAPE, GET("/a%23")},
    {GATE_PATH_ESCAPE, GET("/a%7f")},
    {GATE_PATH_ESCAPE, GET("/a%")},
    {GATE_PATH_ESCAPE, GET("/a%4")},
    {GATE_PATH_ESCAPE, GET("/a%4/b")},
    {GATE_PATH_ESCAPE, GET("/a%u002e")},
    {GATE_PATH_UTF8, GET("/a%c0%ae")},
    {GATE_PATH_UTF8, GET("/a%c1%9c")},
    {GATE_PATH_UTF8, GET("/a%e0%80%af")},
    {GATE_PATH_UTF8, GET("/a%c3/%a9")},
    {GATE_PATH_UTF8, GET("/a%c2%85")},
    {GATE_PATH_UTF8, GET("/a%ff")},
    {GATE_EMPTY_SEGMENT, GET("//a")},
    {GATE_EMPTY_SEGMENT, GET("/a//b")},
    {GATE_DOT_SEGMENT, GET("/a/../b")},
    {GATE_DOT_SEGMENT, GET("/a/.")},
    {GATE_DOT_SEGMENT, GET("/..")},
    {GATE_TRAILING_SLASH, GET("/a/")},
    {GATE_QUERY_BYTE, GET("/a?b#c")},
    {GATE_QUERY_BYTE, GET("/a?b c")},
    {GATE_QUERY_BYTE, GET("/a?b=\"")},
    {GATE_QUERY_ESCAPE, GET("/a?b=%00")},
    {GATE_QUERY_ESCAPE, GET("/a?b=%0d%0a")},
    {GATE_QUERY_ESCAPE, GET("/a?b=%zz")},
    {GATE_QUERY_UTF8, GET("/a?b=%ff")},
    {GATE_HEADER_FOLD, WITH("X: a\r\n b")},
    {GATE_HEADER_FOLD, "GET /a HTTP/1.1\r\n Host: h\r\n\r\n"},
    {GATE_HEADER_FOLD, WITH("X: a\r\n\tTransfer-Encoding: chunked")},
    {GATE_HEADER_NAME, WITH("X : a")},
    {GATE_HEADER_NAME, WITH(": a")},
    {GATE_HEADER_NAME, WITH("X")},
    {GATE_HEADER_NAME, WITH("Content_Length: 5")},
    {GATE_CONTROL, WITH("Transfer-Encoding\v: chunked")},
    {GATE_HEADER_NAME, WITH("X\xff: a")},
    {GATE_HEADER_NEAR_MISS, WITH("ContentLength: 5")},
    {GATE_HEADER_NEAR_MISS, WITH("Content-Length-: 5")},
    {GATE_HEADER_NEAR_MISS, WITH("-Transfer-Encoding: chunked")},
    {GATE_HEADER_NEAR_MISS, WITH("Ho-st: g")},
    {GATE_HEADER_TWICE, WITH("Host: h")},
    {GATE_HEADER_TWICE, POST("Content-Length: 5\r\ncontent-length: 5")},
    {GATE_HEADER_TWICE, POST("Content-Length: 5\r\nContent-Length: 6")},
    {GATE_HEADER_TWICE, WITH("Origin: http://h\r\nOrigin: http://g")},
    {GATE_HEADER_TWICE, WITH("Authorization: Bearer a\r\nAuthorization: Bearer b")},
    {GATE_HOST_MISSING, "GET /a HTTP/1.1\r\n\r\n"},
    {GATE_HOST_MISSING, "GET /a HTTP/1.0\r\n\r\n"},
    {GATE_HOST, "GET /a HTTP/1.1\r\nHost:\r\n\r\n"},
    {GATE_HOST, "GET /a HTTP/1.1\r\nHost: a b\r\n\r\n"},
    {GATE_HOST, "GET /a HTTP/1.1\r\nHost: a@b\r\n\r\n"},
    {GATE_HOST, "GET /a HTTP/1.1\r\nHost: a/b\r\n\r\n"},
    {GATE_HOST, "GET /a HTTP/1.1\r\nHost: a,b\r\n\r\n"},
    {GATE_HOST, "GET /a HTTP/1.1\r\nHost: a:\r\n\r\n"},
    {GATE_HOST, "GET /a HTTP/1.1\r\nHost: a:65536\r\n\r\n"},
    {GATE_HOST, "GET /a HTTP/1.1\r\nHost: a:8o\r\n\r\n"},
    {GATE_HOST, "GET /a HTTP/1.1\r\nHost: [::1\r\n\r\n"},
    {GATE_HOST, "GET /a HTTP/1.1\r\nHost: []\r\n\r\n"},
    {GATE_HOST, "GET /a HTTP/1.1\r\nHost: .a\r\n\r\n"},
    {GATE_LENGTH, POST("Content-Length:")},
    {GATE_LENGTH, POST("Content-Length: +5")},
    {GATE_LENGTH, POST("Content-Length: -5")},
    {GATE_LENGTH, POST("Content-Length: 05")},
    {GATE_LENGTH, POST("Content-Length: 0x5")},
    {GATE_LENGTH, POST("Content-Length: 5, 5")},
    {GATE_LENGTH, POST("Content-Length: 5 5")},
    {GATE_LENGTH, POST("Content-Length: 5 \t")},
    {GATE_LENGTH, POST("Content-Length: 1000000000000000000")}, /* one digit above the limit */
    {GATE_ADMIT, POST("Content-Length: 999999999999999999")},
    {GATE_TRANSFER_ENCODING, POST("Transfer-Encoding: chunked")},
    {GATE_TRANSFER_ENCODING, POST("Transfer-Encoding:")},
    {GATE_TRANSFER_ENCODING, POST("Transfer-Encoding: identity")},
    {GATE_TRANSFER_ENCODING, POST("Content-Length: 5\r\nTRANSFER-ENCODING: chunked")},
    {GATE_UPGRADE, WITH("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c")},
    {GATE_UPGRADE, WITH("Upgrade: websocket")},
    {GATE_EXPECT, POST("Content-Length: 5\r\nExpect: 200-ok")},
    {GATE_EXPECT, "GET /a HTTP/1.0\r\nHost: h\r\nExpect: 100-continue\r\n\r\n"},
    {GATE_BODY, WITH("Content-Length: 5")},
    {GATE_BODY, "POST /a HTTP/1.0\r\nHost: h\r\nContent-Length: 5\r\n\r\n"},
};

/* As a connection does it: find the end of the head, then decide. */
static gate_verdict_t judge(const uint8_t *bytes, size_t len)
{
  static gate_head_t out;
  size_t end = 0;
  bool keep;
  gate_verdict_t verdict = gate_scan(bytes, len, 0, &end);
  return verdict == GATE_ADMIT ? head_read(bytes, end, &out, &keep) : verdict;
}

static void every_example_gets_its_verdict(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
    gate_verdict_t verdict = judge((const uint8_t *)examples[i].head, strlen(examples[i].head));
    if (verdict != examples[i].verdict)
      fail_msg("%s: %s, expected %s", examples[i].head, gate_reason(verdict),
               gate_reason(examples[i].verdict));
  }
}

static void every_refusal_has_an_example_or_a_limit(void **state)
{
  (void)state;
  for (unsigned verdict = 0; verdict < GATE_COUNT; verdict++) {
    bool found = verdict == GATE_MORE || verdict == GATE_HEAD_SIZE || verdict == GATE_TARGET_SIZE ||
                 verdict == GATE_HEADER_COUNT || verdict == GATE_DISAGREE;
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++)
      found = found || examples[i].verdict == verdict;
    if (!found)
      fail_msg("no example of %s", gate_reason((gate_verdict_t)verdict));
  }
}

static void the_verdict_is_the_same_however_the_bytes_arrive(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
    const uint8_t *bytes = (const uint8_t *)examples[i].head;
    size_t len = strlen(examples[i].head), whole_end = 0, end = 0;
    gate_verdict_t whole = gate_scan(bytes, len, 0, &whole_end);
    gate_verdict_t step = GATE_MORE;
    for (size_t have = 1; have <= len && step == GATE_MORE; have++)
      step = gate_scan(bytes, have, have - 1, &end);
    assert_int_equal(step, whole);
    assert_int_equal(end, whole_end);
  }
}

static void a_head_with_a_nul_is_refused(void **state)
{
  (void)state;
  static const char head[] = "GET /a HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n";
  assert_int_equal(judge((const uint8_t *)head, sizeof head - 1), GATE_CONTROL);
}

/* ---- limits ---- */

static void targets_are_bounded(void **state)
{
  (void)state;
  static char head[2 * LIMIT_TARGET];
  for (int more = -1; more <= 1; more++) {
    int len = LIMIT_TARGET + more;
    int n = snprintf(head, sizeof head, "GET /%0*d HTTP/1.1\r\nHost: h\r\n\r\n", len - 1, 0);
    assert_int_equal(judge((const uint8_t *)head, (size_t)n), more > 0 ? GATE_TARGET_SIZE : GATE_ADMIT);
  }
}

static void header_lines_are_bounded(void **state)
{
  (void)state;
  static char head[64 + 8 * LIMIT_HEADERS];
  for (int more = -1; more <= 1; more++) {
    int n = snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: h\r\n");
    for (int i = 1; i < LIMIT_HEADERS + more; i++)
      n += snprintf(head + n, sizeof head - (size_t)n, "X: a\r\n");
    n += snprintf(head + n, sizeof head - (size_t)n, "\r\n");
    assert_int_equal(judge((const uint8_t *)head, (size_t)n), more > 0 ? GATE_HEADER_COUNT : GATE_ADMIT);
  }
}

static void heads_are_bounded(void **state)
{
  (void)state;
  static char head[LIMIT_HEAD + 8];
  static const char start[] = "GET / HTTP/1.1\r\nHost: h\r\nX: ";
  for (int more = -1; more <= 1; more++) {
    size_t len = (size_t)(LIMIT_HEAD + more);
    memset(head, 'x', len);
    memcpy(head, start, sizeof start - 1);
    memcpy(head + len - 4, "\r\n\r\n", 4);
    assert_int_equal(judge((const uint8_t *)head, len), more > 0 ? GATE_HEAD_SIZE : GATE_ADMIT);
  }
  size_t end;
  memset(head, 'x', sizeof head);
  assert_int_equal(gate_scan((const uint8_t *)head, LIMIT_HEAD - 1, 0, &end), GATE_MORE);
  assert_int_equal(gate_scan((const uint8_t *)head, LIMIT_HEAD, 0, &end), GATE_HEAD_SIZE);
}

static void hosts_are_bounded(void **state)
{
  (void)state;
  static char host[LIMIT_HOST + 1];
  memset(host, 'a', sizeof host);
  assert_int_equal(gate_host((const uint8_t *)host, LIMIT_HOST), GATE_ADMIT);
  assert_int_equal(gate_host((const uint8_t *)host, LIMIT_HOST + 1), GATE_HOST);
}

/* llhttp without the gate in front of it: 8 is strict by how it is built, 9 unless a lenient flag is set. (8
 * takes a bare LF behind a line, 9 does not: the gate refuses it before either.) */
static llhttp_errno_t llhttp_alone(const char *head)
{
  llhttp_settings_t settings;
  llhttp_t parser;
  llhttp_settings_init(&settings);
  llhttp_init(&parser, HTTP_REQUEST, &settings);
  assert_int_equal(parser.lenient_flags, 0);
  return llhttp_execute(&parser, head, strlen(head));
}

static void the_second_reading_is_strict_by_itself(void **state)
{
  (void)state;
  static const char *const refused[] = {
      WITH("X : a"),
      WITH("X: a\x01"),
      WITH("X: a\nY: b"),
      WITH("X: a\rY: b"),
      WITH("X@: a"),
      GET("/caf\xc3\xa9"),
      GET("/a\x01"),
      POST("Content-Length: 5\r\nContent-Length: 5"),
      POST("Content-Length: 5, 5"),
      POST("Content-Length: +5"),
      POST("Content-Length: 5\r\nTransfer-Encoding: chunked"),
      POST("Transfer-Encoding: chunked\r\nContent-Length: 5"),
      POST("Transfer-Encoding: chunked, gzip"),
      POST("Transfer-Encoding: chunked") "1\n",
      POST("Transfer-Encoding: chunked") "1\r\nab",
      POST("Connection: close\r\nContent-Length: 0") GET("/hidden"),
      "GET /a HTTP/1.7\r\nHost: h\r\n\r\n",
  };
  assert_int_equal(llhttp_alone(GET("/a") POST("Content-Length: 2") "{}"), HPE_OK);
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
    if (llhttp_alone(refused[i]) == HPE_OK)
      fail_msg("llhttp takes <<%s>>", refused[i]);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gate_and_naive_reading_agree_on_every_short_path),
      cmocka_unit_test(every_byte_is_judged_as_naively_raw_and_encoded),
      cmocka_unit_test(every_encoded_sequence_of_three_bytes_is_judged_as_naively),
      cmocka_unit_test(encoded_sequences_of_four_bytes_are_judged_as_naively_at_all_edges),
      cmocka_unit_test(no_repair_leads_an_admitted_path_out_of_its_rule),
      cmocka_unit_test(rules_compare_bytes),
      cmocka_unit_test(gate_and_naive_reading_agree_on_every_short_list_of_headers),
      cmocka_unit_test(every_example_gets_its_verdict),
      cmocka_unit_test(every_refusal_has_an_example_or_a_limit),
      cmocka_unit_test(the_verdict_is_the_same_however_the_bytes_arrive),
      cmocka_unit_test(a_head_with_a_nul_is_refused),
      cmocka_unit_test(targets_are_bounded),
      cmocka_unit_test(header_lines_are_bounded),
      cmocka_unit_test(heads_are_bounded),
      cmocka_unit_test(hosts_are_bounded),
      cmocka_unit_test(the_second_reading_is_strict_by_itself),
  };
  return cmocka_run_group_tests_name("front gate", tests, load_language, NULL);
}
