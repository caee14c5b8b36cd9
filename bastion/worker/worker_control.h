/* SPDX-License-Identifier: Apache-2.0 */
/* Session channels. They speak smpl-control and nothing else: whatever else is asked for in one is refused
 * and told. */
#pragma once

#include "bastion/worker/worker_state.h"

/* Each takes the message over. */
void worker_control_open(worker_t *w, ssh_message message);
void worker_channel_request(worker_t *w, ssh_message message);
/* The broker's answer to a line. */
void worker_control_answer(worker_t *w, const msg_t *m);
/* To every channel that speaks smpl-control. If there is none, the first that does within WORKER_UNHEARD_MS
 * hears of it. */
void worker_control_event(worker_t *w, const msg_t *m);
