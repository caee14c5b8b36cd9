/* SPDX-License-Identifier: Apache-2.0 */
/* zone_builder_finish: the checks that need the whole zone, and the layout that zone_impl.h describes. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/base/error.h"
#include "common/base/text.h"
#include "resolver/zone/build_impl.h"
#include "resolver/limits.h"
#include "resolver/zone/rdata.h"

enum {
  TYPE_RRSIG = 46,
  TYPE_NSEC = 47,
  RR_HEAD = 12, /* owner pointer, type, class, TTL, length */
  PLACE_MAX = 512,
  HUGE_PAGE = 2 << 20,
};

/* The records of one node, sorted by type and data. */
typedef struct sheaf {
  const build_rec_t **recs;
  size_t count, cap;
} sheaf_t;

typedef struct compile {
  zone_builder_t *b;
  zone_contents_t *made;
  pool_t arena;
  sheaf_t sheaf;
  uint8_t *wire; /* RRSET_WIRE_MAX bytes: the rrset being laid out */
  uint16_t *patches;
  size_t patch_count;
  diag_t *diag;
} compile_t;

static const uint8_t *rec_data(const build_rec_t *r)
{
  return (const uint8_t *)(r + 1);
}

static void owner_text(const compile_t *c, const build_node_t *n, char *buf)
{
  dns_name_t name;
  memcpy(name.wire, pool_at(&c->b->pool, n->name), n->name_len);
  memcpy(name.wire + n->name_len, c->b->origin.wire, c->b->origin.len);
  name.len = (uint8_t)(n->name_len + c->b->origin.len);
  dns_name_to_text(&name, buf);
}

/* Fails with the record's place and owner in front of the message. */
static int complain(compile_t *c, const build_node_t *n, const build_rec_t *r, const char *what)
{
  char owner[DNS_NAME_TEXT_MAX];
  char type[RDATA_TYPE_TEXT_MAX];
  owner_text(c, n, owner);
  return diag_fail(c->diag, SMPL_EINVAL, "%s:%u: %s %s: %s", c->b->files[r->file], r->line, owner,
                   rdata_type_text(r->type, type), what);
}

static int complain_with(compile_t *c, const build_node_t *n, const build_rec_t *r, const char *what,
                         const build_rec_t *other)
{
  char text[PLACE_MAX + 128];
  snprintf(text, sizeof text, "%s (%.*s:%u)", what, PLACE_MAX, c->b->files[other->file], other->line);
  return complain(c, n, r, text);
}

/* Data of types with names in it compares without regard to case (RFC 4343). */
static int data_compare(const build_rec_t *a, const build_rec_t *b)
{
  rdata_names_t names;
  size_t len = a->len < b->len ? a->len : b->len;
  int c = 0;
  if (rdata_names(a->type, rec_data(a), a->len, &names) && names.count > 0) {
    for (size_t i = 0; c == 0 && i < len; i++)
      c = text_lower((char)rec_data(a)[i]) - text_lower((char)rec_data(b)[i]);
  } else {
    c = memcmp(rec_data(a), rec_data(b), len);
  }
  return c != 0 ? c : (a->len > b->len) - (a->len < b->len);
}

static int rec_compare(const void *left, const void *right)
{
  const build_rec_t *a = *(const build_rec_t *const *)left;
  const build_rec_t *b = *(const build_rec_t *const *)right;
  int c = (a->type > b->type) - (a->type < b->type);
  if (c == 0)
    c = data_compare(a, b);
  if (c == 0)
    c = (a->file > b->file) - (a->file < b->file);
  return c != 0 ? c : (a->line > b->line) - (a->line < b->line);
}

static int gather(compile_t *c, const build_node_t *n)
{
  c->sheaf.count = 0;
  for (uint32_t ref = n->first; ref != 0;) {
    const build_rec_t *r = (const build_rec_t *)(const void *)pool_at(&c->b->pool, ref);
    if (c->sheaf.count == c->sheaf.cap) {
      size_t cap = c->sheaf.cap == 0 ? 64 : c->sheaf.cap * 2;
      /* NOLINTNEXTLINE(bugprone-sizeof-expression): pointers are what is wanted */
      const build_rec_t **recs = reallocarray(c->sheaf.recs, cap, sizeof *recs);
      if (recs == NULL)
        return diag_fail(c->diag, SMPL_ENOMEM, "%s: out of memory", c->b->name);
      c->sheaf.recs = recs;
      c->sheaf.cap = cap;
    }
    c->sheaf.recs[c->sheaf.count++] = r;
    ref = r->next;
  }
  if (c->sheaf.count > 1)
    /* NOLINTNEXTLINE(bugprone-sizeof-expression) */
    qsort(c->sheaf.recs, c->sheaf.count, sizeof *c->sheaf.recs, rec_compare);
  return SMPL_OK;
}

