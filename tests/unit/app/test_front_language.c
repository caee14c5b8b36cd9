/* SPDX-License-Identifier: Apache-2.0 */
/* app/gate/gate.c admits what the table of its language says (language.txt): every byte in every position,
 * every pair, every escape. tests/e2e/test_haproxy_language.py does the same with the balancers'
 * expressions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "app/gate/gate.h"
#include "tests/unit/app/language.h"

static language_t language;
static size_t compared, admitted;

static int load(void **state)
{
  (void)state;
  return language_load(&language) ? 0 : -1;
}

static void wrong(const char *what, const char *text, size_t len, gate_verdict_t verdict)
{
  char shown[256];
  size_t used = 0;
  for (size_t i = 0; i < len && used + 5 < sizeof shown; i++)
    used += (size_t)snprintf(shown + used, sizeof shown - used,
                             text[i] > 0x20 && text[i] < 0x7f ? "%c" : "\\x%02x", (uint8_t)text[i]);
  fail_msg("%s %s: the gate says %s, the table the opposite", what, shown, gate_reason(verdict));
}

/* The text as a segment by itself, behind and before others, and as a query. It has no slash. */
static void compare(const char *text, size_t len)
{
  static const char *const around[][2] = {{"/", ""}, {"/a/", ""}, {"/", "/a"}};
  bool segment = language_segment(&language, text, len);
  for (size_t i = 0; i < sizeof around / sizeof *around; i++) {
    char path[80];
    size_t before = strlen(around[i][0]), behind = strlen(around[i][1]);
    memcpy(path, around[i][0], before);
    memcpy(path + before, text, len);
    memcpy(path + before + len, around[i][1], behind);
    size_t whole = before + len + behind;
    gate_verdict_t verdict = gate_path((const uint8_t *)path, whole);
    if ((verdict == GATE_ADMIT) != segment)
      wrong("path", path, whole, verdict);
  }
  gate_verdict_t verdict = gate_query((const uint8_t *)text, len);
  if ((verdict == GATE_ADMIT) != language_query(&language, text, len))
    wrong("query", text, len, verdict);
  compared++;
  admitted += segment;
}

/* Slashes part segments: what stands between them is compared. */
static void compare_bytes(const char *text, size_t len)
{
  if (memchr(text, '/', len) == NULL)
    compare(text, len);
}

static void every_byte_in_every_position(void **state)
{
  (void)state;
  for (unsigned c = 0; c < 256; c++) {
    const char b = (char)c;
    compare_bytes((char[]){b}, 1);
    compare_bytes((char[]){b, 'a'}, 2);
    compare_bytes((char[]){'a', b}, 2);
    compare_bytes((char[]){'a', b, 'a'}, 3);
  }
}

static void every_pair_of_bytes_raw_and_behind_a_percent_sign(void **state)
{
  (void)state;
  for (unsigned pair = 0; pair < 0x10000; pair++) {
    const char a = (char)(pair >> 8), b = (char)pair;
    compare_bytes((char[]){a, b}, 2);
    compare_bytes((char[]){'%', a, b}, 3);
    compare_bytes((char[]){'a', '%', a, b, 'a'}, 5);
    compare_bytes((char[]){'.', a, b}, 3);
  }
}

static void escaped(const char *format, unsigned a, unsigned b, unsigned c, unsigned d)
{
  char text[32];
  int len = snprintf(text, sizeof text, format, a, b, c, d);
  compare(text, (size_t)len);
}

static void every_pair_of_escapes(void **state)
{
  (void)state;
  for (unsigned pair = 0; pair < 0x10000; pair++) {
    escaped("%%%02x%%%02X", pair >> 8, pair & 0xff, 0, 0);
    escaped("%%%02Xa%%%02x", pair >> 8, pair & 0xff, 0, 0);
  }
}

static void every_longer_sequence_of_escapes_at_its_edges(void **state)
{
  static const unsigned edges[] = {0x2f, 0x61, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff};
  enum { EDGES = sizeof edges / sizeof *edges };
  (void)state;
  for (unsigned a = 0xe0; a < 0xf0; a++)
    for (unsigned bc = 0; bc < 0x10000; bc++)
      if (bc >> 8 >= 0x70 && bc >> 8 < 0xd0 && (bc & 0xff) >= 0x70 && (bc & 0xff) < 0xd0)
        escaped("%%%02x%%%02x%%%02x", a, bc >> 8, bc & 0xff, 0);
  for (unsigned a = 0xe0; a < 0x100; a++)
    for (unsigned i = 0; i < EDGES * EDGES * EDGES; i++)
      escaped("%%%02x%%%02x%%%02x%%%02X", a, edges[i % EDGES], edges[i / EDGES % EDGES],
              edges[i / EDGES / EDGES]);
}

static void enough_was_compared_and_part_of_it_admitted(void **state)
{
  (void)state;
  assert_true(compared > 500000 && admitted > 10000 && admitted < compared / 2);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_byte_in_every_position),
      cmocka_unit_test(every_pair_of_bytes_raw_and_behind_a_percent_sign),
      cmocka_unit_test(every_pair_of_escapes),
      cmocka_unit_test(every_longer_sequence_of_escapes_at_its_edges),
      cmocka_unit_test(enough_was_compared_and_part_of_it_admitted),
  };
  return cmocka_run_group_tests(tests, load, NULL);
}
