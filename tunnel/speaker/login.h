/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of a login, one for each question of the supervisor's. */
#pragma once

#include <libssh/libssh.h>

#include "tunnel/contract/speech.h"

typedef struct login {
  ssh_session session;
  ssh_key certificate; /* of the next offer; NULL: none */
} login_t;

/* Does what m asks, of fd in SPEECH_AGENT, which is libssh's then, and fills in the answer over it. False: m
 * has none. A message that belongs elsewhere ends the process. */
bool login_step(login_t *login, speech_t *m, int fd);
