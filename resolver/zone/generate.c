/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/zone/generate.h"

#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/error.h"
#include "common/base/text.h"
#include "resolver/limits.h"

enum {
  NUMBER_MAX = 0x7fffffff,
  WIDTH_MAX = 255,
  WORDS_MAX = 64,
  WORD_MAX = 4096, /* bytes of a word once its numbers are filled in */
};

typedef struct span {
  uint64_t start, stop, step;
} span_t;

static int read_span(const scan_word_t *w, span_t *out)
{
  const char *dash = memchr(w->text, '-', w->len);
  if (dash == NULL)
    return SMPL_EINVAL;
  const char *end = w->text + w->len;
  const char *slash = memchr(dash, '/', (size_t)(end - dash));
  const char *stop_end = slash != NULL ? slash : end;
  out->step = 1;
  if (text_parse_u64(w->text, (size_t)(dash - w->text), NUMBER_MAX, &out->start) ||
      text_parse_u64(dash + 1, (size_t)(stop_end - dash - 1), NUMBER_MAX, &out->stop) ||
      (slash != NULL && text_parse_u64(slash + 1, (size_t)(end - slash - 1), NUMBER_MAX, &out->step)))
    return SMPL_EINVAL;
  if (out->step == 0 || out->stop < out->start)
    return SMPL_EINVAL;
  return (out->stop - out->start) / out->step >= ZONE_GENERATE_MAX ? SMPL_ELIMIT : SMPL_OK;
}

typedef struct format {
  int64_t offset;
  uint64_t width;
  char base;
} format_t;

/* What stands between '{' and '}'. */
static int read_format(const char *text, size_t len, format_t *out)
{
  *out = (format_t){0, 0, 'd'};
  const char *end = text + len;
  const char *comma = memchr(text, ',', len);
  const char *offset_end = comma != NULL ? comma : end;
  bool minus = len > 0 && text[0] == '-';
  bool sign = len > 0 && (text[0] == '-' || text[0] == '+');
  uint64_t offset;
  if (text_parse_u64(text + sign, (size_t)(offset_end - text) - sign, NUMBER_MAX, &offset))
    return SMPL_EINVAL;
  out->offset = minus ? -(int64_t)offset : (int64_t)offset;
  if (comma == NULL)
    return SMPL_OK;
  const char *width = comma + 1;
  comma = memchr(width, ',', (size_t)(end - width));
  const char *width_end = comma != NULL ? comma : end;
  if (text_parse_u64(width, (size_t)(width_end - width), WIDTH_MAX, &out->width))
    return SMPL_EINVAL;
  if (comma == NULL)
    return SMPL_OK;
  if (end - comma != 2 || strchr("doxX", comma[1]) == NULL)
    return SMPL_EINVAL;
  out->base = comma[1];
  return SMPL_OK;
}

static int put_number(char *out, size_t *used, uint64_t number, const format_t *f)
{
  int64_t n = (int64_t)number + f->offset;
  if (n < 0 || n > NUMBER_MAX)
    return SMPL_ELIMIT;
  size_t left = WORD_MAX - *used;
  int width = (int)f->width;
  unsigned v = (unsigned)n;
  int len = f->base == 'o'   ? snprintf(out + *used, left, "%0*o", width, v)
            : f->base == 'x' ? snprintf(out + *used, left, "%0*x", width, v)
            : f->base == 'X' ? snprintf(out + *used, left, "%0*X", width, v)
                             : snprintf(out + *used, left, "%0*u", width, v);
  if (len < 0 || (size_t)len >= left)
    return SMPL_ELIMIT;
  *used += (size_t)len;
  return SMPL_OK;
}

/* One word with its numbers filled in; out has WORD_MAX bytes. */
static int fill_word(const scan_word_t *w, uint64_t number, char *out, size_t *len)
{
  size_t used = 0;
  for (size_t i = 0; i < w->len; i++) {
    if (used + 2 >= WORD_MAX)
      return SMPL_ELIMIT;
    char c = w->text[i];
    char next = i + 1 < w->len ? w->text[i + 1] : '\0';
    if (c == '\\' && next != '\0') {
      if (next != '$')
        out[used++] = c;
      out[used++] = next;
      i++;
    } else if (c == '$' && next == '$') {
      out[used++] = c;
      i++;
    } else if (c == '$') {
      format_t f = {0, 0, 'd'};
      if (next == '{') {
        const char *open = w->text + i + 2;
        const char *close = memchr(open, '}', w->len - i - 2);
        if (close == NULL || read_format(open, (size_t)(close - open), &f))
          return SMPL_EINVAL;
        i += (size_t)(close - open) + 2;
      }
      int err = put_number(out, &used, number, &f);
      if (err)
        return err;
    } else {
      out[used++] = c;
    }
  }
  *len = used;
  return SMPL_OK;
}

int generate_entries(const scan_entry_t *directive, int (*each)(void *ctx, const scan_entry_t *entry),
                     void *ctx, diag_t *diag)
{
  span_t span;
  int err = directive->count < 4 || directive->count > WORDS_MAX ? SMPL_EINVAL
                                                                 : read_span(&directive->words[1], &span);
  if (err == SMPL_ELIMIT)
    return diag_fail(diag, err, "expected at most %d records of one $GENERATE", ZONE_GENERATE_MAX);
  if (err)
    return diag_fail(diag, err, "expected START-STOP[/STEP], an owner, a type and data after $GENERATE");
  size_t count = directive->count - 2;
  scan_word_t *words = calloc(count, sizeof *words);
  char *text = calloc(count, WORD_MAX);
  if (words == NULL || text == NULL) {
    err = diag_fail(diag, SMPL_ENOMEM, "out of memory");
    goto out;
  }
  for (uint64_t n = span.start; !err && n <= span.stop; n += span.step) {
    for (size_t i = 0; !err && i < count; i++) {
      words[i].text = text + i * WORD_MAX;
      err = fill_word(&directive->words[i + 2], n, text + i * WORD_MAX, &words[i].len);
    }
    if (err) {
      diag_fail(diag, err, "expected $ or ${OFFSET[,WIDTH[,BASE]]} with numbers up to %d in $GENERATE",
                NUMBER_MAX);
      break;
    }
    scan_entry_t entry = {words, count, directive->line, false};
    err = each(ctx, &entry);
  }
out:
  free(words);
  free(text);
  return err;
}