/* The first record of a type in the sheaf; NULL if none. */
static const build_rec_t *first_of(const compile_t *c, uint16_t type)
{
  for (size_t i = 0; i < c->sheaf.count; i++)
    if (c->sheaf.recs[i]->type == type)
      return c->sheaf.recs[i];
  return NULL;
}

static int check_pairs(compile_t *c, const build_node_t *n)
{
  for (size_t i = 1; i < c->sheaf.count; i++) {
    const build_rec_t *a = c->sheaf.recs[i - 1];
    const build_rec_t *b = c->sheaf.recs[i];
    if (a->type != b->type)
      continue;
    if (data_compare(a, b) == 0)
      return complain_with(c, n, b, "the same record twice: first", a);
    bool lone = a->type == DNS_TYPE_SOA || a->type == DNS_TYPE_CNAME || a->type == DNS_TYPE_DNAME;
    if (lone && (b->line < a->line))
      return complain_with(c, n, a, "a second one: expected one at a name", b);
    if (lone)
      return complain_with(c, n, b, "a second one: expected one at a name", a);
  }
  return SMPL_OK;
}

static int check_node(compile_t *c, build_node_t *n)
{
  bool apex = n == &c->b->nodes[0];
  int err = check_pairs(c, n);
  if (err)
    return err;
  const build_rec_t *cname = first_of(c, DNS_TYPE_CNAME);
  if (cname != NULL) {
    for (size_t i = 0; i < c->sheaf.count; i++) {
      const build_rec_t *r = c->sheaf.recs[i];
      if (r->type != DNS_TYPE_CNAME && r->type != TYPE_RRSIG && r->type != TYPE_NSEC)
        return complain_with(c, n, cname, "other data at the same name: expected a CNAME to stand alone", r);
    }
    n->flags |= NODE_ALIAS;
  }
  if (first_of(c, DNS_TYPE_DNAME) != NULL)
    n->flags |= NODE_DNAME;
  if (!apex && first_of(c, DNS_TYPE_NS) != NULL)
    n->flags |= NODE_CUT;
  if (apex && (first_of(c, DNS_TYPE_SOA) == NULL || first_of(c, DNS_TYPE_NS) == NULL))
    return diag_fail(c->diag, SMPL_EINVAL, "%s: no %s record at the zone's name: expected %s there",
                     c->b->files[0], first_of(c, DNS_TYPE_SOA) == NULL ? "SOA" : "NS",
                     first_of(c, DNS_TYPE_SOA) == NULL ? "one" : "at least one");
  return SMPL_OK;
}

/* One record into c->wire at *at, the names in it shortened by the origin where that is allowed. */
static bool lay_record(compile_t *c, const build_rec_t *r, uint32_t ttl, size_t *at)
{
  rdata_names_t names;
  const dns_name_t *origin = &c->b->origin;
  if (RRSET_WIRE_MAX - *at < RR_HEAD + (size_t)r->len)
    return false;
  uint8_t *p = c->wire + *at;
  const uint8_t head[10] = {
      0xc0,         DNS_HEADER_LEN,       (uint8_t)(r->type >> 8), (uint8_t)r->type,    0,
      DNS_CLASS_IN, (uint8_t)(ttl >> 24), (uint8_t)(ttl >> 16),    (uint8_t)(ttl >> 8), (uint8_t)ttl};
  memcpy(p, head, sizeof head);
  uint8_t *data = p + RR_HEAD;
  size_t from = 0; /* of the record's data: what is before is laid */
  size_t to = 0;
  rdata_names(r->type, rec_data(r), r->len, &names);
  for (size_t i = 0; names.compress && origin->len > 1 && i < names.count; i++) {
    dns_name_t name = {.len = names.len[i]};
    memcpy(name.wire, rec_data(r) + names.at[i], name.len);
    dns_name_lower(&name);
    if (!dns_name_under(&name, origin))
      continue;
    size_t keep = (size_t)names.at[i] + name.len - origin->len - from;
    memcpy(data + to, rec_data(r) + from, keep);
    to += keep;
    c->patches[c->patch_count++] = (uint16_t)((size_t)(data - c->wire) + to);
    data[to++] = 0xc0;
    data[to++] = 0;
    from = (size_t)names.at[i] + name.len;
  }
  memcpy(data + to, rec_data(r) + from, r->len - from);
  to += r->len - from;
  p[10] = (uint8_t)(to >> 8);
  p[11] = (uint8_t)to;
  *at += RR_HEAD + to;
  return true;
}

