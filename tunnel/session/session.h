/* SPDX-License-Identifier: Apache-2.0 */
/* A signed-in SSH session with the bastion: connected, its host key trusted, the user let in. A speaker has
 * it; what decides of these three is here. */
#pragma once

#include <sys/types.h>

#include "tunnel/limits.h"
#include "common/base/diag.h"
#include "tunnel/base/exit.h"
#include "tunnel/session/destination.h"
#include "tunnel/session/memory.h"
#include "tunnel/base/say.h"
#include "tunnel/session/ssh_config.h"
#include "tunnel/session/talk.h"

typedef struct session {
  talk_t *talk;        /* with the speaker that has it; NULL: none */
  int fd;              /* the socket, while it is being opened: its end ends a wait; -1: none */
  pid_t proxy;         /* of ProxyCommand; 0: none */
  ssh_config_t config; /* with which it was made */
  bool may_pass;       /* when it failed: another try may fare better */
} session_t;

/* How one is opened. */
typedef struct session_how {
  const destination_t *to;
  say_t *say;
  template_t *template; /* of speakers */
  bool read_ahead;      /* the session's socket is read in large pieces */
} session_how_t;

/* EXIT_ENDED (0) and a session that serves, or how to exit and why. session_close afterwards in any case. how
 * is shared with other threads, memory is not. */
exit_code_t session_open(const session_how_t *how, memory_t *memory, session_t *out, diag_t *diag);
/* Says goodbye. flush_ms: for what is still to be sent, and then until the speaker has ended; 0: neither. */
void session_close(session_t *session, unsigned flush_ms);
