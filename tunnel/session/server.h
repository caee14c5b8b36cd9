/* SPDX-License-Identifier: Apache-2.0 */
/* What the server says, and waiting for it, through libssh. */
#pragma once

#include <libssh/libssh.h>
#include <stdbool.h>
#include <stdint.h>

/* Waits until the session's socket is ready for libssh, at most until the monotonic time until. 0,
 * SMPL_ETIMEOUT, SMPL_ECLOSED. */
int server_wait(ssh_session session, uint64_t until);

/* What the server said when it ended the session; "" if it said nothing. Borrowed from the session. */
const char *server_last_words(ssh_session session);

/* Why libssh failed, for people: its words, or ours where it has none or ones of something else. Borrowed
 * from the session. */
const char *server_error(ssh_session session);
/* The same of the text that libssh has. Pure. */
const char *server_error_of(const char *text);

/* Whether the server has closed its end. */
bool server_hung_up(ssh_session session);

/* Has libssh read what the server has sent by now. */
void server_hear(ssh_session session);