/* The records [from, to) of the sheaf as one rrset at the arena's end. */
static int lay_rrset(compile_t *c, const build_node_t *n, size_t from, size_t to, uint32_t ttl_max)
{
  const build_rec_t *first = c->sheaf.recs[from];
  uint32_t ttl = ttl_max;
  bool mixed = false;
  for (size_t i = from; i < to; i++) {
    mixed = mixed || c->sheaf.recs[i]->ttl != first->ttl;
    if (c->sheaf.recs[i]->ttl < ttl)
      ttl = c->sheaf.recs[i]->ttl;
  }
  if (mixed)
    c->b->warnings++;
  size_t len = 0;
  c->patch_count = 0;
  for (size_t i = from; i < to; i++)
    if (!lay_record(c, c->sheaf.recs[i], ttl, &len))
      return complain(c, n, c->sheaf.recs[i],
                      "too many records of this type at one name: expected them to fit a message");
  zone_rrset_t set = {first->type, (uint16_t)(to - from), (uint16_t)len, (uint16_t)c->patch_count};
  size_t even = (len + 1) & ~(size_t)1;
  size_t size = sizeof set + even + c->patch_count * sizeof *c->patches;
  size_t at; /* rrsets are only two-byte aligned */
  int err = pool_append(&c->arena, size, &at);
  if (err)
    return diag_fail(c->diag, err, "%s: out of memory", c->b->name);
  uint8_t *p = c->arena.data + at;
  memcpy(p, &set, sizeof set);
  memcpy(p + sizeof set, c->wire, len);
  memcpy(p + sizeof set + even, c->patches, c->patch_count * sizeof *c->patches);
  return SMPL_OK;
}

static void insert(zone_contents_t *z, uint64_t hash, uint32_t ref)
{
  size_t i = hash & z->mask;
  while (z->slots[i].node != 0)
    i = (i + 1) & z->mask;
  z->slots[i] = (slot_t){(uint32_t)(hash >> 32), ref};
}

static int lay_node(compile_t *c, const build_node_t *n)
{
  uint32_t ref;
  size_t even = (n->name_len + 1u) & ~(size_t)1;
  int err = gather(c, n);
  if (err)
    return err;
  err = pool_take(&c->arena, sizeof(node_t) + even, &ref);
  if (err)
    return diag_fail(c->diag, err, "%s: %s", c->b->name,
                     err == SMPL_ENOMEM ? "out of memory" : "zone too big");
  memcpy(pool_at(&c->arena, ref) + sizeof(node_t), pool_at(&c->b->pool, n->name), n->name_len);
  uint16_t rrsets = 0;
  for (size_t from = 0; !err && from < c->sheaf.count; rrsets++) {
    size_t to = from + 1;
    while (to < c->sheaf.count && c->sheaf.recs[to]->type == c->sheaf.recs[from]->type)
      to++;
    err = lay_rrset(c, n, from, to, ZONE_TTL_MAX);
    from = to;
  }
  if (err)
    return err;
  node_t head = {n->name_len, n->flags, rrsets};
  memcpy(pool_at(&c->arena, ref), &head, sizeof head);
  insert(c->made, n->hash, ref);
  if (n == &c->b->nodes[0])
    c->made->apex = ref;
  if (rrsets > 0)
    c->made->facts.names++;
  return SMPL_OK;
}

/* The apex's SOA once more, its TTL at most its minimum (RFC 2308 section 3). */
static int lay_negative_soa(compile_t *c)
{
  int err = gather(c, &c->b->nodes[0]);
  if (err)
    return err;
  size_t i = 0;
  while (i < c->sheaf.count && c->sheaf.recs[i]->type != DNS_TYPE_SOA)
    i++;
  if (i == c->sheaf.count)
    return diag_fail(c->diag, SMPL_EINVAL, "%s: no SOA record", c->b->name); /* check_node saw to it */
  const uint8_t *end = rec_data(c->sheaf.recs[i]) + c->sheaf.recs[i]->len;
  uint32_t minimum = (uint32_t)end[-4] << 24 | (uint32_t)end[-3] << 16 | (uint32_t)end[-2] << 8 | end[-1];
  c->made->facts.serial =
      (uint32_t)end[-20] << 24 | (uint32_t)end[-19] << 16 | (uint32_t)end[-18] << 8 | end[-17];
  uint32_t ref;
  err = pool_take(&c->arena, 0, &ref);
  if (!err)
    err = lay_rrset(c, &c->b->nodes[0], i, i + 1, minimum);
  c->made->negative_soa = ref;
  return err;
}

