/* SPDX-License-Identifier: Apache-2.0 */
/* Collects the records of a zone, checks that they make one, compiles them into what is served. One
 * thread. */
#pragma once

#include <stdint.h>

#include "common/base/diag.h"
#include "common/dns/dns_wire.h"
#include "resolver/zone/zone.h"

typedef struct zone_builder zone_builder_t;

/* Where a record was written, for messages. */
typedef struct zone_place {
  uint32_t line;
  uint16_t file; /* from zone_builder_file */
} zone_place_t;

/* name as configured ("smplkit.com@vpc"), origin lower-case. SMPL_ENOMEM. */
int zone_builder_new(const char *name, const dns_name_t *origin, zone_builder_t **out);
void zone_builder_free(zone_builder_t *b);

/* Registers a file for places; its path is copied. SMPL_ELIMIT after ZONE_INCLUDES_MAX. */
int zone_builder_file(zone_builder_t *b, const char *path, uint16_t *out, diag_t *diag);

/* Adds a record of class IN, its data as rdata_read made it. SMPL_EINVAL for what no zone may hold
 * (outside the origin, SOA below the apex, NS or DNAME at a wildcard), SMPL_ELIMIT, SMPL_ENOMEM, with the
 * place in diag. */
int zone_builder_add(zone_builder_t *b, const dns_name_t *owner, uint16_t type, uint32_t ttl,
                     const uint8_t *rdata, size_t len, zone_place_t place, diag_t *diag);

/* Checks the zone as a whole and makes it. The apex has one SOA and at least one NS. CNAME and DNAME are
 * single and alone at their names. No record is there twice, nothing is below a DNAME, and rrsets fit a
 * message. Records of one rrset with different TTLs get the lowest (RFC 2181 section 5.2), counted as a
 * warning. The builder is spent afterwards, free it. */
int zone_builder_finish(zone_builder_t *b, zone_contents_t **out, diag_t *diag);
