/* SPDX-License-Identifier: Apache-2.0 */
/* The table of the bytes of paths and queries, app/gate/language.txt, for tests. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LANGUAGE_ROWS_MAX = 16, LANGUAGE_UTF8_MAX = 4 };

typedef struct language_range {
  unsigned low, high;
} language_range_t;

typedef struct language {
  bool path[256], query[256]; /* as they are; query: those of a path too */
  bool hidden[256];           /* escaped in a path, never */
  bool control[256];          /* escaped, never */
  language_range_t utf8[LANGUAGE_ROWS_MAX][LANGUAGE_UTF8_MAX];
  size_t utf8_len[LANGUAGE_ROWS_MAX]; /* bytes of that row */
  size_t utf8_count;
} language_t;

/* Reads the table; false: it is not what it should be. */
bool language_load(language_t *out);

/* Whether decoded bytes that were escaped, in one go, are what the rows call UTF-8; bytes below 0x80 are. */
bool language_utf8(const language_t *l, const uint8_t *s, size_t len);
/* Whether s may be a segment: a dot segment may not, and an empty one neither. At most 64 bytes. */
bool language_segment(const language_t *l, const char *s, size_t len);
bool language_query(const language_t *l, const char *s, size_t len);
