/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/zone/zone_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/count.h"
#include "common/base/error.h"
#include "common/process/file.h"
#include "common/base/text.h"
#include "resolver/limits.h"
#include "resolver/zone/zone_impl.h"
#include "resolver/zone/zone_text.h"

enum {
  RR_HEAD = 12,
  RDATA_AT = RR_HEAD,
  HASH_TEXT = 2 * ZONE_DIGEST_LEN + 1,
  HEAD_MAX = 1 << 20, /* bytes that zone_copy_peek looks at */
  LINE_CAP = 4200,
  RECORD_CAP = DNS_NAME_TEXT_MAX + 64,
};

static const char first_line[] = "; smpl-resolver copy 1\n";
static const char last_line[] = "; end sha256 ";

bool zone_serial_after(uint32_t a, uint32_t b)
{
  return a != b && (uint32_t)(a - b) < 0x80000000u;
}

bool zone_is_same(const zone_t *a, const zone_t *b)
{
  const zone_contents_t *x = a->contents, *y = b->contents;
  return x != NULL && y != NULL && x->arena_len == y->arena_len &&
         memcmp(x->arena, y->arena, x->arena_len) == 0;
}

char *zone_copy_name(const char *zone, char buf[static ZONE_COPY_NAME_MAX])
{
  static const char kept[] = "abcdefghijklmnopqrstuvwxyz0123456789-_@.";
  static const char suffix[] = ".copy";
  size_t used = 0;
  for (const char *c = zone; *c != '\0'; c++) {
    if (used + 3 + sizeof suffix > ZONE_COPY_NAME_MAX)
      goto hash;
    if (strchr(kept, *c) != NULL && (*c != '.' || used > 0))
      buf[used++] = *c;
    else
      used += (size_t)snprintf(buf + used, 4, "%%%02X", (unsigned)(unsigned char)*c);
  }
  memcpy(buf + used, suffix, sizeof suffix);
  return buf;
hash:;
  uint8_t sum[EVP_MAX_MD_SIZE];
  char hex[HASH_TEXT];
  EVP_Digest(zone, strlen(zone), sum, NULL, EVP_sha256(), NULL);
  text_hex(hex, sum, ZONE_DIGEST_LEN);
  snprintf(buf, ZONE_COPY_NAME_MAX, "%%%s%s", hex, suffix);
  return buf;
}

/* ---- every record of a zone ---- */

typedef struct record {
  const node_t *node;
  uint16_t type;
  uint32_t ttl;
  const uint8_t *rdata; /* with the origin's pointers as they lie there */
  size_t len;
  const uint16_t *patches; /* of this record, within its rrset */
  size_t patch_count;
  size_t at; /* of rdata in the rrset */
} record_t;

