/* SPDX-License-Identifier: Apache-2.0 */
#include "common/conf/conf.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libfyaml.h>

#include "common/base/error.h"
#include "common/process/file.h"
#include "common/base/ip.h"
#include "common/base/text.h"

enum { CONF_CHUNK = 16 << 10, CONF_QUOTE_MAX = 80 };

typedef struct mark {
  int line, column; /* from 1; 0: unknown */
} mark_t;

/* Where a decoded field stands in the file. A struct shares its address with its first field, hence is_map.
 */
typedef struct place {
  const void *field;
  bool is_map;
  mark_t mark;
} place_t;

typedef struct chunk {
  struct chunk *next;
  size_t used, size;
  max_align_t data[];
} chunk_t;

struct conf {
  char *path;
  chunk_t *chunks;
  place_t *places;
  size_t place_count, place_cap;
};

void *conf_alloc(conf_t *conf, size_t size)
{
  size_t align = sizeof(max_align_t);
  if (size == 0)
    size = 1;
  if (size > SIZE_MAX - align - sizeof(chunk_t))
    return NULL;
  size = (size + align - 1) / align * align;
  chunk_t *c = conf->chunks;
  if (c == NULL || c->size - c->used < size) {
    size_t cap = size > CONF_CHUNK ? size : CONF_CHUNK;
    c = calloc(1, sizeof *c + cap);
    if (c == NULL)
      return NULL;
    c->size = cap;
    c->next = conf->chunks;
    conf->chunks = c;
  }
  void *p = (char *)c->data + c->used;
  c->used += size;
  return p;
}

void conf_free(conf_t *conf)
{
  if (conf == NULL)
    return;
  for (chunk_t *c = conf->chunks; c != NULL;) {
    chunk_t *next = c->next;
    free(c);
    c = next;
  }
  free(conf->places);
  free(conf->path);
  free(conf);
}

const char *conf_path_of(const conf_t *conf)
{
  return conf->path;
}

static int remember(conf_t *conf, const void *field, bool is_map, mark_t mark)
{
  if (conf->place_count == conf->place_cap) {
    size_t cap = conf->place_cap ? conf->place_cap * 2 : 64;
    place_t *grown = reallocarray(conf->places, cap, sizeof *grown);
    if (grown == NULL)
      return SMPL_ENOMEM;
    conf->places = grown;
    conf->place_cap = cap;
  }
  conf->places[conf->place_count++] = (place_t){field, is_map, mark};
  return SMPL_OK;
}

static int compare_places(const void *a, const void *b)
{
  const place_t *x = a, *y = b;
  if (x->field != y->field)
    return (uintptr_t)x->field < (uintptr_t)y->field ? -1 : 1;
  return (int)x->is_map - (int)y->is_map;
}

static const place_t *find_place(const conf_t *conf, const void *field, bool is_map)
{
  place_t key = {field, is_map, {0, 0}};
  if (conf->place_count == 0)
    return NULL;
  return bsearch(&key, conf->places, conf->place_count, sizeof key, compare_places);
}

bool conf_given(const conf_t *conf, const void *field)
{
  return find_place(conf, field, false) != NULL;
}

bool conf_given_map(const conf_t *conf, const void *map)
{
  return find_place(conf, map, true) != NULL;
}

char *conf_place(const conf_t *conf, const void *field, char *buf, size_t cap)
{
  const place_t *p = find_place(conf, field, false);
  if (p == NULL)
    p = find_place(conf, field, true);
  if (p == NULL || p->mark.line == 0)
    snprintf(buf, cap, "%s", conf->path);
  else
    snprintf(buf, cap, "%s:%d:%d", conf->path, p->mark.line, p->mark.column);
  return buf;
}

#undef conf_fail
int conf_fail(const conf_t *conf, diag_t *diag, const void *field, const char *fmt, ...)
{
  char place[DIAG_TEXT_MAX];
  char what[DIAG_TEXT_MAX];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(what, sizeof what, fmt, ap);
  va_end(ap);
  return diag_fail(diag, SMPL_EINVAL, "%s: %s", conf_place(conf, field, place, sizeof place), what);
}

