/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/zone/zone.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/error.h"
#include "resolver/zone/name_hash.h"
#include "resolver/zone/rcu.h"
#include "resolver/zone/zone_impl.h"

static const node_t *node_at(const zone_contents_t *z, uint32_t ref)
{
  return (const node_t *)(const void *)(z->arena + (size_t)ref * NODE_ALIGN);
}

/* The node of the name whose part before the origin is rel; NULL if there is none. */
static const node_t *find(const zone_contents_t *z, const uint8_t *rel, size_t len)
{
  uint64_t h = name_hash(rel, len);
  uint32_t tag = (uint32_t)(h >> 32);
  for (size_t i = h & z->mask;; i = (i + 1) & z->mask) {
    slot_t s = z->slots[i];
    if (s.node == 0)
      return NULL;
    if (s.tag != tag)
      continue;
    const node_t *n = node_at(z, s.node);
    if (n->name_len == len && memcmp(node_name(n), rel, len) == 0)
      return n;
  }
}

static const zone_rrset_t *rrset_of(const node_t *n, uint16_t type)
{
  const zone_rrset_t *set = node_first(n);
  for (unsigned i = 0; i < n->rrsets; i++, set = node_next(set))
    if (set->type >= type)
      return set->type == type ? set : NULL;
  return NULL;
}

static void refer(const zone_contents_t *z, const node_t *cut, zone_match_t *out)
{
  out->kind = ZONE_REFERRAL;
  out->rrset = rrset_of(cut, DNS_TYPE_NS);
  out->owner_len = (size_t)cut->name_len + z->origin.len;
}

/* What a node has to say to a question for its name, or for a name that it is the wildcard of. */
static void match_node(const node_t *n, uint16_t type, zone_match_t *out)
{
  out->rrset = NULL;
  if (type == DNS_TYPE_ANY) {
    out->kind = n->rrsets > 0 ? ZONE_ANSWER : ZONE_NODATA;
    if (n->rrsets > 0)
      out->rrset = node_first(n);
    if (n->flags & NODE_ALIAS)
      out->rrset = rrset_of(n, DNS_TYPE_CNAME);
    return;
  }
  const zone_rrset_t *set = rrset_of(n, type);
  out->kind = set != NULL ? ZONE_ANSWER : ZONE_NODATA;
  if (set == NULL && (n->flags & NODE_ALIAS)) {
    out->kind = ZONE_ALIAS;
    set = rrset_of(n, DNS_TYPE_CNAME);
  }
  out->rrset = set;
}

/* The nearest existing name above rel[0..len), with the length of its relative part. The apex always
 * exists. */
static const node_t *closest_encloser(const zone_contents_t *z, const uint8_t *rel, size_t len)
{
  unsigned labels = 0;
  for (size_t at = 0; at < len; at += rel[at] + 1u)
    labels++;
  size_t at = 0;
  for (;;) {
    at += rel[at] + 1u;
    labels--;
    if (labels > z->depth)
      continue;
    const node_t *n = labels == 0 ? node_at(z, z->apex) : find(z, rel + at, len - at);
    if (n != NULL)
      return n;
  }
}

static const node_t *cut_above(const zone_contents_t *z, const node_t *n)
{
  const uint8_t *rel = node_name(n);
  size_t len = n->name_len;
  while (n != NULL && !((n->flags & NODE_CUT) && !(n->flags & NODE_HIDDEN))) {
    size_t step = rel[0] + 1u;
    rel += step;
    len -= step;
    n = find(z, rel, len);
  }
  return n;
}

static void match_missing(const zone_contents_t *z, const uint8_t *rel, size_t len, uint16_t type,
                          zone_match_t *out)
{
  const node_t *n = closest_encloser(z, rel, len);
  out->rrset = NULL;
  if (n->flags & (NODE_CUT | NODE_HIDDEN)) {
    refer(z, cut_above(z, n), out);
    return;
  }
  if (n->flags & NODE_DNAME) {
    out->kind = ZONE_DNAME;
    out->rrset = rrset_of(n, DNS_TYPE_DNAME);
    out->owner_len = (size_t)n->name_len + z->origin.len;
    return;
  }
  out->kind = ZONE_NXDOMAIN;
  if (!(n->flags & NODE_WILDCARD))
    return;
  uint8_t star[DNS_NAME_MAX];
  star[0] = 1;
  star[1] = '*';
  memcpy(star + 2, node_name(n), n->name_len);
  const node_t *w = find(z, star, n->name_len + 2u);
  if (w->flags & NODE_CUT)
    return; /* RFC 4592 section 4.2: NS at a wildcard is undefined; such a zone is not loaded */
  match_node(w, type, out);
}

