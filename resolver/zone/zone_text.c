/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/zone/zone_text.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/error.h"
#include "common/process/file.h"
#include "common/base/text.h"
#include "resolver/zone/generate.h"
#include "resolver/limits.h"
#include "resolver/zone/rdata.h"
#include "resolver/zone/scan.h"
#include "resolver/zone/zone_build.h"

enum { SHOWN_MAX = 60 };

typedef struct loader {
  zone_builder_t *builder;
  rdata_reader_t *reader;
  dns_name_t origin; /* $ORIGIN */
  dns_name_t owner;  /* of the record before */
  bool has_owner;
  bool has_default_ttl; /* $TTL was met */
  bool has_last_ttl;
  uint32_t default_ttl;
  uint32_t last_ttl;
  unsigned depth; /* $INCLUDE within $INCLUDE */
  uint8_t rdata[RDATA_MAX];
  diag_t *diag;
} loader_t;

/* A file being read. */
typedef struct source {
  const char *path;
  uint16_t file;
} source_t;

static int load_source(loader_t *l, const char *path, const char *text, size_t len);

static int complain(const loader_t *l, const source_t *s, unsigned line, const char *expected,
                    const scan_word_t *got)
{
  if (got == NULL)
    return diag_fail(l->diag, SMPL_EINVAL, "%s:%u: expected %s", s->path, line, expected);
  int shown = (int)(got->len < SHOWN_MAX ? got->len : SHOWN_MAX);
  return diag_fail(l->diag, SMPL_EINVAL, "%s:%u: expected %s, got '%.*s'", s->path, line, expected, shown,
                   got->text);
}

static bool word_is(const scan_word_t *w, const char *text)
{
  for (size_t i = 0; i < w->len; i++)
    if (text[i] == '\0' || text_lower(w->text[i]) != text_lower(text[i]))
      return false;
  return text[w->len] == '\0';
}

static int read_name(const loader_t *l, const source_t *s, unsigned line, const scan_word_t *word,
                     dns_name_t *out)
{
  int err = rdata_name(word, &l->origin, out);
  if (err == SMPL_ELIMIT)
    return complain(l, s, line, "a name of labels up to 63 bytes and at most 255 in all", word);
  return err ? complain(l, s, line, "a domain name", word) : SMPL_OK;
}

static int read_ttl(const loader_t *l, const source_t *s, unsigned line, const scan_word_t *word,
                    uint32_t *out)
{
  if (rdata_seconds(word, ZONE_TTL_MAX, out))
    return complain(l, s, line, "a TTL from 0 to 2147483647 seconds", word);
  return SMPL_OK;
}

static int directive_origin(loader_t *l, const source_t *s, const scan_entry_t *e)
{
  if (e->count != 2)
    return complain(l, s, e->line, "one name after $ORIGIN", NULL);
  dns_name_t name;
  int err = read_name(l, s, e->line, &e->words[1], &name);
  if (!err)
    l->origin = name;
  return err;
}

static int directive_ttl(loader_t *l, const source_t *s, const scan_entry_t *e)
{
  if (e->count != 2)
    return complain(l, s, e->line, "one TTL after $TTL", NULL);
  int err = read_ttl(l, s, e->line, &e->words[1], &l->default_ttl);
  if (!err)
    l->has_default_ttl = true;
  return err;
}

/* A file name, perhaps in quotes. malloc'ed. */
static char *file_word(const scan_word_t *w)
{
  bool quoted = w->len >= 2 && w->text[0] == '"' && w->text[w->len - 1] == '"';
  return quoted ? strndup(w->text + 1, w->len - 2) : strndup(w->text, w->len);
}

