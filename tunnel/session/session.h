/* SPDX-License-Identifier: Apache-2.0 */
/* A signed-in SSH session with the bastion: connected, its host key trusted, the user let in. */
#pragma once

#include <libssh/libssh.h>
#include <sys/types.h>

#include "tunnel/limits.h"
#include "common/base/diag.h"
#include "tunnel/base/exit.h"
#include "tunnel/session/destination.h"
#include "tunnel/session/memory.h"
#include "tunnel/session/proof.h"
#include "tunnel/base/say.h"
#include "tunnel/session/ssh_config.h"

typedef struct session {
  ssh_session ssh;     /* NULL: none */
  int fd;              /* until libssh has it; -1: none */
  pid_t proxy;         /* of ProxyCommand; 0: none */
  ssh_config_t config; /* with which it was made */
  proof_t *proof;      /* as which server the other end has proved itself; NULL: unknown */
  bool may_pass;       /* when it failed: another try may fare better */
} session_t;

/* EXIT_ENDED (0) and a nonblocking session, or how to exit and why. session_close afterwards in any case.
 * options and say are shared with other threads, memory is not. */
exit_code_t session_open(const destination_t *to, say_t *say, memory_t *memory, session_t *out, diag_t *diag);
void session_close(session_t *session);