/* ---- scalars ---- */

static int parse_string(conf_t *conf, const char *text, size_t len, void *out)
{
  if (len == 0)
    return SMPL_EINVAL;
  char *copy = conf_alloc(conf, len + 1);
  if (copy == NULL)
    return SMPL_ENOMEM;
  memcpy(copy, text, len);
  *(const char **)out = copy;
  return SMPL_OK;
}

static int parse_path(conf_t *conf, const char *text, size_t len, void *out)
{
  if (len == 0)
    return SMPL_EINVAL;
  char *joined = file_beside(conf->path, text);
  if (joined == NULL)
    return SMPL_ENOMEM;
  int err = parse_string(conf, joined, strlen(joined), out);
  free(joined);
  return err;
}

static int parse_bool(conf_t *conf, const char *text, size_t len, void *out)
{
  (void)conf;
  (void)len;
  bool yes = strcmp(text, "true") == 0;
  if (!yes && strcmp(text, "false") != 0)
    return SMPL_EINVAL;
  *(bool *)out = yes;
  return SMPL_OK;
}

static int parse_uint(conf_t *conf, const char *text, size_t len, void *out)
{
  (void)conf;
  return text_parse_u64(text, len, UINT64_MAX, out);
}

static int parse_duration(conf_t *conf, const char *text, size_t len, void *out)
{
  (void)conf;
  return text_parse_duration(text, len, out);
}

static int parse_ip(conf_t *conf, const char *text, size_t len, void *out)
{
  (void)conf;
  (void)len;
  return ip_parse(text, out);
}

static int parse_ip_net(conf_t *conf, const char *text, size_t len, void *out)
{
  (void)conf;
  (void)len;
  return ip_net_parse(text, out);
}

static int parse_endpoint(conf_t *conf, const char *text, size_t len, void *out)
{
  (void)conf;
  (void)len;
  return endpoint_parse(text, out);
}

bool conf_same_text(const void *a, const void *b, size_t size)
{
  const char *const *x = a, *const *y = b;
  (void)size;
  return *x == NULL || *y == NULL ? *x == *y : strcmp(*x, *y) == 0;
}

bool conf_same_bytes(const void *a, const void *b, size_t size)
{
  return memcmp(a, b, size) == 0;
}

static char *format_text(const void *value, char *buf, size_t cap)
{
  const char *text = *(const char *const *)value;
  snprintf(buf, cap, "%s", text != NULL ? text : "");
  return buf;
}

static char *format_bool(const void *value, char *buf, size_t cap)
{
  snprintf(buf, cap, "%s", *(const bool *)value ? "true" : "false");
  return buf;
}

static char *format_uint(const void *value, char *buf, size_t cap)
{
  snprintf(buf, cap, "%" PRIu64, *(const uint64_t *)value);
  return buf;
}

static char *format_duration(const void *value, char *buf, size_t cap)
{
  return text_format_duration(buf, cap, *(const uint64_t *)value);
}

