/* SPDX-License-Identifier: Apache-2.0 */
/* A target as the client wrote it: a literal address, a final name (with its dot), or a name to be searched
 * for. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "bastion/policy/grant.h"
#include "common/base/ip.h"
#include "common/dns/dns_wire.h"

typedef struct target {
  bool is_ip;
  ip_t ip;
  bool final;                /* written with its final dot */
  char name[GRANT_NAME_MAX]; /* lower-case, without the final dot */
} target_t;

/* Names are letters, digits, hyphens, underscores and dots; literals by inet_pton alone, an IPv4 address in
 * IPv6's clothes is refused. SMPL_EINVAL, SMPL_ELIMIT. */
int target_parse(const char *text, target_t *out);

/* A name on the wire as ours are written; false for what no target may be called. out of GRANT_NAME_MAX
 * bytes.
 */
bool target_of_wire(const dns_name_t *wire, char *out);

/* The final name under this search domain: the target itself if it lies in the domain already, else
 * target.domain. A name is never tried bare. SMPL_ELIMIT if it gets too long. out of GRANT_NAME_MAX bytes. */
int target_under(const target_t *target, const char *domain, char *out);

/* Whether name is the domain or lies below it; both lower-case, without final dots. */
bool target_in_domain(const char *name, const char *domain);
