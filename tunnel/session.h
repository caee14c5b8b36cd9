/* A signed-in SSH session with the bastion: connected, its host key trusted, the user let in. */
#pragma once

#include <libssh/libssh.h>

#include "common/diag.h"
#include "tunnel/exit.h"
#include "tunnel/options.h"
#include "tunnel/say.h"

enum {
  SESSION_STEP_MS = 20000,    /* for the key exchange, and for each answer to a login request */
  SESSION_PEM_MAX = 64 << 10, /* bytes of an identity file */
};

/* EXIT_ENDED (0) and a nonblocking session on *fd (the caller's: close it after ssh_free), or how to exit and
 * why. */
exit_code_t session_open(const options_t *options, const say_t *say, ssh_session *out, int *fd, diag_t *diag);

/* auth.c: signs in with the identity files and the agent. */
exit_code_t session_sign_in(ssh_session session, const options_t *options, const say_t *say, diag_t *diag);

/* Waits until the session's socket is ready for libssh, at most until the monotonic time until. 0 or
 * SMPL_ETIMEOUT. */
int session_wait(ssh_session session, uint64_t until);

/* What the bastion said when it ended the session; "" if it said nothing. Borrowed from the session. */
const char *session_last_words(ssh_session session);
