/* SPDX-License-Identifier: Apache-2.0 */
/* Small, locale-free text functions: checked numbers, durations, escaping of hostile bytes, hex. All pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decimal digits only, the whole of s[0..len), value at most max. SMPL_EINVAL or SMPL_ELIMIT otherwise. */
int text_parse_u64(const char *s, size_t len, uint64_t max, uint64_t *out);

/* "500ms", "30s", "20m", "8h", "7d" or a bare "0": milliseconds into *out. SMPL_EINVAL, SMPL_ELIMIT. */
int text_parse_duration(const char *s, size_t len, uint64_t *out);

/* Writes ms as the shortest exact form that text_parse_duration reads ("90s", "20m", "1500ms"). Returns dst.
 */
char *text_format_duration(char *dst, size_t cap, uint64_t ms);

/* The one escaping function for bytes that others chose: printable ASCII stays, backslash becomes \\,
 * everything else \xNN. Always ends dst with NUL and cuts at a whole escape. Returns the length written. cap
 * must be at least 1. */
size_t text_escape(char *dst, size_t cap, const void *src, size_t len);

/* Bytes of the UTF-8 sequence at s (left bytes of it) that encodes a printable character. 0 if there is none
 * (RFC 3629 §4), or if text_printable escapes it. */
size_t text_char_len(const void *s, size_t left);
/* For messages of ours that may quote others: like text_escape, but leaves valid UTF-8 and backslashes alone.
 * It escapes control characters, bad UTF-8, and characters that turn a line around or break it (U+061C,
 * U+200E, U+200F, U+2028 to U+202E, U+2066 to U+2069). */
size_t text_printable(char *dst, size_t cap, const void *src, size_t len);

/* Lower-case hex of len bytes into dst (2 * len + 1 bytes). */
void text_hex(char *dst, const uint8_t *src, size_t len);

/* ASCII only, whatever the locale. */
static inline char text_lower(char c)
{
  return (c >= 'A' && c <= 'Z') ? (char)(c + ('a' - 'A')) : c;
}

static inline char text_upper(char c)
{
  return (c >= 'a' && c <= 'z') ? (char)(c - ('a' - 'A')) : c;
}

bool text_equal_nocase(const char *a, const char *b);

/* Copies src with its NUL if it fits in cap; SMPL_ELIMIT and an empty dst if not. */
int text_copy(char *dst, size_t cap, const char *src);

enum { TEXT_DISTANCE_MAX = 254 }; /* bytes of each text that text_distance looks at */

/* How many edits are between two texts: a byte more, less or changed, or two neighbours exchanged. */
unsigned text_distance(const char *a, const char *b);
