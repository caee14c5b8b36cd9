/* SPDX-License-Identifier: Apache-2.0 */
/* From what a client wrote to checked addresses (invariant 4): a name is looked up only once a grant covers
 * it. Aliases may not leave the searched domain. Every address must pass a grant of the user's. All calls on
 * the loop's thread. */
#pragma once

#include "bastion/policy/config.h"
#include "bastion/policy/target.h"
#include "common/dns/lookup.h"

/* What both a finder and an opening look into; the pointers change at reload. */
typedef struct finder_world {
  uv_loop_t *loop;
  const config_t *config;
  lookup_t *lookup;
} finder_world_t;

typedef struct finder_result {
  reason_t reason; /* REASON_NONE: found */
  bool is_ip;
  char name[GRANT_NAME_MAX]; /* final, without its dot; also with some reasons; "" if it never came so far */
  uint16_t port;
  size_t count;
  ip_t addrs[LOOKUP_ADDRS_MAX];
} finder_result_t;

typedef struct finder finder_t;
/* The result is borrowed for the call; the finder is gone after it. */
typedef void (*finder_cb)(void *ctx, const finder_result_t *result);

/* port 0: the one that _http._tcp.NAME SRV says. cb may run before this returns: then *out is NULL. */
void finder_start(const finder_world_t *world, const char *user, const char *host, uint16_t port,
                  finder_cb cb, void *ctx, finder_t **out);
/* cb will not be called. NULL allowed. */
void finder_cancel(finder_t *finder);

/* The policy alone, nothing is looked up: which final name would be meant, and what a grant says to it. port
 * 0: to any port. name of GRANT_NAME_MAX bytes. */
grant_decision_t finder_judge(const config_t *config, const char *user, const char *host, uint16_t port,
                              char *name);
/* The same for a target that has been found: is it still granted at this address? */
grant_decision_t finder_judge_address(const config_t *config, const char *user, bool is_ip, const char *name,
                                      const endpoint_t *address);
/* When hours end that, on the monotonic clock in ms; UINT64_MAX if none do. */
uint64_t finder_granted_until(const config_t *config, const char *user, bool is_ip, const char *name,
                              const endpoint_t *address);
/* The monotonic time in ms at which the grant's hours end; UINT64_MAX without. 0 if it is not in force now.
 */
uint64_t finder_hours_end(const grant_t *grant);
