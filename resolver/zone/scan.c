/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/zone/scan.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/error.h"
#include "resolver/limits.h"

struct scan {
  const char *path;
  const char *text;
  size_t len, at;
  unsigned line;
  unsigned depth;     /* open parentheses */
  unsigned open_line; /* of the outermost one */
  scan_word_t *words;
  size_t count, cap;
  size_t bytes; /* of this entry's words */
};

int scan_new(const char *path, const char *text, size_t len, scan_t **out)
{
  scan_t *s = calloc(1, sizeof *s);
  *out = s;
  if (s == NULL)
    return SMPL_ENOMEM;
  s->path = path;
  s->text = text;
  if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
    s->at = 3; /* a byte order mark, which some editors put there */
  s->len = len;
  s->line = 1;
  return SMPL_OK;
}

void scan_free(scan_t *scan)
{
  if (scan == NULL)
    return;
  free(scan->words);
  free(scan);
}

/* What a byte is outside quotes. */
typedef enum { KIND_WORD, KIND_BLANK, KIND_NEWLINE, KIND_SPECIAL, KIND_BAD } kind_t;

static kind_t kind_of(char c)
{
  switch (c) {
  case ' ':
  case '\t':
  case '\r':
    return KIND_BLANK;
  case '\n':
    return KIND_NEWLINE;
  case ';':
  case '(':
  case ')':
    return KIND_SPECIAL;
  default:
    return (unsigned char)c < 0x20 || c == 0x7f ? KIND_BAD : KIND_WORD;
  }
}

static int add_word(scan_t *s, size_t start, unsigned line, diag_t *diag)
{
  size_t len = s->at - start;
  if (s->count == SCAN_TOKENS_MAX || SCAN_ENTRY_MAX - s->bytes < len)
    return diag_fail(diag, SMPL_ELIMIT, "%s:%u: record too long: expected at most %d words and %d bytes",
                     s->path, line, SCAN_TOKENS_MAX, SCAN_ENTRY_MAX);
  if (s->count == s->cap) {
    size_t cap = s->cap == 0 ? 32 : s->cap * 2;
    scan_word_t *words = reallocarray(s->words, cap, sizeof *words);
    if (words == NULL)
      return diag_fail(diag, SMPL_ENOMEM, "%s: out of memory", s->path);
    s->words = words;
    s->cap = cap;
  }
  s->words[s->count++] = (scan_word_t){s->text + start, len};
  s->bytes += len;
  return SMPL_OK;
}

/* The cursor stands behind the opening quote; afterwards behind the closing one. */
static int skip_quoted(scan_t *s, diag_t *diag)
{
  while (s->at < s->len && s->text[s->at] != '\n') {
    char c = s->text[s->at++];
    if (c == '"')
      return SMPL_OK;
    if (c == '\0')
      break;
    if (c == '\\' && s->at < s->len && s->text[s->at] != '\n')
      s->at++;
  }
  return diag_fail(diag, SMPL_EINVAL,
                   "%s:%u: quoted text without its closing quote: expected '\"' before the line's end",
                   s->path, s->line);
}

static int read_word(scan_t *s, diag_t *diag)
{
  size_t start = s->at;
  while (s->at < s->len && kind_of(s->text[s->at]) == KIND_WORD) {
    char c = s->text[s->at++];
    if (c == '"') {
      int err = skip_quoted(s, diag);
      if (err)
        return err;
    } else if (c == '\\') {
      if (s->at == s->len || s->text[s->at] == '\n' || s->text[s->at] == '\r')
        return diag_fail(diag, SMPL_EINVAL,
                         "%s:%u: backslash at the end of the line: expected a character after it", s->path,
                         s->line);
      s->at++;
    }
  }
  return add_word(s, start, s->line, diag);
}

static int read_special(scan_t *s, char c, diag_t *diag)
{
  if (c == ';') {
    while (s->at < s->len && s->text[s->at] != '\n')
      s->at++;
    return SMPL_OK;
  }
  s->at++;
  if (c == '(') {
    if (s->depth++ == 0)
      s->open_line = s->line;
    return SMPL_OK;
  }
  if (s->depth == 0)
    return diag_fail(diag, SMPL_EINVAL, "%s:%u: ')' without its '('", s->path, s->line);
  s->depth--;
  return SMPL_OK;
}

/* One step within an entry. *done when the entry's line has ended. */
static int step(scan_t *s, bool *done, diag_t *diag)
{
  char c = s->text[s->at];
  switch (kind_of(c)) {
  case KIND_BLANK:
    s->at++;
    return SMPL_OK;
  case KIND_NEWLINE:
    s->at++;
    s->line++;
    *done = s->depth == 0;
    return SMPL_OK;
  case KIND_SPECIAL:
    return read_special(s, c, diag);
  case KIND_WORD:
    return read_word(s, diag);
  case KIND_BAD:
    break;
  }
  return diag_fail(diag, SMPL_EINVAL, "%s:%u: control character \\%03u: expected text", s->path, s->line,
                   (unsigned char)c);
}

int scan_next(scan_t *scan, scan_entry_t *out, diag_t *diag)
{
  while (scan->at < scan->len) {
    out->line = scan->line;
    out->blank_owner = scan->text[scan->at] == ' ' || scan->text[scan->at] == '\t';
    scan->count = 0;
    scan->bytes = 0;
    bool done = false;
    while (!done && scan->at < scan->len) {
      size_t before = scan->count;
      unsigned line = scan->line;
      int err = step(scan, &done, diag);
      if (err)
        return err;
      if (before == 0 && scan->count == 1)
        out->line = line;
    }
    if (scan->depth > 0)
      return diag_fail(diag, SMPL_EINVAL, "%s:%u: '(' is never closed: expected ')' before the file's end",
                       scan->path, scan->open_line);
    if (scan->count == 0)
      continue;
    out->words = scan->words;
    out->count = scan->count;
    return SMPL_OK;
  }
  return SMPL_ENOENT;
}
