/* SPDX-License-Identifier: Apache-2.0 */
/* The sockets of dns listeners: one UDP and one TCP socket a worker on the same address, the kernel shares
 * the clients out (SO_REUSEPORT). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/diag.h"
#include "common/base/ip.h"

/* Fails with SMPL_EBUSY and the way out when another program has the address. Another instance of ours,
 * which could share it unnoticed, counts too: call once an address before sockets_open. It says in the log
 * which address is not there yet. */
int sockets_probe(const endpoint_t *at, bool early, diag_t *diag);

/* Opens one pair, non-blocking; early as bind_listener has it. *udp and *tcp are -1 on error. */
int sockets_open(const endpoint_t *at, bool early, int *udp, int *tcp, diag_t *diag);
