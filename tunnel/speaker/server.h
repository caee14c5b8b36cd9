/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for the server, and hearing it, through libssh. */
#pragma once

#include <libssh/libssh.h>
#include <stdbool.h>
#include <stdint.h>

/* Waits until the session's socket is ready for libssh, at most until the monotonic time until. 0,
 * SMPL_ETIMEOUT, SMPL_ECLOSED. */
int server_wait(ssh_session session, uint64_t until);

/* Whether the server has closed its end. */
bool server_hung_up(ssh_session session);

/* Has libssh read what the server has sent by now. */
void server_hear(ssh_session session);
