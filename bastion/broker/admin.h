/* SPDX-License-Identifier: Apache-2.0 */
/* Commands of the control socket that have files of their own. Each leads to one reply. */
#pragma once

#include "bastion/broker/broker_state.h"

/* What the control socket offers to the people who run the bastion: a control_cb with the broker. */
void admin_handle(void *ctx, control_request_t *request, const control_peer_t *peer, json_t *body);

/* admin_block.c. {"who": user or fingerprint, "reason": text} */
void admin_block(broker_t *b, control_request_t *request, const control_peer_t *peer, const json_t *body);
void admin_unblock(broker_t *b, control_request_t *request, const control_peer_t *peer, const json_t *body);
void admin_blocks(broker_t *b, control_request_t *request, const control_peer_t *peer, const json_t *body);
