/* SPDX-License-Identifier: Apache-2.0 */
/* The one place that decides who may reach what (invariant 5: no granted target, no descriptor). Pure: no
 * I/O, no state, default deny. A grant names users or groups, targets by pattern and port, and the networks
 * that an address must lie in. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bastion/limits.h"
#include "bastion/policy/hours.h"
#include "common/base/ip.h"
#include "common/ssh/reason.h"

typedef enum grant_wild {
  GRANT_WILD_NONE,
  GRANT_WILD_ONE,  /* "*": exactly one label before the suffix */
  GRANT_WILD_MANY, /* "**": one or more */
} grant_wild_t;

typedef struct grant_pattern {
  bool is_ip;
  ip_net_t net; /* literal addresses in it; one address is a network of one */
  grant_wild_t wild;
  char suffix[GRANT_NAME_MAX]; /* lower-case, no final dot: the name, or what follows the wildcard; "" after a
                                  lone one */
  size_t port_count;           /* 0: any port */
  uint16_t ports[GRANT_PORTS_MAX];
} grant_pattern_t;

typedef struct grant {
  const char *const *users;
  size_t user_count;
  const char *const *groups;
  size_t group_count;
  const grant_pattern_t *targets;
  size_t target_count;
  const ip_net_t *networks;
  size_t network_count;
  uint64_t idle_ms;    /* 0: no limit */
  uint64_t session_ms; /* 0: no limit */
  const hours_window_t *hours;
  size_t hour_count;     /* 0: always */
  uint64_t max_sessions; /* of one user with connections open by this grant; 0: no limit. Not the decision's
                            to count */
} grant_t;

typedef struct grant_subject {
  const char *user;
  const char *const *groups;
  size_t group_count;
  unsigned minute; /* of the week, when it is asked (hours.h) */
} grant_subject_t;

/* A final name, lower-case and without its dot, or an address; with a port, or 0 to ask whether any port is
 * granted. */
typedef struct grant_target {
  bool is_ip;
  ip_t ip;
  const char *name;
  uint16_t port;
} grant_target_t;

/* reason REASON_NONE: granted by pattern `target` of grant `grant`, the first in order. */
typedef struct grant_decision {
  reason_t reason;
  size_t grant;
  size_t target;
} grant_decision_t;

/* "NAME:PORTS": NAME a name, `*.rest` or `**.rest`, an IPv4 address or network, an IPv6 address or network in
 * brackets; PORTS a port, several separated by commas, or `*`. SMPL_EINVAL, SMPL_ELIMIT. */
int grant_pattern_parse(const char *text, size_t len, grant_pattern_t *out);

bool grant_covers_subject(const grant_t *grant, const grant_subject_t *subject);

/* By name (or literal address) and port alone, before anything is looked up. REASON_NOT_GRANTED;
 * REASON_PORT_NOT_GRANTED if a grant covers the name and not the port; REASON_OUTSIDE_HOURS if it covers both
 * and is not in force at this minute. */
grant_decision_t grant_decide(const grant_t *grants, size_t count, const grant_subject_t *subject,
                              const grant_target_t *target);

/* For an address that this target stands at: the first grant that covers subject, target and address.
 * REASON_ADDRESS_NOT_GRANTED when none that covers the target lists the address. */
grant_decision_t grant_decide_address(const grant_t *grants, size_t count, const grant_subject_t *subject,
                                      const grant_target_t *target, const ip_t *address);

/* Of two decisions the one that is nearer to a grant; a if they are equal. For telling why not. */
grant_decision_t grant_nearer(grant_decision_t a, grant_decision_t b);

/* Whether a grant's network lets this address through. A special address (loopback, link-local with the
 * clouds' metadata, one that hides another address) passes only if the network lies wholly within that range,
 * so that it was meant. Unspecified, multicast and reserved ones never pass. */
bool grant_network_admits(const ip_net_t *network, const ip_t *address);

/* Minutes for which this goes on being granted, by whichever grant: 0 if it is not, HOURS_WEEK if no hours
 * end it. */
unsigned grant_minutes_left(const grant_t *grants, size_t count, const grant_subject_t *subject,
                            const grant_target_t *target, const ip_t *address);
