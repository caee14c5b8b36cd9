/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that are not known here, and the requests that wait for the account service's word on them. Such
 * keys cost nothing to make up: their checksum is public. So places are shared out by source, before
 * anybody knows whose a key is:
 *
 * - Requests that wait have so many places. When all are taken, one of whoever has most (common/net/crowd.h:
 *   by network first, then by address) gives way to a newcomer who has less. A newcomer who has most
 *   himself is refused.
 * - Questions are asked in turn (common/base/turns.h): one of each network, an IPv4 /24 or IPv6 /48, and
 *   within a network one of each source. So nobody waits for more than one question of each other
 *   network, whatever that one has sent.
 * - Of one network, fewer questions are under way at a time than there may be: others find a place at
 *   once.
 *
 * Loop's thread. */
#pragma once

#include <stddef.h>

#include "app/limits.h"
#include "common/net/crowd.h"
#include "common/base/ip.h"

typedef struct strangers strangers_t;

/* One key's question. Embedded in what it is about; zeroed, it is nowhere. */
typedef struct stranger {
  struct stranger_ticket *ticket; /* NULL: nowhere */
  struct stranger *previous, *next;
  ip_t source, network;
  uint64_t rank; /* the how-manieth of its source it was when it came */
  crowd_member_t place;
} stranger_t;

/* NULL when there is no memory or no randomness. */
strangers_t *strangers_new(void);
/* Once nobody waits and nothing is asked. NULL allowed. */
void strangers_free(strangers_t *strangers);

/* A request begins to wait, as a member that is nowhere. *displaced is one that had to leave for it, and
 * is nowhere now, or NULL. SMPL_ELIMIT: no place for this one. SMPL_ENOMEM. */
int strangers_wait(strangers_t *strangers, crowd_member_t *member, const ip_t *source,
                   crowd_member_t **displaced);
/* It waits no more. May be called for one that did not. */
void strangers_go(strangers_t *strangers, crowd_member_t *member);
size_t strangers_waiting(const strangers_t *strangers);

/* A question waits for its turn; at least one request waits for it, until it was taken. SMPL_ENOMEM. */
int strangers_queue(strangers_t *strangers, stranger_t *question, const ip_t *source);
/* The question whose turn it is: it is under way from here on. NULL: none waits, or none may be asked now. */
stranger_t *strangers_take(strangers_t *strangers);
/* It is answered, or will not be asked. May be called for one that is nowhere. */
void strangers_end(strangers_t *strangers, stranger_t *question);
