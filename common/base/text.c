/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/text.h"

#include <stdio.h>
#include <string.h>

#include "common/base/count.h"
#include "common/base/error.h"

int text_parse_u64(const char *s, size_t len, uint64_t max, uint64_t *out)
{
  uint64_t v = 0;
  if (len == 0)
    return SMPL_EINVAL;
  for (size_t i = 0; i < len; i++) {
    if (s[i] < '0' || s[i] > '9')
      return SMPL_EINVAL;
    uint64_t d = (uint64_t)(s[i] - '0');
    if (v > (UINT64_MAX - d) / 10)
      return SMPL_ELIMIT;
    v = v * 10 + d;
  }
  if (v > max)
    return SMPL_ELIMIT;
  *out = v;
  return SMPL_OK;
}

static const struct unit {
  const char *suffix;
  uint64_t ms;
} units[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 3600 * 1000}, {"d", 86400ULL * 1000},
};

int text_parse_duration(const char *s, size_t len, uint64_t *out)
{
  size_t digits = 0;
  while (digits < len && s[digits] >= '0' && s[digits] <= '9')
    digits++;
  uint64_t n;
  int err = text_parse_u64(s, digits, UINT64_MAX, &n);
  if (err)
    return err;
  if (digits == len && n == 0) {
    *out = 0;
    return SMPL_OK;
  }
  for (size_t i = 0; i < COUNT_OF(units); i++) {
    size_t sl = strlen(units[i].suffix);
    if (len - digits != sl || memcmp(s + digits, units[i].suffix, sl) != 0)
      continue;
    if (__builtin_mul_overflow(n, units[i].ms, &n))
      return SMPL_ELIMIT;
    *out = n;
    return SMPL_OK;
  }
  return SMPL_EINVAL;
}

char *text_format_duration(char *dst, size_t cap, uint64_t ms)
{
  size_t best = 0;
  for (size_t i = 0; i < COUNT_OF(units); i++)
    if (ms % units[i].ms == 0 && ms >= units[i].ms)
      best = i;
  if (ms == 0)
    snprintf(dst, cap, "0");
  else
    snprintf(dst, cap, "%llu%s", (unsigned long long)(ms / units[best].ms), units[best].suffix);
  return dst;
}

static const char hex_digits[] = "0123456789abcdef";

/* Appends \xNN; false when it does not fit any more. */
static bool put_hex(char *dst, size_t cap, size_t *used, uint8_t c)
{
  if (cap - *used < 5)
    return false;
  dst[(*used)++] = '\\';
  dst[(*used)++] = 'x';
  dst[(*used)++] = hex_digits[c >> 4];
  dst[(*used)++] = hex_digits[c & 15];
  return true;
}

size_t text_escape(char *dst, size_t cap, const void *src, size_t len)
{
  const uint8_t *s = src;
  size_t used = 0;
  for (size_t i = 0; i < len; i++) {
    if (s[i] == '\\') {
      if (cap - used < 3)
        break;
      dst[used++] = '\\';
      dst[used++] = '\\';
    } else if (s[i] >= 0x20 && s[i] < 0x7f) {
      if (cap - used < 2)
        break;
      dst[used++] = (char)s[i];
    } else if (!put_hex(dst, cap, &used, s[i])) {
      break;
    }
  }
  dst[used] = '\0';
  return used;
}

/* Characters that turn the order of a line around or break it (Unicode Bidi_Control, U+2028, U+2029): a file
 * name or a message with one reads as something else than it is. n bytes of valid UTF-8. */
static bool misleads(const uint8_t *s, size_t n)
{
  if (n == 2)
    return s[0] == 0xd8 && s[1] == 0x9c; /* U+061C */
  if (n != 3 || s[0] != 0xe2)
    return false;
  return (s[1] == 0x80 &&
          (s[2] == 0x8e || s[2] == 0x8f || (s[2] >= 0xa8 && s[2] <= 0xae))) || /* U+200E, F, 2028-202E */
         (s[1] == 0x81 && s[2] >= 0xa6 && s[2] <= 0xa9);                       /* U+2066-2069 */
}

size_t text_char_len(const void *src, size_t left)
{
  const uint8_t *s = src;
  if (left == 0)
    return 0;
  if (s[0] >= 0x20 && s[0] < 0x7f)
    return 1;
  size_t n = s[0] >= 0xc2 && s[0] <= 0xdf   ? 2
             : s[0] >= 0xe0 && s[0] <= 0xef ? 3
             : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4
                                            : 0;
  if (n == 0 || n > left)
    return 0;
  for (size_t i = 1; i < n; i++)
    if ((s[i] & 0xc0) != 0x80)
      return 0;
  if ((s[0] == 0xc2 && s[1] < 0xa0) || (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
      (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
    return 0;
  return misleads(s, n) ? 0 : n;
}

size_t text_printable(char *dst, size_t cap, const void *src, size_t len)
{
  const uint8_t *s = src;
  size_t used = 0;
  for (size_t i = 0; i < len;) {
    size_t n = text_char_len(s + i, len - i);
    if (n == 0) {
      if (!put_hex(dst, cap, &used, s[i]))
        break;
      i++;
      continue;
    }
    if (cap - used < n + 1)
      break;
    memcpy(dst + used, s + i, n);
    used += n;
    i += n;
  }
  dst[used] = '\0';
  return used;
}

void text_hex(char *dst, const uint8_t *src, size_t len)
{
  for (size_t i = 0; i < len; i++) {
    dst[2 * i] = hex_digits[src[i] >> 4];
    dst[2 * i + 1] = hex_digits[src[i] & 15];
  }
  dst[2 * len] = '\0';
}

bool text_equal_nocase(const char *a, const char *b)
{
  for (; *a != '\0' && *b != '\0'; a++, b++)
    if (text_lower(*a) != text_lower(*b))
      return false;
  return *a == *b;
}

int text_copy(char *dst, size_t cap, const char *src)
{
  size_t len = strlen(src);
  if (len >= cap) {
    if (cap > 0)
      dst[0] = '\0';
    return SMPL_ELIMIT;
  }
  memcpy(dst, src, len + 1);
  return SMPL_OK;
}

static unsigned least(unsigned a, unsigned b)
{
  return a < b ? a : b;
}

unsigned text_distance(const char *a, const char *b)
{
  unsigned rows[3][TEXT_DISTANCE_MAX + 1];
  size_t la = strnlen(a, TEXT_DISTANCE_MAX), lb = strnlen(b, TEXT_DISTANCE_MAX);
  for (size_t j = 0; j <= lb; j++)
    rows[0][j] = (unsigned)j;
  for (size_t i = 1; i <= la; i++) {
    unsigned *now = rows[i % 3], *before = rows[(i + 2) % 3], *two_before = rows[(i + 1) % 3];
    now[0] = (unsigned)i;
    for (size_t j = 1; j <= lb; j++) {
      now[j] = least(least(before[j] + 1, now[j - 1] + 1), before[j - 1] + (a[i - 1] != b[j - 1]));
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        now[j] = least(now[j], two_before[j - 2] + 1);
    }
  }
  return rows[la % 3][lb];
}