const conf_scalar_t conf_string = {
    .expected = "text",
    .size = sizeof(const char *),
    .parse = parse_string,
    .same = conf_same_text,
    .format = format_text,
};
const conf_scalar_t conf_path = {
    .expected = "a file's path",
    .size = sizeof(const char *),
    .parse = parse_path,
    .same = conf_same_text,
    .format = format_text,
};
const conf_scalar_t conf_bool = {
    .expected = "true or false",
    .size = sizeof(bool),
    .parse = parse_bool,
    .same = conf_same_bytes,
    .format = format_bool,
};
const conf_scalar_t conf_uint = {
    .expected = "a whole number",
    .size = sizeof(uint64_t),
    .parse = parse_uint,
    .same = conf_same_bytes,
    .format = format_uint,
    .is_number = true,
};
const conf_scalar_t conf_duration = {
    .expected = "a duration such as 500ms, 30s, 20m or 8h",
    .size = sizeof(uint64_t),
    .parse = parse_duration,
    .same = conf_same_bytes,
    .format = format_duration,
    .is_number = true,
};
const conf_scalar_t conf_ip = {
    .expected = "an IP address",
    .size = sizeof(ip_t),
    .parse = parse_ip,
    .same = conf_same_bytes,
};
const conf_scalar_t conf_ip_net = {
    .expected = "a network such as 10.0.0.0/8 or fd00::/8, without host bits",
    .size = sizeof(ip_net_t),
    .parse = parse_ip_net,
    .same = conf_same_bytes,
};
const conf_scalar_t conf_endpoint = {
    .expected = "an address with port such as 127.0.0.1:53 or [::1]:53",
    .size = sizeof(endpoint_t),
    .parse = parse_endpoint,
    .same = conf_same_bytes,
};

_Static_assert(sizeof(ip_net_t) == 17 && sizeof(endpoint_t) == 18, "compared as bytes: no padding");

/* ---- decoding ---- */

/* What the recursive decoder carries along. */
typedef struct decoder {
  conf_t *conf;
  struct fy_document *doc;
  diag_t *diag;
} decoder_t;

static int decode_map(decoder_t *d, struct fy_node *node, mark_t at, const conf_map_t *map, void *out);

