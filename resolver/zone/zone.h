/* SPDX-License-Identifier: Apache-2.0 */
/* A zone as it is served: immutable, compact, its answers prebuilt as wire. Any number of threads may read
 * it. Its records can only be reached through a view (view.h makes zone_in_view_t; invariant 1). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/dns/dns_wire.h"

/* The handle: what a zone is called, what is below it, where its contents are. */
typedef struct zone zone_t;
/* Its records, of one version: never changed, and swapped as a whole. */
typedef struct zone_contents zone_contents_t;
struct view;

/* The right to read a zone: made by view_zone_for for the view it was found in, from an overlay's by
 * zone_base for what lies below it, by nobody else. */
typedef struct zone_in_view {
  const struct view *view;
  const zone_t *zone;
  const zone_contents_t *contents; /* as they were when it was made; NULL: nothing is known of the zone */
} zone_in_view_t;

/* Records of one owner and type as they stand in an answer. Every owner is the pointer 0xC00C, names in
 * the data that are under the zone's origin end in a pointer: its two bytes lie at each of
 * zone_rrset_patches[0..patches) and are to become 0xC000 | where the origin stands in the message. */
typedef struct zone_rrset {
  uint16_t type;
  uint16_t count; /* records */
  uint16_t wire_len;
  uint16_t patches;
} zone_rrset_t;

static inline const uint8_t *zone_rrset_wire(const zone_rrset_t *set)
{
  return (const uint8_t *)(set + 1);
}

static inline const uint16_t *zone_rrset_patches(const zone_rrset_t *set)
{
  return (const uint16_t *)(const void *)(zone_rrset_wire(set) + ((set->wire_len + 1u) & ~1u));
}

/* The name at p in an rrset's data, lower-case: it may end in the pointer that stands for the origin. */
void zone_data_name(const uint8_t *p, const dns_name_t *origin, dns_name_t *out);

typedef enum zone_match_kind {
  ZONE_ANSWER,      /* rrset of the type asked for */
  ZONE_ALIAS,       /* rrset is the owner's CNAME */
  ZONE_DNAME,       /* rrset is a DNAME above the name; owner_len says whose */
  ZONE_NODATA,      /* the name exists, the type does not */
  ZONE_NXDOMAIN,    /* the name does not exist */
  ZONE_REFERRAL,    /* rrset is the NS of a delegation at or above the name; owner_len says whose */
  ZONE_UNAVAILABLE, /* the zone, or the base that would know, could not be read: nothing can be said */
} zone_match_kind_t;

typedef struct zone_match {
  zone_match_kind_t kind;
  const zone_rrset_t *rrset;
  size_t
      owner_len; /* ZONE_DNAME, ZONE_REFERRAL: bytes of the owner, which is the end of the name asked for */
  zone_in_view_t from; /* the zone that rrset is of: the one asked or, where that is an overlay, its base */
} zone_match_t;

/* Makes a zone an overlay: names that it lacks are looked for in base, which outlives it. Before it is
 * served. SMPL_EINVAL when their origins differ or base is an overlay itself. */
int zone_set_base(zone_t *zone, const zone_t *base);
/* An overlay's base, as the view that has the overlay may read it; zone.zone NULL for other zones. */
zone_in_view_t zone_base(zone_in_view_t z);

/* name is lower-case and at or below the origin. RFC 1034 section 4.3.2, 4592. DNS_TYPE_ANY gives the name's
 * first rrset (RFC 8482 section 4.1). An overlay lacks a name if it has no record of it, of any type or by a
 * wildcard. If it has SOA and NS alone at its origin, it lacks the origin too. Its negative answers are its
 * own. */
void zone_match(zone_in_view_t z, const dns_name_t *name, uint16_t type, zone_match_t *out);

/* The rrset of exactly this name and type whether served, glue or hidden below a delegation; NULL if none. */
const zone_rrset_t *zone_glue(zone_in_view_t z, const dns_name_t *name, uint16_t type);

/* The SOA with the TTL of negative answers (RFC 2308 section 5). Its owner pointers are to be patched like
 * the others. */
const zone_rrset_t *zone_negative_soa(zone_in_view_t z);

/* For those who ask why: how zone_match came by its answer for this name. */
typedef struct zone_path {
  bool exists;         /* the name itself, if only as an empty non-terminal */
  size_t encloser_len; /* bytes of the closest existing name, which is the end of the name asked for */
  bool wildcard;       /* a child '*' of that name answers for those that do not exist */
} zone_path_t;
void zone_path(zone_in_view_t z, const dns_name_t *name, zone_path_t *out);

/* Calls each(ctx, name, types, count) for every owner of records, in no order; types ascend. Not zero ends
 * the walk and is returned. */
int zone_each_owner(zone_in_view_t z,
                    int (*each)(void *ctx, const dns_name_t *name, const uint16_t *types, size_t count),
                    void *ctx);

/* A handle without contents. It keeps its place, so nobody else answers for its names, and has
 * ZONE_UNAVAILABLE for all of them. file is where it would be read from. SMPL_ENOMEM. */
int zone_new(const char *name, const dns_name_t *origin, const char *file, zone_t **out);

/* Gives the handle other contents, of its origin; NULL: none. Returns the contents before (NULL: none). The
 * caller frees them once all readers under RCU have passed a quiet point. An answer is from the old or from
 * the new contents, never from both. By one thread. Others than RCU's readers must not read the zone
 * meanwhile. */
zone_contents_t *zone_swap(zone_t *zone, zone_contents_t *fresh);
void zone_contents_free(zone_contents_t *contents);

/* The contents now, for view_zone_for, which alone hands them on; they stay until the caller's next quiet
 * point. */
const zone_contents_t *zone_contents(const zone_t *zone);

/* About the zone, without its records. */
bool zone_is_available(const zone_t *zone);
const dns_name_t *zone_origin(const zone_t *zone); /* lower-case */
const char *zone_name(const zone_t *zone);         /* as configured, "smplkit.com@vpc" */

/* The files it was read from: the master file, then what it includes, in order of reading and again for each
 * time. */
size_t zone_file_count(const zone_t *zone);
const char *zone_file(const zone_t *zone, size_t i);

/* Its place among the zones it is served with, 0 until it is set; before it is served. */
void zone_set_number(zone_t *zone, uint32_t number);
uint32_t zone_number(const zone_t *zone);

typedef struct zone_facts {
  uint32_t serial;
  uint32_t names; /* owners of records */
  uint32_t records;
  uint32_t warnings;
  size_t bytes; /* memory the snapshot takes */
} zone_facts_t;
zone_facts_t zone_facts(const zone_t *zone);

void zone_free(zone_t *zone);
