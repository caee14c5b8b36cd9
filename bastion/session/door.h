/* SPDX-License-Identifier: Apache-2.0 */
/* The places of those that have not signed in, and who has to go when one more comes and there are too many:
 * never a newcomer because of what others do, but who takes the most (common/net/crowd.h). A source from
 * which somebody signed in lately keeps one place, the newest: it counts for nobody and does not give way. */
#pragma once

#include "bastion/policy/config.h"
#include "bastion/session/source.h"
#include "common/net/crowd.h"

typedef enum door_rule {
  DOOR_OPEN,        /* there is room */
  DOOR_SOURCE,      /* startups_per_source: the oldest of the newcomer's own source goes */
  DOOR_STARTUPS,    /* startups: the oldest of the network with the most goes */
  DOOR_CONNECTIONS, /* connections: the same, or the newcomer if everybody else has signed in */
  /* what its source did before (penalty.h), the newcomer is refused; not door_enter's to say */
  DOOR_FAILED, /* failed logins and the like */
  DOOR_SILENT, /* connections without a try */
  DOOR_RULES
} door_rule_t;

typedef struct door door_t;

/* Part of whatever waits for its login; zeroed, it is nowhere. */
typedef struct door_place {
  crowd_member_t member; /* first; in the crowd unless it is kept */
  struct door_place *older, *newer;
  ip_t ip;
  bool here, kept;
} door_place_t;

typedef struct door_verdict {
  door_rule_t rule;
  door_place_t
      *victim;     /* that gives way, the newcomer perhaps; NULL: there is room. The caller's to have leave */
  size_t together; /* places that its network (or, DOOR_SOURCE, its source) has, the newcomer's included */
} door_verdict_t;

/* NULL when there is no memory or no randomness. */
door_t *door_new(void);
/* Once every place has left. NULL allowed. */
void door_free(door_t *door);

/* The newcomer takes a place, and the verdict says who has to leave for it. known: somebody signed in from
 * its source lately. signed_in: how many have altogether. random is uniform in 0..99. SMPL_ENOMEM: it has
 * none. */
int door_enter(door_t *door, door_place_t *newcomer, const ip_t *ip, bool known, const limits_conf_t *limits,
               size_t signed_in, unsigned random, door_verdict_t *verdict);
/* Signed in, or gone. A place that is nowhere stays nowhere. */
void door_leave(door_t *door, door_place_t *place);
/* Somebody has signed in from there: its newest place is kept from now on. */
void door_keep(door_t *door, const ip_t *ip);
size_t door_count(const door_t *door);

/* The network, or the source, that has the most: "192.0.2.0/24". buf of SOURCE_TEXT_MAX bytes.
 * Returns buf. */
char *door_network(const door_verdict_t *verdict, char *buf);
/* As the configuration calls it: for log and metrics. */
const char *door_rule_name(door_rule_t rule);