/* RFC 1035 section 5.1: $INCLUDE FILE [ORIGIN]; origin and last owner are as before afterwards. */
static int directive_include(loader_t *l, const source_t *s, const scan_entry_t *e)
{
  dns_name_t origin = l->origin;
  dns_name_t owner = l->owner;
  bool has_owner = l->has_owner;
  char *path = NULL;
  char *text = NULL;
  size_t len;
  if (e->count != 2 && e->count != 3)
    return complain(l, s, e->line, "a file and perhaps an origin after $INCLUDE", NULL);
  if (l->depth == ZONE_INCLUDE_DEPTH_MAX)
    return complain(l, s, e->line, "$INCLUDE at most 8 files deep", NULL);
  dns_name_t given = l->origin;
  if (e->count == 3) {
    int err = read_name(l, s, e->line, &e->words[2], &given);
    if (err)
      return err;
  }
  l->origin = given;
  int err = SMPL_ENOMEM;
  char *word = file_word(&e->words[1]);
  if (word != NULL)
    path = file_beside(s->path, word);
  if (path != NULL) {
    diag_t why = {""};
    err = file_read(path, ZONE_FILE_MAX, &text, &len, &why);
    if (err)
      diag_fail(l->diag, err, "%s:%u: %s", s->path, e->line, why.text);
  }
  if (!err) {
    l->depth++;
    err = load_source(l, path, text, len);
    l->depth--;
  }
  l->origin = origin;
  l->owner = owner;
  l->has_owner = has_owner;
  free(word);
  free(path);
  free(text);
  return err;
}

static bool is_class(const scan_word_t *w)
{
  return word_is(w, "IN") || word_is(w, "CH") || word_is(w, "HS") || word_is(w, "CS") ||
         (w->len > 5 && text_lower(w->text[0]) == 'c' && text_lower(w->text[1]) == 'l' &&
          text_lower(w->text[2]) == 'a' && w->text[5] >= '0' && w->text[5] <= '9');
}

/* [TTL] [class] type, in either order: moves *at behind the type. */
static int read_head(loader_t *l, const source_t *s, const scan_entry_t *e, size_t *at, uint32_t *ttl,
                     uint16_t *type)
{
  bool has_ttl = false;
  bool has_class = false;
  for (; *at < e->count; (*at)++) {
    const scan_word_t *w = &e->words[*at];
    if (!has_ttl && w->text[0] >= '0' && w->text[0] <= '9') {
      int err = read_ttl(l, s, e->line, w, ttl);
      if (err)
        return err;
      has_ttl = true;
    } else if (!has_class && is_class(w)) {
      if (!word_is(w, "IN") && !word_is(w, "CLASS1"))
        return complain(l, s, e->line, "class IN", w);
      has_class = true;
    } else {
      break;
    }
  }
  if (*at == e->count)
    return complain(l, s, e->line, "a record type", NULL);
  *type = rdata_type(&e->words[*at]);
  if (*type == 0)
    return complain(l, s, e->line, "a record type", &e->words[*at]);
  (*at)++;
  if (has_ttl) {
    l->last_ttl = *ttl;
    l->has_last_ttl = true;
    return SMPL_OK;
  }
  if (!l->has_default_ttl && !l->has_last_ttl)
    return complain(l, s, e->line, "a TTL: give the record one or put $TTL before it", NULL);
  *ttl = l->has_default_ttl ? l->default_ttl : l->last_ttl;
  return SMPL_OK;
}

static int load_record(loader_t *l, const source_t *s, const scan_entry_t *e)
{
  size_t at = 0;
  int err;
  if (!e->blank_owner) {
    l->has_owner = false;
    err = read_name(l, s, e->line, &e->words[at++], &l->owner);
    if (err)
      return err;
    l->has_owner = true;
  }
  if (!l->has_owner)
    return complain(l, s, e->line, "an owner: no record before this one to take it from", NULL);
  uint32_t ttl = 0;
  uint16_t type = 0;
  err = read_head(l, s, e, &at, &ttl, &type);
  if (err)
    return err;
  size_t len;
  diag_t why = {""};
  err = rdata_read(l->reader, type, e->words + at, e->count - at, &l->origin, l->rdata, &len, &why);
  if (err)
    return diag_fail(l->diag, err, "%s:%u: %s", s->path, e->line, why.text);
  return zone_builder_add(l->builder, &l->owner, type, ttl, l->rdata, len, (zone_place_t){e->line, s->file},
                          l->diag);
}

