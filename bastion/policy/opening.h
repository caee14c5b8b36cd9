/* SPDX-License-Identifier: Apache-2.0 */
/* From what a client wrote to a connected socket: found by finder.h, connected to the checked addresses from
 * the configured source, and judged once more by the policy in force when the connection stands. Several
 * addresses race as RFC 8305 has it: one that fails is followed by the next at once, one that is silent after
 * a moment; the first that stands is taken. */
#pragma once

#include "bastion/limits.h"
#include "bastion/policy/finder.h"

typedef struct opening_result {
  reason_t reason; /* REASON_NONE: connected */
  bool is_ip;
  char name[GRANT_NAME_MAX];
  endpoint_t address; /* connected to, or tried last */
  int fd;             /* nonblocking, TCP_NODELAY; the receiver's. -1 without */
} opening_result_t;

typedef struct opening opening_t;
typedef void (*opening_cb)(void *ctx, const opening_result_t *result);

/* cb may run before this returns: then *out is NULL. */
void opening_start(const finder_world_t *world, const char *user, const char *host, uint16_t port,
                   opening_cb cb, void *ctx, opening_t **out);
/* cb will not be called. NULL allowed. */
void opening_cancel(opening_t *opening);
/* Pure: the order in which addresses are tried, the families by turns, the first one's first (RFC 8305
 * section 4). out has room for count. */
void opening_order(const ip_t *in, size_t count, ip_t *out);
