/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/app/language.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MAX_ = 256, TEXT_MAX = 64 };

static void mark(bool set[256], const char *bytes)
{
  for (; *bytes != '\0'; bytes++)
    set[(uint8_t)*bytes] = true;
}

/* "c2" or "c3-df". */
static bool read_range(const char *text, language_range_t *out)
{
  char *end = NULL;
  out->low = out->high = (unsigned)strtoul(text, &end, 16);
  if (*end == '-')
    out->high = (unsigned)strtoul(end + 1, &end, 16);
  return *end == '\0' && out->low <= out->high && out->high < 256;
}

static bool read_control(language_t *l, char *rest)
{
  char *at = NULL;
  language_range_t range;
  for (char *word = strtok_r(rest, " ", &at); word != NULL; word = strtok_r(NULL, " ", &at)) {
    if (!read_range(word, &range))
      return false;
    for (unsigned c = range.low; c <= range.high; c++)
      l->control[c] = true;
  }
  return true;
}

static bool read_utf8(language_t *l, char *rest)
{
  char *at = NULL;
  size_t row = l->utf8_count++;
  if (row == LANGUAGE_ROWS_MAX)
    return false;
  for (char *word = strtok_r(rest, " ", &at); word != NULL; word = strtok_r(NULL, " ", &at))
    if (l->utf8_len[row] == LANGUAGE_UTF8_MAX || !read_range(word, &l->utf8[row][l->utf8_len[row]++]))
      return false;
  return l->utf8_len[row] >= 2;
}

static bool read_row(language_t *l, char *line)
{
  char *rest = strchr(line, ' ');
  if (line[0] == '\0' || line[0] == '#')
    return true;
  if (rest == NULL)
    return false;
  *rest++ = '\0';
  if (strcmp(line, "control") == 0)
    return read_control(l, rest);
  if (strcmp(line, "utf8") == 0)
    return read_utf8(l, rest);
  if (strcmp(line, "hidden") == 0) {
    mark(l->hidden, rest);
    return true;
  }
  mark(l->query, rest);
  if (strcmp(line, "path") == 0)
    mark(l->path, rest);
  return strcmp(line, "path") == 0 || strcmp(line, "query") == 0;
}

bool language_load(language_t *out)
{
  char line[LINE_MAX_];
  bool good = true;
  *out = (language_t){.utf8_count = 0};
  FILE *f = fopen(LANGUAGE, "r");
  if (f == NULL)
    return false;
  while (good && fgets(line, sizeof line, f) != NULL) {
    size_t len = strcspn(line, "\n");
    good = line[len] == '\n';
    line[len] = '\0';
    good = good && read_row(out, line);
  }
  fclose(f);
  return good && out->path['a'] && out->query['?'] && out->hidden['/'] && out->control[0] &&
         out->utf8_count > 0;
}

/* Bytes of the row's sequence at s; 0: it is none. */
static size_t match_row(const language_t *l, size_t row, const uint8_t *s, size_t len)
{
  size_t need = l->utf8_len[row];
  for (size_t i = 0; i < need; i++)
    if (i == len || s[i] < l->utf8[row][i].low || s[i] > l->utf8[row][i].high)
      return 0;
  return need;
}

bool language_utf8(const language_t *l, const uint8_t *s, size_t len)
{
  for (size_t i = 0; i < len;) {
    size_t taken = s[i] < 0x80 ? 1 : 0;
    for (size_t row = 0; taken == 0 && row < l->utf8_count; row++)
      taken = match_row(l, row, s + i, len - i);
    if (taken == 0)
      return false;
    i += taken;
  }
  return true;
}

static int digit(char c)
{
  const char *at = c != '\0' ? strchr("0123456789abcdef", c | 0x20) : NULL;
  return at == NULL || (c < 'A' && c > '9') || c < '0' ? -1 : (int)(at - "0123456789abcdef");
}

/* Decodes what stands raw as `raw` says, and escaped unless it is control or in `never`. */
static bool decode(const language_t *l, const bool raw[256], const bool *never, const char *s, size_t len,
                   uint8_t *out, size_t *count)
{
  *count = 0;
  for (size_t i = 0; i < len; i++) {
    uint8_t c = (uint8_t)s[i];
    if (c == '%') {
      if (len - i < 3 || digit(s[i + 1]) < 0 || digit(s[i + 2]) < 0)
        return false;
      c = (uint8_t)(digit(s[i + 1]) * 16 + digit(s[i + 2]));
      if (l->control[c] || (never != NULL && never[c]))
        return false;
      i += 2;
    } else if (!raw[c]) {
      return false;
    }
    out[(*count)++] = c;
  }
  return true;
}

bool language_segment(const language_t *l, const char *s, size_t len)
{
  uint8_t decoded[TEXT_MAX];
  size_t count = 0;
  if (len == 0 || len > TEXT_MAX || (len == 1 && s[0] == '.') || (len == 2 && s[0] == '.' && s[1] == '.'))
    return false;
  return decode(l, l->path, l->hidden, s, len, decoded, &count) && language_utf8(l, decoded, count);
}

bool language_query(const language_t *l, const char *s, size_t len)
{
  uint8_t decoded[TEXT_MAX];
  size_t count = 0;
  return len <= TEXT_MAX && decode(l, l->query, NULL, s, len, decoded, &count) &&
         language_utf8(l, decoded, count);
}