static int fail_at(decoder_t *d, mark_t at, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int fail_at(decoder_t *d, mark_t at, const char *fmt, ...)
{
  char what[DIAG_TEXT_MAX];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(what, sizeof what, fmt, ap);
  va_end(ap);
  if (at.line == 0)
    return diag_fail(d->diag, SMPL_EINVAL, "%s: %s", d->conf->path, what);
  return diag_fail(d->diag, SMPL_EINVAL, "%s:%d:%d: %s", d->conf->path, at.line, at.column, what);
}

/* What libfyaml says of an alias here is what happens to be in its memory. */
static bool is_nothing(struct fy_node *node)
{
  return node == NULL || (!fy_node_is_alias(node) && fy_node_is_null(node));
}

/* Only scalars carry tokens that libfyaml exports; of a mapping its first key's, of a list its first item's.
 */
static mark_t mark_of(struct fy_node *node, mark_t fallback)
{
  while (node != NULL && !fy_node_is_scalar(node)) {
    if (fy_node_is_sequence(node))
      node = fy_node_sequence_get_by_index(node, 0);
    else
      node = fy_node_mapping_item_count(node) > 0 ? fy_node_pair_key(fy_node_mapping_get_by_index(node, 0))
                                                  : NULL;
  }
  if (is_nothing(node))
    return fallback; /* what stands nowhere libfyaml 0.8 puts somewhere */
  struct fy_token *token = fy_node_get_scalar_token(node);
  const struct fy_mark *m = token != NULL ? fy_token_start_mark(token) : NULL;
  return m != NULL ? (mark_t){m->line + 1, m->column + 1} : fallback;
}

static const char *kind_of(struct fy_node *node)
{
  if (is_nothing(node))
    return "nothing";
  return fy_node_is_scalar(node) ? "a single value" : fy_node_is_sequence(node) ? "a list" : "a mapping";
}

/* Refuses what YAML has and a configuration has no use for. */
static int check_plain(decoder_t *d, struct fy_node *node, mark_t at)
{
  if (node == NULL)
    return SMPL_OK;
  if (fy_node_is_alias(node))
    return fail_at(d, at, "aliases (*name) are not supported");
  if (fy_document_lookup_anchor_by_node(d->doc, node) != NULL)
    return fail_at(d, at, "anchors (&name) are not supported");
  size_t len;
  if (fy_node_get_tag(node, &len) != NULL)
    return fail_at(d, at, "tags (!name) are not supported");
  return SMPL_OK;
}

static int check_range(decoder_t *d, const conf_field_t *f, mark_t at, uint64_t v)
{
  char lo[32], hi[32];
  if (v >= f->min && (f->max == 0 || v <= f->max))
    return SMPL_OK;
  f->scalar->format(&f->min, lo, sizeof lo);
  f->scalar->format(&f->max, hi, sizeof hi);
  if (f->max == 0)
    return fail_at(d, at, "%s: must be at least %s", f->key, lo);
  return fail_at(d, at, "%s: must be from %s to %s", f->key, lo, hi);
}

/* Values stand in lines of logs, audits and tables, each of which is to stay one line. */
static bool has_control(const char *text, size_t len)
{
  for (size_t i = 0; i < len; i++)
    if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
      return true;
  return false;
}

static int decode_scalar(decoder_t *d, struct fy_node *node, mark_t at, const conf_field_t *f, void *out)
{
  int err = check_plain(d, node, at);
  if (err)
    return err;
  if (is_nothing(node) || !fy_node_is_scalar(node))
    return fail_at(d, at, "%s: expected %s, got %s", f->key, f->scalar->expected, kind_of(node));
  size_t len;
  const char *text = fy_node_get_scalar(node, &len);
  char printable[CONF_QUOTE_MAX];
  char quoted[CONF_QUOTE_MAX + 2];
  text_printable(printable, sizeof printable, text, len);
  snprintf(quoted, sizeof quoted, "'%s'", printable);
  bool tell = !f->is_private;
  if (has_control(text, len))
    return fail_at(d, at, "%s: a control character in the value%s%s", f->key, tell ? ": " : "",
                   tell ? quoted : "");
  char *copy = strndup(text, len);
  if (copy == NULL)
    return diag_fail(d->diag, SMPL_ENOMEM, "%s: out of memory", d->conf->path);
  err = f->scalar->parse(d->conf, copy, len, out);
  free(copy);
  if (err == SMPL_ENOMEM)
    return diag_fail(d->diag, SMPL_ENOMEM, "%s: out of memory", d->conf->path);
  if (err)
    return fail_at(d, at, "%s: expected %s, got %s", f->key, f->scalar->expected,
                   tell ? quoted : "something else");
  if (f->scalar->is_number)
    err = check_range(d, f, at, *(uint64_t *)out);
  return err ? err : remember(d->conf, out, false, at);
}

static int decode_list(decoder_t *d, struct fy_node *node, mark_t at, const conf_field_t *f, conf_list_t *out)
{
  bool maps = f->shape == CONF_MAPS;
  size_t size = maps ? f->map->size : f->scalar->size;
  bool lone = f->shape == CONF_ONE_OR_MANY && !is_nothing(node) && fy_node_is_scalar(node);
  bool none = f->allow_empty && is_nothing(node); /* its last line was taken out */
  int err = check_plain(d, node, at);
  if (err)
    return err;
  if (!lone && !none && (node == NULL || !fy_node_is_sequence(node)))
    return fail_at(d, at, "%s: expected a list of %s, got %s", f->key,
                   maps ? "mappings" : f->scalar->expected, kind_of(node));
  size_t count = lone ? 1 : none ? 0 : (size_t)fy_node_sequence_item_count(node);
  size_t most = f->most != 0 ? f->most : CONF_LIST_MAX;
  if (count == 0 && !f->allow_empty)
    return fail_at(d, at, "%s: the list is empty", f->key);
  if (count > most)
    return fail_at(d, at, "%s: %zu items, more than the limit of %zu", f->key, count, most);
  size_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes) || (out->items = conf_alloc(d->conf, bytes)) == NULL)
    return diag_fail(d->diag, SMPL_ENOMEM, "%s: out of memory", d->conf->path);
  void *iter = NULL;
  for (size_t i = 0; i < count && !err; i++) {
    struct fy_node *item = lone ? node : fy_node_sequence_iterate(node, &iter);
    char *slot = (char *)out->items + i * size;
    mark_t here = mark_of(item, at);
    err = maps ? decode_map(d, item, here, f->map, slot) : decode_scalar(d, item, here, f, slot);
  }
  out->count = count;
  return err ? err : remember(d->conf, out, false, at);
}