static uint32_t read_u32(const uint8_t *p)
{
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int each_of_set(const node_t *n, const zone_rrset_t *set, int (*each)(void *ctx, const record_t *r),
                       void *ctx)
{
  const uint8_t *wire = zone_rrset_wire(set);
  const uint16_t *patches = zone_rrset_patches(set); /* ascend */
  size_t at = 0, patch = 0;
  int err = 0;
  for (unsigned i = 0; err == 0 && i < set->count; i++) {
    size_t len = (size_t)wire[at + 10] << 8 | wire[at + 11];
    record_t r = {.node = n,
                  .type = set->type,
                  .ttl = read_u32(wire + at + 6),
                  .rdata = wire + at + RDATA_AT,
                  .len = len,
                  .patches = patches + patch,
                  .at = at + RDATA_AT};
    for (; patch < set->patches && patches[patch] < r.at + len; patch++)
      r.patch_count++;
    err = each(ctx, &r);
    at += RDATA_AT + len;
  }
  return err;
}

static int each_record(const zone_contents_t *z, int (*each)(void *ctx, const record_t *r), void *ctx)
{
  int err = 0;
  for (size_t i = 0; err == 0 && z != NULL && i <= z->mask; i++) {
    if (z->slots[i].node == 0)
      continue;
    const node_t *n = (const node_t *)(const void *)(z->arena + (size_t)z->slots[i].node * NODE_ALIGN);
    const zone_rrset_t *set = node_first(n);
    for (unsigned j = 0; err == 0 && j < n->rrsets; j++, set = node_next(set))
      err = each_of_set(n, set, each, ctx);
  }
  return err;
}

/* The data with its names in full; at most RRSET_WIRE_MAX and what the origin adds to two names. */
static size_t expand(const zone_contents_t *z, const record_t *r, uint8_t *out)
{
  size_t used = 0, i = 0;
  for (size_t p = 0; p < r->patch_count; p++) {
    size_t before = r->patches[p] - r->at - i;
    memcpy(out + used, r->rdata + i, before);
    memcpy(out + used + before, z->origin.wire, z->origin.len);
    used += before + z->origin.len;
    i += before + 2;
  }
  memcpy(out + used, r->rdata + i, r->len - i);
  return used + r->len - i;
}

/* ---- the digest: a sum over the records, so that their order does not matter ---- */

typedef struct sum {
  EVP_MD_CTX *ctx;
  EVP_MD *md;
  uint64_t lanes[ZONE_DIGEST_LEN / 8];
} sum_t;

static int sum_record(void *ctx, const record_t *r)
{
  sum_t *s = ctx;
  uint8_t one[EVP_MAX_MD_SIZE];
  const uint8_t head[] = {r->node->name_len,       (uint8_t)(r->type >> 8), (uint8_t)r->type,
                          (uint8_t)(r->ttl >> 24), (uint8_t)(r->ttl >> 16), (uint8_t)(r->ttl >> 8),
                          (uint8_t)r->ttl};
  if (EVP_DigestInit_ex2(s->ctx, s->md, NULL) != 1 || EVP_DigestUpdate(s->ctx, head, sizeof head) != 1 ||
      EVP_DigestUpdate(s->ctx, node_name(r->node), r->node->name_len) != 1 ||
      EVP_DigestUpdate(s->ctx, r->rdata, r->len) != 1 || EVP_DigestFinal_ex(s->ctx, one, NULL) != 1)
    return SMPL_ENOMEM;
  for (size_t i = 0; i < COUNT_OF(s->lanes); i++) {
    uint64_t lane;
    memcpy(&lane, one + i * sizeof lane, sizeof lane);
    s->lanes[i] += lane;
  }
  return SMPL_OK;
}

int zone_digest(const zone_t *zone, uint8_t out[static ZONE_DIGEST_LEN])
{
  sum_t s = {.ctx = EVP_MD_CTX_new(), .md = EVP_MD_fetch(NULL, "SHA256", NULL)};
  int err = s.ctx == NULL || s.md == NULL ? SMPL_ENOMEM : each_record(zone->contents, sum_record, &s);
  memcpy(out, s.lanes, ZONE_DIGEST_LEN);
  EVP_MD_CTX_free(s.ctx);
  EVP_MD_free(s.md);
  return err;
}

/* ---- writing ---- */

typedef struct writer {
  const zone_t *zone;
  EVP_MD_CTX *hash;
  int (*sink)(void *ctx, const char *bytes, size_t len);
  void *ctx;
  uint64_t total;
  size_t used;
  char buf[ZONE_COPY_CHUNK];
  uint8_t rdata[RRSET_WIRE_MAX + 2 * DNS_NAME_MAX];
} writer_t;

static int flush(writer_t *w)
{
  size_t len = w->used;
  w->used = 0;
  w->total += len;
  if (w->total > ZONE_FILE_MAX)
    return SMPL_ELIMIT;
  if (EVP_DigestUpdate(w->hash, w->buf, len) != 1)
    return SMPL_ENOMEM;
  return len > 0 ? w->sink(w->ctx, w->buf, len) : SMPL_OK;
}

static int put(writer_t *w, const char *bytes, size_t len)
{
  int err = SMPL_OK;
  while (!err && len > 0) {
    size_t room = sizeof w->buf - w->used;
    size_t n = len < room ? len : room;
    memcpy(w->buf + w->used, bytes, n);
    w->used += n;
    bytes += n;
    len -= n;
    if (w->used == sizeof w->buf)
      err = flush(w);
  }
  return err;
}

__attribute__((format(printf, 2, 3))) static int put_line(writer_t *w, const char *fmt, ...)
{
  char line[LINE_CAP];
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(line, sizeof line, fmt, ap);
  va_end(ap);
  return n < 0 || (size_t)n >= sizeof line ? SMPL_ELIMIT : put(w, line, (size_t)n);
}

/* "; word TEXT", with what others chose escaped. */
static int put_text(writer_t *w, const char *word, const char *text)
{
  char escaped[LINE_CAP / 2];
  if (text_escape(escaped, sizeof escaped, text, strlen(text)) >= sizeof escaped - 5)
    return SMPL_ELIMIT;
  return put_line(w, "; %s %s\n", word, escaped);
}

static int put_head(writer_t *w, const zone_copy_views_t *views, const zone_copy_head_t *head)
{
  char digest[HASH_TEXT], origin[DNS_NAME_TEXT_MAX];
  text_hex(digest, head->digest, ZONE_DIGEST_LEN);
  int err = put(w, first_line, sizeof first_line - 1);
  if (!err)
    err = put_text(w, "zone", w->zone->name);
  if (!err)
    err = put_line(w, "; serial %" PRIu32 "\n; made %" PRIu64 "\n; digest %s\n", head->serial, head->made_ms,
                   digest);
  for (size_t i = 0; !err && i < views->count; i++)
    err = put_text(w, views->items[i].is_private ? "private" : "public", views->items[i].name);
  for (size_t i = 0; !err && i < zone_file_count(w->zone); i++)
    err = put_text(w, "file", zone_file(w->zone, i));
  return err ? err : put_line(w, "$ORIGIN %s\n", dns_name_to_text(&w->zone->origin, origin));
}

static int put_hex(writer_t *w, const uint8_t *bytes, size_t len)
{
  char hex[2 * 128 + 1];
  int err = SMPL_OK;
  for (size_t at = 0; !err && at < len; at += 128) {
    size_t n = len - at < 128 ? len - at : 128;
    text_hex(hex, bytes + at, n);
    err = put(w, hex, 2 * n);
  }
  return err;
}

static int put_record(void *ctx, const record_t *r)
{
  writer_t *w = ctx;
  char owner[DNS_NAME_TEXT_MAX], head[RECORD_CAP];
  dns_name_t name;
  memcpy(name.wire, node_name(r->node), r->node->name_len);
  memcpy(name.wire + r->node->name_len, w->zone->origin.wire, w->zone->origin.len);
  name.len = (uint8_t)(r->node->name_len + w->zone->origin.len);
  size_t len = expand(w->zone->contents, r, w->rdata);
  int n = snprintf(head, sizeof head, "%s %" PRIu32 " IN TYPE%u \\# %zu ", dns_name_to_text(&name, owner),
                   r->ttl, (unsigned)r->type, len);
  if (n < 0 || (size_t)n >= sizeof head)
    return SMPL_ELIMIT;
  int err = put(w, head, (size_t)n);
  if (!err)
    err = put_hex(w, w->rdata, len);
  return err ? err : put(w, "\n", 1);
}

static int put_end(writer_t *w)
{
  uint8_t sum[EVP_MAX_MD_SIZE];
  char hex[HASH_TEXT], line[sizeof last_line + HASH_TEXT];
  int err = flush(w);
  if (!err && EVP_DigestFinal_ex(w->hash, sum, NULL) != 1)
    err = SMPL_ENOMEM;
  if (err)
    return err;
  text_hex(hex, sum, ZONE_DIGEST_LEN);
  int n = snprintf(line, sizeof line, "%s%s\n", last_line, hex);
  return w->sink(w->ctx, line, (size_t)n);
}

int zone_copy_write(const zone_t *zone, const zone_copy_views_t *views, const zone_copy_head_t *head,
                    int (*sink)(void *ctx, const char *bytes, size_t len), void *ctx)
{
  writer_t *w = calloc(1, sizeof *w);
  int err = SMPL_ENOMEM;
  if (w == NULL)
    return err;
  w->zone = zone;
  w->sink = sink;
  w->ctx = ctx;
  w->hash = EVP_MD_CTX_new();
  if (w->hash != NULL && EVP_DigestInit_ex(w->hash, EVP_sha256(), NULL) == 1)
    err = put_head(w, views, head);
  if (!err)
    err = each_record(zone->contents, put_record, w);
  if (!err)
    err = put_end(w);
  EVP_MD_CTX_free(w->hash);
  free(w);
  return err;
}

/* ---- reading ---- */

typedef struct head_reader {
  const char *at, *end;
  zone_copy_head_t *head;
  const zone_copy_views_t *views; /* as they are now */
  size_t view_lines;
  bool *seen;          /* [views->count] */
  const char *widened; /* a view that was private then */
  bool narrowed;       /* a view was public then */
  char **files;
  size_t file_count;
} head_reader_t;

static int hex_to_bytes(const char *hex, size_t len, uint8_t *out)
{
  if (len != 2 * ZONE_DIGEST_LEN)
    return SMPL_EINVAL;
  for (size_t i = 0; i < len; i++) {
    const char *digits = "0123456789abcdef";
    const char *d = strchr(digits, hex[i]);
    if (d == NULL || *d == '\0')
      return SMPL_EINVAL;
    out[i / 2] = (uint8_t)(i % 2 == 0 ? (d - digits) << 4 : out[i / 2] | (d - digits));
  }
  return SMPL_OK;
}

static void free_reader(head_reader_t *r)
{
  for (size_t i = 0; i < r->file_count; i++)
    free(r->files[i]);
  free(r->files);
  free(r->seen);
}

/* What text_escape made of it; only what needs no escape is taken back. malloc'ed, NULL. */
static char *plain(const char *text, size_t len)
{
  return memchr(text, '\\', len) == NULL ? strndup(text, len) : NULL;
}

static bool is_text(const char *value, size_t len, const char *text)
{
  char escaped[LINE_CAP / 2];
  return text_escape(escaped, sizeof escaped, text, strlen(text)) == len && memcmp(escaped, value, len) == 0;
}

static void take_view(head_reader_t *r, const char *value, size_t len, bool was_private)
{
  r->view_lines++;
  for (size_t i = 0; i < r->views->count; i++) {
    if (!is_text(value, len, r->views->items[i].name))
      continue;
    r->seen[i] = true;
    if (was_private && !r->views->items[i].is_private)
      r->widened = r->views->items[i].name;
    r->narrowed = r->narrowed || (!was_private && r->views->items[i].is_private);
  }
}

static int take_file(head_reader_t *r, const char *value, size_t len)
{
  if (r->file_count == ZONE_INCLUDES_MAX)
    return SMPL_OK;
  char **files = reallocarray(r->files, r->file_count + 1, sizeof *files);
  char *path = files != NULL ? plain(value, len) : NULL;
  r->files = files != NULL ? files : r->files;
  if (path != NULL)
    r->files[r->file_count++] = path;
  return SMPL_OK;
}

/* "; word value" */
static int take_line(head_reader_t *r, const char *line, size_t len, const char *zone)
{
  const char *space = len > 2 ? memchr(line + 2, ' ', len - 2) : NULL;
  uint64_t number = 0;
  if (space == NULL)
    return SMPL_EINVAL;
  size_t word = (size_t)(space - line) - 2;
  const char *value = space + 1;
  size_t left = len - word - 3;
#define IS(text) (word == sizeof(text) - 1 && memcmp(line + 2, text, word) == 0)
  if (IS("zone"))
    return is_text(value, left, zone) ? SMPL_OK : SMPL_EINVAL;
  if (IS("serial")) {
    int err = text_parse_u64(value, left, UINT32_MAX, &number);
    r->head->serial = (uint32_t)number;
    return err;
  }
  if (IS("made"))
    return text_parse_u64(value, left, UINT64_MAX / 2, &r->head->made_ms);
  if (IS("digest"))
    return hex_to_bytes(value, left, r->head->digest);
  if (IS("file"))
    return take_file(r, value, left);
  if (IS("private") || IS("public"))
    take_view(r, value, left, IS("private"));
#undef IS
  return SMPL_OK;
}

static int read_head(head_reader_t *r, const char *zone)
{
  size_t first = sizeof first_line - 1;
  if ((size_t)(r->end - r->at) < first || memcmp(r->at, first_line, first) != 0)
    return SMPL_EINVAL;
  r->at += first;
  int err = SMPL_OK;
  while (!err && r->end - r->at > 2 && r->at[0] == ';' && r->at[1] == ' ') {
    const char *line = r->at;
    const char *newline = memchr(line, '\n', (size_t)(r->end - line));
    if (newline == NULL)
      return SMPL_EINVAL;
    r->at = newline + 1;
    err = take_line(r, line, (size_t)(newline - line), zone);
  }
  return err;
}

/* The last line is the sum of all before it. */
static bool is_whole(const char *text, size_t len)
{
  uint8_t sum[EVP_MAX_MD_SIZE];
  char hex[HASH_TEXT], want[sizeof last_line + HASH_TEXT];
  size_t tail = sizeof last_line - 1 + HASH_TEXT; /* with its line feed */
  if (len < tail || EVP_Digest(text, len - tail, sum, NULL, EVP_sha256(), NULL) != 1)
    return false;
  text_hex(hex, sum, ZONE_DIGEST_LEN);
  snprintf(want, sizeof want, "%s%s\n", last_line, hex);
  return memcmp(text + len - tail, want, tail) == 0;
}

static int check_views(const head_reader_t *r, diag_t *diag)
{
  for (size_t i = 0; i < r->views->count; i++)
    if (!r->seen[i])
      return diag_fail(diag, SMPL_EDENIED, "view '%s' did not have the zone when its last good copy was made",
                       r->views->items[i].name);
  if (r->widened != NULL)
    return diag_fail(diag, SMPL_EDENIED, "view '%s' was private when the last good copy was made",
                     r->widened);
  return SMPL_OK;
}

static int read_text(const char *name, const dns_name_t *origin, const char *path, char *text, size_t len,
                     head_reader_t *r, zone_contents_t **out, diag_t *diag)
{
  r->at = text;
  r->end = text + len;
  if (!is_whole(text, len) || read_head(r, name))
    return diag_fail(diag, SMPL_EINVAL, "%s: is not a whole copy of this zone", path);
  int err = check_views(r, diag);
  if (!err)
    err = zone_read_text(name, origin, path, text, len, out, diag);
  if (err || r->file_count == 0)
    return err;
  for (size_t i = 0; i < (*out)->file_count; i++)
    free((*out)->files[i]);
  free((*out)->files);
  (*out)->files = r->files;
  (*out)->file_count = r->file_count;
  r->files = NULL;
  r->file_count = 0;
  return SMPL_OK;
}

int zone_copy_read(const char *name, const dns_name_t *origin, const char *path,
                   const zone_copy_views_t *views, zone_contents_t **out, zone_copy_head_t *head,
                   diag_t *diag)
{
  char *text = NULL;
  size_t len = 0;
  *out = NULL;
  *head = (zone_copy_head_t){0};
  head_reader_t r = {.head = head, .views = views, .seen = calloc(views->count + 1, sizeof(bool))};
  int err = r.seen == NULL ? diag_fail(diag, SMPL_ENOMEM, "out of memory")
                           : file_read(path, ZONE_FILE_MAX, &text, &len, diag);
  if (!err)
    err = read_text(name, origin, path, text, len, &r, out, diag);
  free_reader(&r);
  free(text);
  return err;
}

static bool are_same_views(const head_reader_t *r)
{
  bool same = r->view_lines == r->views->count && r->widened == NULL && !r->narrowed;
  for (size_t i = 0; i < r->views->count; i++)
    same = same && r->seen[i];
  return same;
}

static int peek(const char *path, char *text, size_t cap, size_t *len)
{
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0)
    return errno == ENOENT ? SMPL_ENOENT : SMPL_ESYS;
  ssize_t n = pread(fd, text, cap, 0);
  close(fd);
  /* Of a line that the buffer cuts off nothing is known. */
  const char *newline = n > 0 ? memrchr(text, '\n', (size_t)n) : NULL;
  *len = newline != NULL ? (size_t)(newline - text) + 1 : 0;
  return SMPL_OK;
}

int zone_copy_peek(const char *path, const char *name, const zone_copy_views_t *views, zone_copy_head_t *head,
                   bool *same_views)
{
  size_t len = 0;
  char *text = malloc(HEAD_MAX);
  head_reader_t r = {.head = head, .views = views, .seen = calloc(views->count + 1, sizeof(bool))};
  *head = (zone_copy_head_t){0};
  *same_views = false;
  int err = text == NULL || r.seen == NULL ? SMPL_ENOMEM : peek(path, text, HEAD_MAX, &len);
  r.at = text;
  r.end = text + len;
  if (!err && read_head(&r, name))
    err = SMPL_EINVAL;
  if (!err)
    *same_views = are_same_views(&r);
  free_reader(&r);
  free(text);
  return err;
}