/* Checks every node, then marks what lies below delegations and refuses what lies below a DNAME. */
static int check_all(compile_t *c)
{
  bool walls = false;
  for (uint32_t i = 0; i < c->b->node_count; i++) {
    int err = gather(c, &c->b->nodes[i]);
    if (!err)
      err = check_node(c, &c->b->nodes[i]);
    if (err)
      return err;
    walls = walls || (c->b->nodes[i].flags & (NODE_CUT | NODE_DNAME)) != 0;
  }
  for (uint32_t i = 1; walls && i < c->b->node_count; i++) {
    build_node_t *n = &c->b->nodes[i];
    for (uint32_t up = i; up != 0;) {
      up = c->b->nodes[up].parent;
      uint8_t flags = c->b->nodes[up].flags;
      if ((flags & NODE_DNAME) && n->first != 0)
        return complain(c, n, (const build_rec_t *)(const void *)pool_at(&c->b->pool, n->first),
                        "below a DNAME: expected nothing there");
      if (flags & NODE_CUT)
        n->flags |= NODE_HIDDEN;
    }
  }
  return SMPL_OK;
}

/* Memory that questions jump about in: on huge pages where the system gives them, for fewer misses of the
 * TLB. */
static void *zone_alloc(size_t size)
{
  if (size < HUGE_PAGE)
    return malloc(size);
  size_t whole = (size + HUGE_PAGE - 1) & ~(size_t)(HUGE_PAGE - 1);
  void *p = aligned_alloc(HUGE_PAGE, whole);
  if (p != NULL)
    madvise(p, whole, MADV_HUGEPAGE); /* a wish; without it all works */
  return p;
}

static int make_table(compile_t *c)
{
  size_t slots = 16;
  while (slots * 2 < (size_t)c->b->node_count * 3)
    slots *= 2;
  c->made->slots = zone_alloc(slots * sizeof(slot_t));
  if (c->made->slots == NULL)
    return diag_fail(c->diag, SMPL_ENOMEM, "%s: out of memory", c->b->name);
  memset(c->made->slots, 0, slots * sizeof(slot_t));
  c->made->mask = slots - 1;
  return SMPL_OK;
}

/* The arena in memory of its exact size. */
static int keep_arena(compile_t *c)
{
  c->made->arena = zone_alloc(c->arena.used);
  if (c->made->arena == NULL)
    return diag_fail(c->diag, SMPL_ENOMEM, "%s: out of memory", c->b->name);
  memcpy(c->made->arena, c->arena.data, c->arena.used);
  c->made->arena_len = c->arena.used;
  return SMPL_OK;
}

static int make(compile_t *c)
{
  zone_builder_t *b = c->b;
  int err = check_all(c);
  if (err)
    return err;
  free(b->table); /* not needed any more, and big */
  b->table = NULL;
  err = make_table(c);
  if (err)
    return err;
  c->made->origin = b->origin;
  c->made->depth = b->depth;
  for (uint32_t i = 0; !err && i < b->node_count; i++)
    err = lay_node(c, &b->nodes[i]);
  if (!err)
    err = lay_negative_soa(c);
  if (!err)
    err = keep_arena(c);
  if (err)
    return err;
  c->made->files = b->files;
  c->made->file_count = b->file_count;
  b->files = NULL;
  b->file_count = 0;
  c->made->facts.records = b->records;
  c->made->facts.warnings = b->warnings;
  c->made->facts.bytes =
      sizeof(zone_t) + sizeof(zone_contents_t) + (c->made->mask + 1) * sizeof(slot_t) + c->made->arena_len;
  return SMPL_OK;
}

int zone_builder_finish(zone_builder_t *b, zone_contents_t **out, diag_t *diag)
{
  compile_t c = {.b = b, .diag = diag};
  *out = NULL;
  c.made = calloc(1, sizeof *c.made);
  c.wire = malloc(RRSET_WIRE_MAX);
  c.patches = malloc(sizeof *c.patches * (2 * RRSET_WIRE_MAX / RR_HEAD + 2));
  int err = SMPL_ENOMEM;
  if (c.made == NULL || c.wire == NULL || c.patches == NULL)
    diag_fail(diag, err, "%s: out of memory", b->name);
  else
    err = make(&c);
  if (!err) {
    *out = c.made;
    c.made = NULL;
  }
  zone_contents_free(c.made);
  free(c.arena.data);
  free(c.sheaf.recs);
  free(c.wire);
  free(c.patches);
  return err;
}