static void clear_map(const conf_map_t *map, void *out)
{
  memset(out, 0, map->size);
  if (map->defaults != NULL)
    map->defaults(out);
}

/* A scalar is short for a mapping that has its first key alone; the message names the key that the file has.
 */
static int decode_one_or_map(decoder_t *d, struct fy_node *node, mark_t at, const conf_field_t *f, void *out)
{
  if (is_nothing(node) || !fy_node_is_scalar(node))
    return decode_map(d, node, at, f->map, out);
  conf_field_t first = f->map->fields[0];
  mark_t here = mark_of(node, at);
  first.key = f->key;
  clear_map(f->map, out);
  int err = remember(d->conf, out, true, here);
  return err ? err : decode_scalar(d, node, here, &first, (char *)out + first.offset);
}

static int decode_field(decoder_t *d, struct fy_node *node, mark_t at, const conf_field_t *f, void *out)
{
  switch (f->shape) {
  case CONF_ONE:
    return decode_scalar(d, node, mark_of(node, at), f, out);
  case CONF_MAP:
    return decode_map(d, node, at, f->map, out);
  case CONF_ONE_OR_MAP:
    return decode_one_or_map(d, node, at, f, out);
  case CONF_MANY:
  case CONF_ONE_OR_MANY:
  case CONF_MAPS:
    return decode_list(d, node, at, f, out);
  }
  return SMPL_EINVAL;
}

static const conf_field_t *find_field(const conf_map_t *map, const char *key, size_t len)
{
  for (size_t i = 0; i < map->count; i++)
    if (strlen(map->fields[i].key) == len && memcmp(map->fields[i].key, key, len) == 0)
      return &map->fields[i];
  return NULL;
}

static int fail_unknown_key(decoder_t *d, mark_t at, const conf_map_t *map, const char *key, size_t len)
{
  char quoted[CONF_QUOTE_MAX];
  char known[512];
  size_t used = 0;
  text_printable(quoted, sizeof quoted, key, len);
  known[0] = '\0';
  for (size_t i = 0; i < map->count; i++) {
    int n = snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", map->fields[i].key);
    if (n < 0 || (size_t)n >= sizeof known - used)
      break;
    used += (size_t)n;
  }
  return fail_at(d, at, "unknown key '%s' in %s; known keys: %s", quoted, map->what, known);
}

/* *found: the field of the pair's key. */
static int decode_pair(decoder_t *d, struct fy_node_pair *pair, mark_t at, const conf_map_t *map, void *out,
                       const conf_field_t **found)
{
  struct fy_node *key = fy_node_pair_key(pair);
  mark_t key_at = mark_of(key, at);
  int err = check_plain(d, key, key_at);
  if (err)
    return err;
  if (key == NULL || !fy_node_is_scalar(key))
    return fail_at(d, key_at, "expected a key of %s, got %s", map->what, kind_of(key));
  size_t len;
  const char *text = fy_node_get_scalar(key, &len);
  const conf_field_t *f = find_field(map, text, len);
  if (f == NULL)
    return fail_unknown_key(d, key_at, map, text, len);
  *found = f;
  return decode_field(d, fy_node_pair_value(pair), key_at, f, (char *)out + f->offset);
}

/* A bit for each field of a table. */
enum { SEEN_WORDS = (CONF_MAP_KEYS_MAX + 63) / 64 };

static void mark_seen(uint64_t *seen, size_t i)
{
  seen[i / 64] |= 1ULL << (i % 64);
}

static bool was_seen(const uint64_t *seen, size_t i)
{
  return (seen[i / 64] >> (i % 64) & 1) != 0;
}