typedef struct generated {
  loader_t *loader;
  const source_t *source;
} generated_t;

static int load_generated(void *ctx, const scan_entry_t *entry)
{
  generated_t *g = ctx;
  return load_record(g->loader, g->source, entry);
}

static int load_entry(loader_t *l, const source_t *s, const scan_entry_t *e)
{
  const scan_word_t *w = &e->words[0];
  if (e->blank_owner || w->text[0] != '$')
    return load_record(l, s, e);
  if (word_is(w, "$ORIGIN"))
    return directive_origin(l, s, e);
  if (word_is(w, "$TTL"))
    return directive_ttl(l, s, e);
  if (word_is(w, "$INCLUDE"))
    return directive_include(l, s, e);
  if (word_is(w, "$GENERATE")) {
    generated_t g = {l, s};
    diag_t why = {""};
    int err = generate_entries(e, load_generated, &g, &why);
    return err && why.text[0] != '\0' ? diag_fail(l->diag, err, "%s:%u: %s", s->path, e->line, why.text)
                                      : err;
  }
  return complain(l, s, e->line, "$ORIGIN, $TTL, $INCLUDE or $GENERATE", w);
}

/* The mark that some editors put before UTF-8 says nothing here. */
static size_t byte_order_mark(const char *text, size_t len)
{
  static const char mark[] = "\xef\xbb\xbf";
  return len >= sizeof mark - 1 && memcmp(text, mark, sizeof mark - 1) == 0 ? sizeof mark - 1 : 0;
}

static int load_source(loader_t *l, const char *path, const char *text, size_t len)
{
  scan_t *scan;
  source_t s = {.path = path};
  size_t mark = byte_order_mark(text, len);
  int err = zone_builder_file(l->builder, path, &s.file, l->diag);
  if (err)
    return err;
  err = scan_new(path, text + mark, len - mark, &scan);
  if (err)
    return diag_fail(l->diag, err, "%s: out of memory", path);
  for (;;) {
    scan_entry_t entry;
    err = scan_next(scan, &entry, l->diag);
    if (err == SMPL_ENOENT) {
      err = SMPL_OK;
      break;
    }
    if (!err)
      err = load_entry(l, &s, &entry);
    if (err)
      break;
  }
  scan_free(scan);
  return err;
}

int zone_read_text(const char *name, const dns_name_t *origin, const char *path, const char *text, size_t len,
                   zone_contents_t **out, diag_t *diag)
{
  *out = NULL;
  diag_t local = {""};
  loader_t *l = calloc(1, sizeof *l);
  int err = SMPL_ENOMEM;
  if (l != NULL) {
    l->diag = diag != NULL ? diag : &local;
    l->origin = *origin;
    err = rdata_reader_new(&l->reader);
  }
  if (!err)
    err = zone_builder_new(name, origin, &l->builder);
  if (err) {
    diag_fail(diag, err, "%s: out of memory", path);
    goto out;
  }
  err = load_source(l, path, text, len);
  if (!err)
    err = zone_builder_finish(l->builder, out, l->diag);
out:
  if (l != NULL) {
    zone_builder_free(l->builder);
    rdata_reader_free(l->reader);
  }
  free(l);
  return err;
}

int zone_read_file(const char *name, const dns_name_t *origin, const char *path, zone_contents_t **out,
                   diag_t *diag)
{
  char *text;
  size_t len;
  *out = NULL;
  int err = file_read(path, ZONE_FILE_MAX, &text, &len, diag);
  if (err)
    return err;
  err = zone_read_text(name, origin, path, text, len, out, diag);
  free(text);
  return err;
}
