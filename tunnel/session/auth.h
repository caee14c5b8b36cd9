/* SPDX-License-Identifier: Apache-2.0 */
/* Signing in with the identity files and the agent. */
#pragma once

#include <libssh/libssh.h>
#include <stdbool.h>

#include "common/base/diag.h"
#include "tunnel/base/exit.h"
#include "tunnel/base/say.h"
#include "tunnel/session/memory.h"
#include "tunnel/session/proof.h"
#include "tunnel/session/ssh_config.h"

/* server: as which one the other end has proved itself; NULL: unknown. *may_pass: when it failed, another try
 * may fare better. EXIT_ENDED, or EXIT_NOT_SIGNED_IN and why. */
exit_code_t auth_sign_in(ssh_session session, const ssh_config_t *config, const proof_t *server,
                         memory_t *memory, say_t *say, bool *may_pass, diag_t *diag);