static int decode_map(decoder_t *d, struct fy_node *node, mark_t at, const conf_map_t *map, void *out)
{
  int err = check_plain(d, node, at);
  if (err)
    return err;
  if (node == NULL || !fy_node_is_mapping(node))
    return fail_at(d, at, "expected the keys of %s, got %s", map->what, kind_of(node));
  if (fy_node_mapping_item_count(node) > CONF_MAP_KEYS_MAX)
    return fail_at(d, at, "%s: more than %d keys", map->what, CONF_MAP_KEYS_MAX);
  clear_map(map, out);
  err = remember(d->conf, out, true, at);
  uint64_t seen[SEEN_WORDS] = {0};
  void *iter = NULL;
  struct fy_node_pair *pair;
  while (!err && (pair = fy_node_mapping_iterate(node, &iter)) != NULL) {
    const conf_field_t *found = NULL;
    err = decode_pair(d, pair, at, map, out, &found);
    if (!err)
      mark_seen(seen, (size_t)(found - map->fields));
  }
  for (size_t i = 0; i < map->count && !err; i++)
    if (map->fields[i].required && !was_seen(seen, i))
      err = fail_at(d, at, "%s: the key '%s' is missing", map->what, map->fields[i].key);
  return err;
}

/* ---- parsing ---- */

static void ignore_output(struct fy_diag *diag, void *user, const char *buf, size_t len)
{
  (void)diag;
  (void)user;
  (void)buf;
  (void)len;
}

/* The first error that libfyaml collected, or a general one. */
static int fail_syntax(conf_t *conf, struct fy_diag *fyd, diag_t *diag)
{
  void *iter = NULL;
  struct fy_diag_error *e = fy_diag_errors_iterate(fyd, &iter);
  if (e == NULL || e->msg == NULL)
    return diag_fail(diag, SMPL_EINVAL, "%s: not valid YAML", conf->path);
  return diag_fail(diag, SMPL_EINVAL, "%s:%d:%d: %s", conf->path, e->line, e->column, e->msg);
}

/* A file in which nothing stands says nothing. That is enough where nothing has to be said. */
static int take_empty(decoder_t *d, const conf_map_t *map, void *out)
{
  for (size_t i = 0; i < map->count; i++) {
    if (map->fields[i].required)
      return diag_fail(d->diag, SMPL_EINVAL, "%s: the file is empty", d->conf->path);
  }
  clear_map(map, out);
  return remember(d->conf, out, true, (mark_t){1, 1});
}

static int parse_documents(conf_t *conf, struct fy_parser *parser, struct fy_diag *fyd, const conf_map_t *map,
                           void *out, diag_t *diag)
{
  struct fy_document *second = NULL;
  struct fy_document *doc = fy_parse_load_document(parser);
  int err = SMPL_OK;
  if (doc == NULL) {
    void *iter = NULL;
    if (fy_diag_errors_iterate(fyd, &iter) != NULL)
      return fail_syntax(conf, fyd, diag);
    return take_empty(&(decoder_t){conf, NULL, diag}, map, out);
  }
  decoder_t d = {conf, doc, diag};
  struct fy_node *root = fy_document_root(doc);
  if (is_nothing(root)) {
    err = take_empty(&d, map, out);
  } else {
    err = decode_map(&d, root, mark_of(root, (mark_t){1, 1}), map, out);
  }
  if (err)
    goto out;
  second = fy_parse_load_document(parser);
  void *iter = NULL;
  if (second != NULL)
    err =
        fail_at(&d, mark_of(fy_document_root(second), (mark_t){1, 1}), "a second document (---) in the file");
  else if (fy_diag_errors_iterate(fyd, &iter) != NULL)
    err = fail_syntax(conf, fyd, diag);
out:
  fy_parse_document_destroy(parser, second);
  fy_parse_document_destroy(parser, doc);
  return err;
}

typedef struct spot {
  size_t at;
  unsigned line, column; /* in characters */
} spot_t;