static void match(const zone_contents_t *z, const dns_name_t *name, uint16_t type, zone_match_t *out)
{
  size_t len = (size_t)name->len - z->origin.len;
  out->owner_len = 0;
  const node_t *n = find(z, name->wire, len);
  if (n == NULL) {
    match_missing(z, name->wire, len, type, out);
    return;
  }
  if (n->flags & (NODE_CUT | NODE_HIDDEN)) {
    const node_t *cut = cut_above(z, n);
    if (cut != n || type != DNS_TYPE_DS) {
      refer(z, cut, out);
      return;
    }
  }
  match_node(n, type, out);
}

/* Of a zone that has no data of the type: true when it has none of any type for the name. SOA and NS at the
 * origin do not count, every zone has them. */
static bool lacks(const zone_contents_t *z, const dns_name_t *name, const zone_match_t *m)
{
  if (m->kind != ZONE_NODATA)
    return m->kind == ZONE_NXDOMAIN;
  const node_t *n = find(z, name->wire, (size_t)name->len - z->origin.len);
  return n != NULL && n->rrsets == (n == node_at(z, z->apex) ? 2 : 0);
}

static void set_unavailable(zone_match_t *out)
{
  out->kind = ZONE_UNAVAILABLE;
  out->rrset = NULL;
  out->owner_len = 0;
}

void zone_match(zone_in_view_t zv, const dns_name_t *name, uint16_t type, zone_match_t *out)
{
  out->from = zv;
  if (zv.contents == NULL) {
    set_unavailable(out);
    return;
  }
  match(zv.contents, name, type, out);
  if (zv.zone->base == NULL || !lacks(zv.contents, name, out))
    return;
  zone_in_view_t base = zone_base(zv);
  if (base.contents == NULL) {
    set_unavailable(out);
    return;
  }
  zone_match_t below;
  match(base.contents, name, type, &below);
  if (below.kind == ZONE_NODATA) {
    out->kind = ZONE_NODATA;
  } else if (below.kind != ZONE_NXDOMAIN) {
    *out = below;
    out->from = base;
  }
}

int zone_set_base(zone_t *zone, const zone_t *base)
{
  if (base == zone || base->base != NULL || !dns_name_equal(&zone->origin, &base->origin))
    return SMPL_EINVAL;
  zone->base = base;
  return SMPL_OK;
}

zone_in_view_t zone_base(zone_in_view_t z)
{
  const zone_t *base = z.zone->base;
  return (zone_in_view_t){z.view, base, base != NULL ? zone_contents(base) : NULL};
}

const zone_rrset_t *zone_glue(zone_in_view_t zv, const dns_name_t *name, uint16_t type)
{
  const zone_contents_t *z = zv.contents;
  if (z == NULL || !dns_name_under(name, &z->origin))
    return NULL;
  const node_t *n = find(z, name->wire, (size_t)name->len - z->origin.len);
  return n == NULL ? NULL : rrset_of(n, type);
}

const zone_rrset_t *zone_negative_soa(zone_in_view_t zv)
{
  return (const zone_rrset_t *)(const void *)(zv.contents->arena +
                                              (size_t)zv.contents->negative_soa * NODE_ALIGN);
}

void zone_path(zone_in_view_t zv, const dns_name_t *name, zone_path_t *out)
{
  const zone_contents_t *z = zv.contents;
  size_t len = (size_t)name->len - zv.zone->origin.len;
  if (z == NULL) { /* of the origin alone it is known that it exists */
    *out = (zone_path_t){.exists = len == 0, .encloser_len = zv.zone->origin.len};
    return;
  }
  const node_t *n = find(z, name->wire, len);
  out->exists = n != NULL;
  if (n == NULL)
    n = closest_encloser(z, name->wire, len);
  out->encloser_len = (size_t)n->name_len + z->origin.len;
  out->wildcard =
      !out->exists && (n->flags & NODE_WILDCARD) && !(n->flags & (NODE_CUT | NODE_HIDDEN | NODE_DNAME));
}

