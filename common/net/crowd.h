/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the network that takes most of a bounded thing: places, bytes, handshakes. Each member stands at an
 * address and has a weight; weights are summed for the address and for the networks around it, since whoever
 * has an IPv6 /48 has 65,536 networks /64 to come from. The search goes from the outside in: the IPv6 /48 or
 * IPv4 /24 with the most, in it the /56, in that the /64, in that the address. (An IPv4 /24 holds addresses
 * only.) There it takes the member that entered first. So an attacker gives way to others however he spreads
 * over his networks. His neighbours in a network give way only for their own members.
 *
 * A source is what counts as one stranger: an IPv4 address or an IPv6 /64.
 *
 * Every call takes time logarithmic in the number of networks and addresses, crowd_heaviest constant time.
 * One thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/ip.h"

typedef struct crowd crowd_t;
typedef struct crowd_node crowd_node_t;

/* Part of whatever is counted; zeroed, it is nowhere. */
typedef struct crowd_member {
  crowd_node_t *at; /* its address; NULL: nowhere */
  struct crowd_member *older, *newer;
  uint64_t weight;
} crowd_member_t;

/* NULL when there is no memory or no randomness. */
crowd_t *crowd_new(void);
/* The same for what has no networks around it, such as accounts: 16 bytes that name it stand in the place of
 * an address, and each is a source of its own. */
crowd_t *crowd_new_flat(void);
/* Once every member has left. NULL allowed. */
void crowd_free(crowd_t *crowd);

/* Adds weight to a member, which enters at that address if it is nowhere. SMPL_ENOMEM, and nothing has
 * changed. The member stays where it is until crowd_leave: ip must be the same each time. */
int crowd_add(crowd_t *crowd, crowd_member_t *member, const ip_t *ip, uint64_t weight);
/* A place for the member, of weight 1, where there are no more than max. *displaced is the member that had to
 * leave for it, and is nowhere now; or NULL. It is the newest of the network with the most: those before it
 * are nearer to their end. SMPL_ENOMEM; SMPL_ELIMIT, and the member is nowhere: its own network has most. */
int crowd_add_within(crowd_t *crowd, crowd_member_t *member, const ip_t *ip, uint64_t max,
                     crowd_member_t **displaced);
/* Takes weight off, at most what the member has. It stays. */
void crowd_less(crowd_t *crowd, crowd_member_t *member, uint64_t weight);
/* All of it. A member that is nowhere stays nowhere. */
void crowd_leave(crowd_t *crowd, crowd_member_t *member);

/* The member counts as the one that entered last at its address. It is somewhere. */
void crowd_renew(crowd_member_t *member);

/* The outermost network around an address: its IPv6 /48 or IPv4 /24. Pure. */
ip_t crowd_network(const ip_t *ip);

/* Of all members. */
uint64_t crowd_total(const crowd_t *crowd);
/* Of the source that the address belongs to. */
uint64_t crowd_of_source(const crowd_t *crowd, const ip_t *ip);
/* Of the network (IPv6 /48, IPv4 /24) that the member stands in. */
uint64_t crowd_of_network(const crowd_member_t *member);

/* At the heaviest address, the member that entered first; the others follow by `newer`. NULL if there is
 * none. Of equals the network, and then the address, that has had members for longest without a break. */
crowd_member_t *crowd_heaviest(const crowd_t *crowd);
/* At the member's address, the one that entered last. */
crowd_member_t *crowd_newest(const crowd_member_t *member);
/* The same as crowd_heaviest among the addresses of one source. */
crowd_member_t *crowd_heaviest_of_source(const crowd_t *crowd, const ip_t *ip);
/* Which of two members' networks weighs more, at the outermost level where they are not the same: below,
 * equal to or above 0 as a weighs less, the same or more. 0 at one address. */
int crowd_compare(const crowd_member_t *a, const crowd_member_t *b);
