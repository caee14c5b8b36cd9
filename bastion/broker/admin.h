/* SPDX-License-Identifier: Apache-2.0 */
/* Commands of the control socket that have files of their own. Each leads to one reply. */
#pragma once

#include "bastion/broker/broker_state.h"

/* admin_block.c. {"who": user or fingerprint, "reason": text} */
void admin_block(broker_t *b, control_request_t *request, const control_peer_t *peer, const json_t *body);
void admin_unblock(broker_t *b, control_request_t *request, const control_peer_t *peer, const json_t *body);
void admin_blocks(broker_t *b, control_request_t *request, const control_peer_t *peer, const json_t *body);
