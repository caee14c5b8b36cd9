/* SPDX-License-Identifier: Apache-2.0 */
/* The users' shares of common things (common/share.h): sessions of all connections, forwarded connections of
 * all descriptors. */
#pragma once

#include "bastion/session/session.h"

/* Whether the user may have this session more, which has not signed in yet: REASON_NONE. */
reason_t shares_judge(const session_t *s);
/* Whether the user may have a forwarded connection more. */
bool shares_may_open(const session_t *s);
/* Forwarded connections of all users that the descriptors suffice for. */
size_t shares_channels_max(const sessions_t *all);
/* Open files of the broker without which the limits of this configuration cannot hold. */
uint64_t shares_descriptors_needed(const config_t *c);
