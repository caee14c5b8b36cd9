/* SPDX-License-Identifier: Apache-2.0 */
/* Signing in: public keys alone. Every request that carries one is the broker's to answer; they are answered
 * in the order they came, one at a time. */
#pragma once

#include "bastion/worker/worker_state.h"

/* Takes the message over. */
void worker_auth_request(worker_t *w, ssh_message message);
void worker_auth_answer(worker_t *w, const msg_t *m);
