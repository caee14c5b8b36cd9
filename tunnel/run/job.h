/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that ask the bastion something instead of forwarding: ls, whoami, why; and the list of targets
 * that shells complete from. */
#pragma once

#include "tunnel/limits.h"
#include "tunnel/run/tunnel_state.h"

typedef struct job job_t;

extern const job_t job_ls, job_whoami, job_why;
/* The session stands: asks. Ends the tunnel with the answer. */
void job_ask(tunnel_t *t);

/* Keeps the names that may be reached for the shell's completion, if the bastion tells them. */
void job_refresh_targets(tunnel_t *t);
/* Prints what was kept, a name a line. */
void job_print_targets(void);
