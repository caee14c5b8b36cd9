/* SPDX-License-Identifier: Apache-2.0 */
/* Additional data: what a client would ask next about the names that an answer leads to. Pure. */
#pragma once

#include <stddef.h>

#include "resolver/answer/reply.h"
#include "resolver/view/view.h"

/* An rrset as it stands in an answer: put by reply_put at offset `at`, its owner (lower-case) at owner_at. */
typedef struct additional_of {
  const zone_rrset_t *set;
  size_t at;
  const dns_name_t *owner;
  size_t owner_at;
  const dns_name_t *origin; /* of the zone that the rrset is from */
} additional_of_t;

/* Adds the addresses of the targets of NS, MX, SRV, SVCB and HTTPS records. For the alias form of the last
 * two it adds the target's records of the same type (RFC 1035 section 3.3, 2782, 9460 section 4.1). It looks
 * at the view's zones alone, and adds at most ADDITIONAL_TARGETS_MAX targets, each once. Data that does not
 * fit is left out without TC (RFC 2181 section 9). Nothing for other types. */
void additional_put(reply_t *r, const view_t *view, const additional_of_t *of);
