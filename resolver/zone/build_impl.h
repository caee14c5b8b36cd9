/* SPDX-License-Identifier: Apache-2.0 */
/* The builder's insides, shared by zone_build.c (collecting) and zone_compile.c (checking and laying out). */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "resolver/zone/zone_build.h"
#include "resolver/zone/zone_impl.h"

enum {
  NODES_MAX = 1u << 28,
};
#define NO_NODE UINT32_MAX

/* Bytes that only grow; references count NODE_ALIGN. Pointers into it live until the next pool_take. */
typedef struct pool {
  uint8_t *data;
  size_t used, cap;
} pool_t;

/* len zeroed bytes at the pool's end: aligned, by reference; or right behind what is there, by offset.
 * SMPL_ENOMEM; SMPL_ELIMIT when references run out, at 16 GiB. */
int pool_take(pool_t *p, size_t len, uint32_t *ref);
int pool_append(pool_t *p, size_t len, size_t *at);

static inline uint8_t *pool_at(const pool_t *p, uint32_t ref)
{
  return p->data + (size_t)ref * NODE_ALIGN;
}

typedef struct build_rec {
  uint32_t next; /* the node's record before this one in the file; 0: none */
  uint32_t line;
  uint32_t ttl;
  uint16_t file, type, len;
  uint16_t unused;
  /* the data follows */
} build_rec_t;

typedef struct build_node {
  uint64_t hash;
  uint32_t name; /* in the pool, relative to the origin */
  uint32_t first;
  uint32_t parent;
  uint8_t name_len;
  uint8_t flags; /* NODE_* of zone_impl.h */
} build_node_t;

struct zone_builder {
  char *name;
  dns_name_t origin;
  char **files;
  size_t file_count;
  pool_t pool;
  build_node_t *nodes; /* the first is the apex */
  uint32_t node_count;
  size_t node_cap;
  slot_t *table; /* node is the number in nodes plus one */
  size_t mask;
  uint32_t last; /* node of the record before */
  unsigned depth;
  uint32_t records, warnings;
};

/* The node of a name relative to the origin; build_node makes it and its parents when missing. */
uint32_t build_find(const zone_builder_t *b, const uint8_t *rel, size_t len);
int build_node(zone_builder_t *b, const uint8_t *rel, size_t len, uint32_t *out);
/* "file:line" of a record. Returns buf. */
const char *build_place(const zone_builder_t *b, uint32_t rec, char *buf, size_t cap);
