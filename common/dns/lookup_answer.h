/* SPDX-License-Identifier: Apache-2.0 */
/* What an answer says to a question of lookup.h. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/dns/dns_wire.h"
#include "common/dns/lookup.h"

typedef struct lookup_question {
  dns_name_t name;  /* lower-case */
  dns_name_t asked; /* in the letter case that was sent: an answer must repeat it */
  uint16_t type;
} lookup_question_t;

/* SMPL_OK, or what lookup.h says of an answer; SMPL_EAGAIN: truncated. Writes all of *addrs (its chain and
 * ttl whatever the type is), and what the type calls for of the others, which may be NULL for other types. */
int lookup_answer_read(const lookup_question_t *question, const uint8_t *msg, size_t len,
                       lookup_addrs_t *addrs, lookup_srvs_t *srvs, lookup_ptrs_t *ptrs);
