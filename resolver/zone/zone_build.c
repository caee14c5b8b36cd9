/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/zone/zone_build.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/error.h"
#include "resolver/zone/build_impl.h"
#include "resolver/limits.h"
#include "resolver/zone/name_hash.h"
#include "resolver/zone/rdata.h"

int zone_builder_new(const char *name, const dns_name_t *origin, zone_builder_t **out)
{
  *out = NULL;
  zone_builder_t *b = calloc(1, sizeof *b);
  if (b == NULL)
    return SMPL_ENOMEM;
  b->origin = *origin;
  b->name = strdup(name);
  b->last = NO_NODE;
  uint32_t apex;
  if (b->name == NULL || build_node(b, origin->wire, 0, &apex)) {
    zone_builder_free(b);
    return SMPL_ENOMEM;
  }
  *out = b;
  return SMPL_OK;
}

void zone_builder_free(zone_builder_t *b)
{
  if (b == NULL)
    return;
  for (size_t i = 0; i < b->file_count; i++)
    free(b->files[i]);
  free(b->files);
  free(b->nodes);
  free(b->table);
  free(b->pool.data);
  free(b->name);
  free(b);
}

int zone_builder_file(zone_builder_t *b, const char *path, uint16_t *out, diag_t *diag)
{
  if (b->file_count == ZONE_INCLUDES_MAX)
    return diag_fail(diag, SMPL_ELIMIT, "%s: expected at most %d files in a zone", path, ZONE_INCLUDES_MAX);
  char **files = reallocarray(b->files, b->file_count + 1, sizeof *files);
  if (files == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "%s: out of memory", path);
  b->files = files;
  b->files[b->file_count] = strdup(path);
  if (b->files[b->file_count] == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "%s: out of memory", path);
  *out = (uint16_t)b->file_count++;
  return SMPL_OK;
}

/* Room for len zeroed bytes at offset at, which is at or behind the pool's end. */
static int pool_extend(pool_t *p, size_t at, size_t len)
{
  if (at + len > p->cap) {
    size_t cap = p->cap < 4096 ? 4096 : p->cap;
    while (cap < at + len)
      cap += cap / 2;
    uint8_t *data = realloc(p->data, cap);
    if (data == NULL)
      return SMPL_ENOMEM;
    p->data = data;
    p->cap = cap;
  }
  memset(p->data + p->used, 0, at + len - p->used);
  p->used = at + len;
  return SMPL_OK;
}

int pool_take(pool_t *p, size_t len, uint32_t *ref)
{
  size_t at = (p->used + NODE_ALIGN - 1) & ~(size_t)(NODE_ALIGN - 1);
  if (at == 0)
    at = NODE_ALIGN; /* reference 0 means none */
  if (at / NODE_ALIGN > UINT32_MAX)
    return SMPL_ELIMIT;
  *ref = (uint32_t)(at / NODE_ALIGN);
  return pool_extend(p, at, len);
}

int pool_append(pool_t *p, size_t len, size_t *at)
{
  *at = p->used;
  return pool_extend(p, p->used, len);
}

static int table_grow(zone_builder_t *b)
{
  size_t count = b->table == NULL ? 1024 : (b->mask + 1) * 2;
  slot_t *table = calloc(count, sizeof *table);
  if (table == NULL)
    return SMPL_ENOMEM;
  for (uint32_t i = 0; i < b->node_count; i++) {
    size_t at = b->nodes[i].hash & (count - 1);
    while (table[at].node != 0)
      at = (at + 1) & (count - 1);
    table[at] = (slot_t){(uint32_t)(b->nodes[i].hash >> 32), i + 1};
  }
  free(b->table);
  b->table = table;
  b->mask = count - 1;
  return SMPL_OK;
}

uint32_t build_find(const zone_builder_t *b, const uint8_t *rel, size_t len)
{
  if (b->table == NULL)
    return NO_NODE;
  uint64_t h = name_hash(rel, len);
  for (size_t i = h & b->mask; b->table[i].node != 0; i = (i + 1) & b->mask) {
    const build_node_t *n = &b->nodes[b->table[i].node - 1];
    if (n->hash == h && n->name_len == len && memcmp(pool_at(&b->pool, n->name), rel, len) == 0)
      return b->table[i].node - 1;
  }
  return NO_NODE;
}