/* One character on. 0 if there is none that text may have: libfyaml takes some of these in a comment for the
 * end of the file, and what follows would be ignored without a word. */
static int pass_char(spot_t *p, const char *text, size_t len)
{
  char c = text[p->at];
  if (c == '\n' || c == '\r') {
    p->at += c == '\r' && p->at + 1 < len && text[p->at + 1] == '\n' ? 2 : 1;
    p->line++;
    p->column = 1;
    return 1;
  }
  size_t n = c == '\t' ? 1 : text_char_len(text + p->at, len - p->at);
  p->at += n;
  p->column += n > 0;
  return n > 0;
}

/* Lines that begin with % are directives to a YAML parser. None is needed, and libfyaml never comes back from
 * some that are malformed. */
static int check_text(const conf_t *conf, const char *text, size_t len, diag_t *diag)
{
  static const char mark[] = "\xef\xbb\xbf";
  size_t begin = len >= sizeof mark - 1 && memcmp(text, mark, sizeof mark - 1) == 0 ? sizeof mark - 1 : 0;
  for (spot_t p = {begin, 1, 1}; p.at < len;) {
    if (p.column == 1 && text[p.at] == '%')
      return diag_fail(diag, SMPL_EINVAL, "%s:%u:1: expected no directive (a line that begins with %%)",
                       conf->path, p.line);
    if (!pass_char(&p, text, len))
      return diag_fail(
          diag, SMPL_EINVAL,
          "%s:%u:%u: a byte (0x%02x) that is no text: the file must be UTF-8 without control characters",
          conf->path, p.line, p.column, (unsigned)(unsigned char)text[p.at]);
  }
  return SMPL_OK;
}

static int parse_text(conf_t *conf, const char *text, size_t len, const conf_map_t *map, void *out,
                      diag_t *diag)
{
  int err = check_text(conf, text, len, diag);
  if (err)
    return err;
  struct fy_diag_cfg dcfg;
  fy_diag_cfg_default(&dcfg);
  dcfg.fp = NULL;
  dcfg.output_fn = ignore_output;
  dcfg.colorize = false;
  struct fy_diag *fyd = fy_diag_create(&dcfg);
  struct fy_parser *parser = NULL;
  err = SMPL_ENOMEM;
  if (fyd == NULL)
    goto out;
  fy_diag_set_collect_errors(fyd, true);
  struct fy_parse_cfg cfg = {.flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG | FYPCF_JSON_NONE, .diag = fyd};
  parser = fy_parser_create(&cfg);
  if (parser == NULL || fy_parser_set_string(parser, text, len) != 0)
    goto out;
  err = parse_documents(conf, parser, fyd, map, out, diag);
out:
  fy_parser_destroy(parser);
  if (fyd != NULL)
    fy_diag_destroy(fyd);
  if (err == SMPL_ENOMEM)
    diag_fail(diag, err, "%s: out of memory", conf->path);
  return err;
}

int conf_parse(const char *path, const char *text, size_t len, const conf_map_t *map, void *out,
               conf_t **result, diag_t *diag)
{
  *result = NULL;
  conf_t *conf = calloc(1, sizeof *conf);
  if (conf == NULL || (conf->path = strdup(path)) == NULL) {
    conf_free(conf);
    return diag_fail(diag, SMPL_ENOMEM, "%s: out of memory", path);
  }
  int err = parse_text(conf, text, len, map, out, diag);
  if (err) {
    conf_free(conf);
    return err;
  }
  qsort(conf->places, conf->place_count, sizeof *conf->places, compare_places);
  *result = conf;
  return SMPL_OK;
}

int conf_load(const char *path, const conf_map_t *map, void *out, conf_t **result, diag_t *diag)
{
  char *text;
  size_t len;
  *result = NULL;
  int err = file_read_trusted(path, CONF_FILE_MAX, &text, &len, diag);
  if (err)
    return err;
  err = conf_parse(path, text, len, map, out, result, diag);
  free(text);
  return err;
}
