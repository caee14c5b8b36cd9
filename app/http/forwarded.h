/* SPDX-License-Identifier: Apache-2.0 */
/* Whose request a balancer passes on: the last element of the last X-Forwarded-For. Everything before it
 * is what the client says itself. Pure. */
#pragma once

#include "app/gate/gate.h"
#include "common/base/ip.h"

/* head was admitted by the gate, bytes are its own. The element must be a plain IPv4 or IPv6 address, as
 * HAProxy writes it: no port, no brackets, no name. SMPL_ENOENT: there is no such header. SMPL_EINVAL:
 * its last element is something else. */
int forwarded_source(const uint8_t *bytes, const gate_head_t *head, ip_t *out);