static int node_new(zone_builder_t *b, const uint8_t *rel, size_t len, uint32_t *out)
{
  if (b->node_count == NODES_MAX)
    return SMPL_ELIMIT;
  if (b->node_count == b->node_cap) {
    size_t cap = b->node_cap == 0 ? 256 : b->node_cap * 2;
    build_node_t *nodes = reallocarray(b->nodes, cap, sizeof *nodes);
    if (nodes == NULL)
      return SMPL_ENOMEM;
    b->nodes = nodes;
    b->node_cap = cap;
  }
  if (b->table == NULL || b->node_count * 2 > b->mask) {
    int err = table_grow(b);
    if (err)
      return err;
  }
  uint32_t name;
  int err = pool_take(&b->pool, len, &name);
  if (err)
    return err;
  memcpy(pool_at(&b->pool, name), rel, len);
  uint64_t h = name_hash(rel, len);
  size_t at = h & b->mask;
  while (b->table[at].node != 0)
    at = (at + 1) & b->mask;
  b->nodes[b->node_count] = (build_node_t){.hash = h, .name = name, .name_len = (uint8_t)len};
  *out = b->node_count++;
  b->table[at] = (slot_t){(uint32_t)(h >> 32), *out + 1};
  return SMPL_OK;
}

int build_node(zone_builder_t *b, const uint8_t *rel, size_t len, uint32_t *out)
{
  *out = build_find(b, rel, len);
  if (*out != NO_NODE)
    return SMPL_OK;
  uint8_t name[DNS_NAME_MAX]; /* rel may lie in the pool, which moves */
  memcpy(name, rel, len);
  int err = node_new(b, name, len, out);
  unsigned depth = 0;
  uint32_t child = *out;
  for (size_t at = 0; !err && at < len;) {
    bool star = name[at] == 1 && name[at + 1] == '*';
    at += name[at] + 1u;
    depth++;
    uint32_t parent = build_find(b, name + at, len - at);
    bool existed = parent != NO_NODE;
    if (!existed)
      err = node_new(b, name + at, len - at, &parent);
    if (err)
      break;
    b->nodes[child].parent = parent;
    if (star)
      b->nodes[parent].flags |= NODE_WILDCARD;
    if (existed) {
      for (; at < len; at += name[at] + 1u)
        depth++;
    }
    child = parent;
  }
  if (depth > b->depth)
    b->depth = depth;
  return err;
}

const char *build_place(const zone_builder_t *b, uint32_t rec, char *buf, size_t cap)
{
  const build_rec_t *r = (const build_rec_t *)(const void *)pool_at(&b->pool, rec);
  snprintf(buf, cap, "%s:%u", b->files[r->file], r->line);
  return buf;
}

/* What is wrong with such a record wherever the rest of the zone stands. */
static const char *refuse(const zone_builder_t *b, const dns_name_t *owner, uint16_t type)
{
  bool apex = owner->len == b->origin.len;
  bool star = owner->wire[0] == 1 && owner->wire[1] == '*';
  if (type == DNS_TYPE_SOA && !apex)
    return "SOA below the zone's name: expected it at the name of the zone";
  if (type == DNS_TYPE_NS && star)
    return "NS at a wildcard: expected a plain name";
  if (type == DNS_TYPE_DNAME && star)
    return "DNAME at a wildcard: expected a plain name";
  return NULL;
}

int zone_builder_add(zone_builder_t *b, const dns_name_t *owner, uint16_t type, uint32_t ttl,
                     const uint8_t *rdata, size_t len, zone_place_t place, diag_t *diag)
{
  const char *file = b->files[place.file];
  char text[DNS_NAME_TEXT_MAX];
  dns_name_t name = *owner;
  dns_name_lower(&name);
  if (!dns_name_under(&name, &b->origin)) {
    char origin[DNS_NAME_TEXT_MAX];
    return diag_fail(diag, SMPL_EINVAL, "%s:%u: %s is outside the zone: expected a name at or below %s", file,
                     place.line, dns_name_to_text(owner, text), dns_name_to_text(&b->origin, origin));
  }
  const char *why = refuse(b, &name, type);
  if (why != NULL)
    return diag_fail(diag, SMPL_EINVAL, "%s:%u: %s: %s", file, place.line, dns_name_to_text(owner, text),
                     why);
  size_t rel = (size_t)name.len - b->origin.len;
  uint32_t node = b->last;
  int err = SMPL_OK;
  if (node == NO_NODE || b->nodes[node].name_len != rel ||
      memcmp(pool_at(&b->pool, b->nodes[node].name), name.wire, rel) != 0)
    err = build_node(b, name.wire, rel, &node);
  uint32_t ref;
  if (!err)
    err = pool_take(&b->pool, sizeof(build_rec_t) + len, &ref);
  if (err)
    return diag_fail(diag, err, "%s:%u: %s", file, place.line,
                     err == SMPL_ENOMEM ? "out of memory" : "zone too big");
  build_rec_t *r = (build_rec_t *)(void *)pool_at(&b->pool, ref);
  *r = (build_rec_t){.next = b->nodes[node].first,
                     .line = place.line,
                     .file = place.file,
                     .type = type,
                     .ttl = ttl,
                     .len = (uint16_t)len};
  memcpy(r + 1, rdata, len);
  b->nodes[node].first = ref;
  b->last = node;
  b->records++;
  return SMPL_OK;
}
