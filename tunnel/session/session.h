/* SPDX-License-Identifier: Apache-2.0 */
/* A signed-in SSH session with the bastion: connected, its host key trusted, the user let in. */
#pragma once

#include <libssh/libssh.h>
#include <sys/types.h>

#include "common/base/diag.h"
#include "tunnel/session/exit.h"
#include "tunnel/cli/options.h"
#include "tunnel/session/prompt.h"
#include "tunnel/session/proof.h"
#include "tunnel/session/say.h"
#include "tunnel/session/settings.h"

enum {
  SESSION_STEP_MS = 20000, /* for the key exchange, and for each answer to a login request */
};

/* What outlives a session, so that the next one asks nobody anything: the key that was accepted, and the host
 * key that was confirmed but could not be written down. One thread at a time. */
typedef struct session_memory {
  prompt_t prompt;
  ssh_key key;
  char key_path[OPTIONS_PATH_MAX];
  ssh_key host_key;
  bool told;  /* what of ssh_config is not heeded */
  bool again; /* a session has stood before: nobody is asked anything, the user may not be there */
} session_memory_t;

void session_memory_init(session_memory_t *memory);
void session_memory_clear(session_memory_t *memory);

typedef struct session {
  ssh_session ssh;     /* NULL: none */
  int fd;              /* until libssh has it; -1: none */
  pid_t proxy;         /* of ProxyCommand; 0: none */
  settings_t settings; /* with which it was made */
  proof_t *proof;      /* as which server the other end has proved itself; NULL: unknown */
  bool may_pass;       /* when it failed: another try may fare better */
} session_t;

/* EXIT_ENDED (0) and a nonblocking session, or how to exit and why. session_close afterwards in any case.
 * options and say are shared with other threads, memory is not. */
exit_code_t session_open(const options_t *options, say_t *say, session_memory_t *memory, session_t *out,
                         diag_t *diag);
void session_close(session_t *session);

/* auth.c: signs in with the identity files and the agent. */
exit_code_t session_sign_in(session_t *session, session_memory_t *memory, say_t *say, diag_t *diag);

/* Waits until the session's socket is ready for libssh, at most until the monotonic time until. 0,
 * SMPL_ETIMEOUT, SMPL_ECLOSED. */
int session_wait(ssh_session session, uint64_t until);

/* What the bastion said when it ended the session; "" if it said nothing. Borrowed from the session. */
const char *session_last_words(ssh_session session);

/* Whether the server has closed its end. */
bool session_hung_up(ssh_session session);

/* Has libssh read what the server has sent by now. */
void session_hear(ssh_session session);
