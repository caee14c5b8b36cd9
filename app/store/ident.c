/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/ident.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#include "common/base/error.h"
#include "common/base/text.h"

int uuid_generate(char *out)
{
  uint8_t b[16];
  char hex[33];
  if (RAND_bytes(b, sizeof b) != 1)
    return SMPL_ESYS;
  b[6] = (uint8_t)((b[6] & 0x0f) | 0x40); /* RFC 4122 §4.4 */
  b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
  text_hex(hex, b, sizeof b);
  snprintf(out, UUID_TEXT_MAX, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
  return SMPL_OK;
}

ip_t uuid_place(const char *text)
{
  ip_t place = {{0}};
  for (size_t digits = 0; *text != '\0' && digits < 32; text++) {
    if (*text == '-')
      continue;
    unsigned value = *text <= '9' ? (unsigned)*text - '0' : (unsigned)*text - 'a' + 10;
    place.b[digits / 2] = (uint8_t)(place.b[digits / 2] << 4 | (value & 15));
    digits++;
  }
  return place;
}

bool uuid_valid(const char *text)
{
  for (int i = 0; i < UUID_TEXT_MAX - 1; i++) {
    bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    bool hex = (text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f');
    if (dash ? text[i] != '-' : !hex)
      return false;
  }
  return text[UUID_TEXT_MAX - 1] == '\0';
}

bool resource_id_valid(const char *id)
{
  size_t len = strnlen(id, RESOURCE_ID_MAX + 1);
  if (len == 0 || len > RESOURCE_ID_MAX || strcmp(id, ".") == 0 || strcmp(id, "..") == 0)
    return false;
  return strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._~-") == len;
}

/* Exactly n digits at *s, value in [min, max]; *s moves on. */
static int digits(const char **s, size_t n, unsigned min, unsigned max, unsigned *out)
{
  unsigned v = 0;
  for (size_t i = 0; i < n; i++) {
    char c = (*s)[i];
    if (c < '0' || c > '9')
      return SMPL_EINVAL;
    v = v * 10 + (unsigned)(c - '0');
  }
  *s += n;
  *out = v;
  return v >= min && v <= max ? SMPL_OK : SMPL_EINVAL;
}

static int literal(const char **s, char c)
{
  if (**s != c)
    return SMPL_EINVAL;
  (*s)++;
  return SMPL_OK;
}

static unsigned month_days(unsigned year, unsigned month)
{
  static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return days[month - 1] + (month == 2 && leap ? 1u : 0u);
}

/* Days from 1970-01-01, counted by years and months: years are at most 9999. */
static int64_t days_since_epoch(unsigned year, unsigned month, unsigned day)
{
  int64_t before = (int64_t)year - 1;
  int64_t days = before * 365 + before / 4 - before / 100 + before / 400 - 719162;
  for (unsigned m = 1; m < month; m++)
    days += month_days(year, m);
  return days + day - 1;
}

/* ".616": milliseconds; digits after the third are read and dropped. */
static int fraction(const char **s, unsigned *ms)
{
  *ms = 0;
  if (**s != '.')
    return SMPL_OK;
  (*s)++;
  unsigned scale = 100, count = 0;
  for (; **s >= '0' && **s <= '9'; (*s)++, count++) {
    *ms += (unsigned)(**s - '0') * scale;
    scale /= 10;
  }
  return count > 0 && count <= 9 ? SMPL_OK : SMPL_EINVAL;
}

/* "Z" or "+hh:mm": minutes east of Greenwich. */
static int offset(const char **s, int *minutes)
{
  unsigned h, m;
  *minutes = 0;
  if (**s == 'Z' || **s == 'z') {
    (*s)++;
    return SMPL_OK;
  }
  bool west = **s == '-';
  if (!west && **s != '+')
    return SMPL_EINVAL;
  (*s)++;
  if (digits(s, 2, 0, 23, &h) || literal(s, ':') || digits(s, 2, 0, 59, &m))
    return SMPL_EINVAL;
  *minutes = (int)(h * 60 + m) * (west ? -1 : 1);
  return SMPL_OK;
}

int time_parse(const char *s, uint64_t *out)
{
  unsigned year, month, day, hour, minute, second, ms;
  int east;
  if (digits(&s, 4, 1970, 9999, &year) || literal(&s, '-') || digits(&s, 2, 1, 12, &month) ||
      literal(&s, '-') || digits(&s, 2, 1, month_days(year, month), &day))
    return SMPL_EINVAL;
  if (*s != 'T' && *s != 't' && *s != ' ')
    return SMPL_EINVAL;
  s++;
  if (digits(&s, 2, 0, 23, &hour) || literal(&s, ':') || digits(&s, 2, 0, 59, &minute) || literal(&s, ':') ||
      digits(&s, 2, 0, 60, &second) || fraction(&s, &ms) || offset(&s, &east) || *s != '\0')
    return SMPL_EINVAL;
  int64_t secs = days_since_epoch(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - east * 60;
  if (secs < 0)
    return SMPL_EINVAL;
  *out = (uint64_t)secs * 1000 + ms;
  return SMPL_OK;
}
