/* SPDX-License-Identifier: Apache-2.0 */
/* Signing in with the identity files and the agent. */
#pragma once

#include "common/base/diag.h"
#include "tunnel/base/exit.h"
#include "tunnel/base/say.h"
#include "tunnel/session/memory.h"
#include "tunnel/session/session.h"

/* exchanged: as which server the other end has proved itself. session->may_pass: when it failed, another try
 * may fare better. EXIT_ENDED, or EXIT_NOT_SIGNED_IN and why. */
exit_code_t auth_sign_in(session_t *session, const speech_exchanged_t *exchanged, memory_t *memory,
                         say_t *say, diag_t *diag);
