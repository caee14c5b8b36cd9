/* SPDX-License-Identifier: Apache-2.0 */
/* How a zone lies in memory: shared by zone.c, which reads it, zone_build.c, which writes it, and
 * zone_copy.c, which writes it down. Nobody else includes this.
 *
 * slots is an open-addressed table (a power of two, at most two thirds full) from the hash of a name to
 * its node. Nodes lie one after another in the arena, each aligned to NODE_ALIGN: node_t, the name
 * relative to the origin (lower-case, no root label), a filler byte if that is odd, then the rrsets by
 * ascending type, each zone_rrset_t, wire, filler, patches. A node without rrsets is an empty
 * non-terminal. Node references count NODE_ALIGN bytes; 0 is no node. */
#pragma once

#include "resolver/zone/zone.h"

enum { NODE_ALIGN = 4 };

enum {
  NODE_CUT = 1,      /* a delegation: NS below the apex */
  NODE_HIDDEN = 2,   /* below a delegation */
  NODE_DNAME = 4,    /* has a DNAME: nothing exists below */
  NODE_WILDCARD = 8, /* has a child '*' */
  NODE_ALIAS = 16,   /* has a CNAME */
};

typedef struct node {
  uint8_t name_len;
  uint8_t flags;
  uint16_t rrsets;
} node_t;

typedef struct slot {
  uint32_t tag; /* upper half of the hash */
  uint32_t node;
} slot_t;

struct zone_contents {
  slot_t *slots;
  size_t mask;
  uint8_t *arena;
  size_t arena_len;
  uint32_t apex;
  uint32_t negative_soa; /* reference to a lone zone_rrset_t */
  unsigned depth;        /* most labels below the origin of any node */
  dns_name_t origin;     /* the handle's */
  char **files;          /* what it was read from, the master file first */
  size_t file_count;
  zone_facts_t facts;
};

struct zone {
  zone_contents_t *contents; /* under RCU; NULL: nothing is known of it */
  const zone_t *base;        /* what this zone lacks comes from there; NULL: it does not exist */
  uint32_t number;           /* among the zones it is served with */
  dns_name_t origin;
  char *name;
  char *file; /* where it would be read from, while there are no contents */
};

static inline const uint8_t *node_name(const node_t *n)
{
  return (const uint8_t *)(n + 1);
}

static inline const zone_rrset_t *node_first(const node_t *n)
{
  return (const zone_rrset_t *)(const void *)(node_name(n) + ((n->name_len + 1u) & ~1u));
}

static inline const zone_rrset_t *node_next(const zone_rrset_t *set)
{
  return (const zone_rrset_t *)(const void *)(zone_rrset_patches(set) + set->patches);
}
