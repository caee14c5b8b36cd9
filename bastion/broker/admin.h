/* SPDX-License-Identifier: Apache-2.0 */
/* What the control socket offers to the people who run the bastion. Which commands there are, and who may
 * give them, the table says that broker_run is handed (cli/commands.c). */
#pragma once

#include "bastion/broker/broker_state.h"
#include "common/conf/command.h"

/* Leads to one reply. */
typedef void (*admin_answer_t)(broker_t *b, control_request_t *request, const control_peer_t *peer,
                               const json_t *body);

typedef struct admin_command {
  command_row_t row;     /* its role is a role_t */
  admin_answer_t answer; /* NULL: nothing that the socket offers */
} admin_command_t;

/* A control_handler_t with the broker. */
void admin_handle(void *ctx, control_request_t *request, const control_peer_t *peer, json_t *body);
/* The command that a request names (NULL: none), if the role may give it; an unknown role or command, and a
 * row without a role, mean no. As command_take. Pure. */
int admin_take(const command_set_t *commands, role_t has, const char *cmd, const admin_command_t **out,
               diag_t *diag);

void admin_sessions(broker_t *b, control_request_t *request, const control_peer_t *peer, const json_t *body);
void admin_status(broker_t *b, control_request_t *request, const control_peer_t *peer, const json_t *body);
/* {"user": name, "target": text} */
void admin_explain(broker_t *b, control_request_t *request, const control_peer_t *peer, const json_t *body);
/* {"id": its first characters} or {"user": name} or {"target": text}; "reason": text */
void admin_terminate(broker_t *b, control_request_t *request, const control_peer_t *peer, const json_t *body);
void admin_reload(broker_t *b, control_request_t *request, const control_peer_t *peer, const json_t *body);

/* admin_block.c. {"who": user or fingerprint, "reason": text} */
void admin_block(broker_t *b, control_request_t *request, const control_peer_t *peer, const json_t *body);
void admin_unblock(broker_t *b, control_request_t *request, const control_peer_t *peer, const json_t *body);
void admin_blocks(broker_t *b, control_request_t *request, const control_peer_t *peer, const json_t *body);