static void full_name(const zone_contents_t *z, const node_t *n, dns_name_t *out)
{
  memcpy(out->wire, node_name(n), n->name_len);
  memcpy(out->wire + n->name_len, z->origin.wire, z->origin.len);
  out->len = (uint8_t)(n->name_len + z->origin.len);
}

int zone_each_owner(zone_in_view_t zv,
                    int (*each)(void *ctx, const dns_name_t *name, const uint16_t *types, size_t count),
                    void *ctx)
{
  enum { TYPES_MAX = 64 }; /* of one owner; more are left out */
  const zone_contents_t *z = zv.contents;
  int stop = 0;
  for (size_t i = 0; stop == 0 && z != NULL && i <= z->mask; i++) {
    if (z->slots[i].node == 0)
      continue;
    const node_t *n = node_at(z, z->slots[i].node);
    const zone_rrset_t *set = node_first(n);
    uint16_t types[TYPES_MAX];
    size_t count = 0;
    dns_name_t name;
    for (unsigned j = 0; j < n->rrsets && count < TYPES_MAX; j++, set = node_next(set))
      types[count++] = set->type;
    if (count == 0)
      continue;
    full_name(z, n, &name);
    stop = each(ctx, &name, types, count);
  }
  return stop;
}

void zone_data_name(const uint8_t *p, const dns_name_t *origin, dns_name_t *out)
{
  size_t n = 0;
  while (p[n] != 0 && p[n] < 0xc0)
    n += p[n] + 1u;
  memcpy(out->wire, p, n);
  if (p[n] == 0) {
    out->wire[n] = 0;
    out->len = (uint8_t)(n + 1);
  } else {
    memcpy(out->wire + n, origin->wire, origin->len);
    out->len = (uint8_t)(n + origin->len);
  }
  dns_name_lower(out);
}

int zone_new(const char *name, const dns_name_t *origin, const char *file, zone_t **out)
{
  zone_t *z = calloc(1, sizeof *z);
  *out = NULL;
  if (z == NULL)
    return SMPL_ENOMEM;
  z->origin = *origin;
  z->name = strdup(name);
  z->file = strdup(file);
  if (z->name == NULL || z->file == NULL) {
    zone_free(z);
    return SMPL_ENOMEM;
  }
  *out = z;
  return SMPL_OK;
}

zone_contents_t *zone_swap(zone_t *zone, zone_contents_t *fresh)
{
  zone_contents_t *old = zone->contents;
  RCU_RELEASE(&zone->contents);
  rcu_assign_pointer(zone->contents, fresh);
  return old;
}

const zone_contents_t *zone_contents(const zone_t *zone)
{
  return rcu_get(&zone->contents);
}

void zone_contents_free(zone_contents_t *contents)
{
  if (contents == NULL)
    return;
  free(contents->slots);
  free(contents->arena);
  for (size_t i = 0; i < contents->file_count; i++)
    free(contents->files[i]);
  free(contents->files);
  free(contents);
}

bool zone_is_available(const zone_t *zone)
{
  return zone->contents != NULL;
}

const dns_name_t *zone_origin(const zone_t *zone)
{
  return &zone->origin;
}

const char *zone_name(const zone_t *zone)
{
  return zone->name;
}

size_t zone_file_count(const zone_t *zone)
{
  return zone->contents != NULL ? zone->contents->file_count : 1;
}

const char *zone_file(const zone_t *zone, size_t i)
{
  return zone->contents != NULL ? zone->contents->files[i] : zone->file;
}

void zone_set_number(zone_t *zone, uint32_t number)
{
  zone->number = number;
}

uint32_t zone_number(const zone_t *zone)
{
  return zone->number;
}

zone_facts_t zone_facts(const zone_t *zone)
{
  return zone->contents != NULL ? zone->contents->facts : (zone_facts_t){.bytes = sizeof *zone};
}

void zone_free(zone_t *zone)
{
  if (zone == NULL)
    return;
  zone_contents_free(zone->contents);
  free(zone->name);
  free(zone->file);
  free(zone);
}
