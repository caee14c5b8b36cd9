/* SPDX-License-Identifier: Apache-2.0 */
/* Channels that the client opens: direct-tcpip is the broker's to answer, a session channel is
 * worker_control.h's, and everything beside these two is refused and told. */
#pragma once

#include "bastion/worker/worker_state.h"

/* Takes the message over. */
void worker_open_channel(worker_t *w, ssh_message message);
/* Takes fd over (-1: none came). */
void worker_open_answer(worker_t *w, const msg_t *m, int fd);
/* MSG_TRAFFIC of each connection whose bytes grew. */
void worker_tell_traffic(worker_t *w);
