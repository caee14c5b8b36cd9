/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the host's key is believed: by what is on file, by an authority, or by somebody at the terminal. */
#pragma once

#include <libssh/libssh.h>

#include "common/base/diag.h"
#include "tunnel/base/exit.h"
#include "tunnel/base/say.h"
#include "tunnel/session/memory.h"
#include "tunnel/session/ssh_config.h"
#include "tunnel/trust/trust.h"

/* What the files say of the host, and KnownHostsCommand where there is one. key: the one that the host has
 * shown; NULL: none yet. *trust is the caller's to free. */
int host_key_load(ssh_config_t *config, const destination_t *to, ssh_key key, trust_t **trust, diag_t *diag);

/* Judges the key that the host has shown and proved; *trust is loaded anew where KnownHostsCommand may say
 * more once it sees the key. EXIT_ENDED, or EXIT_NOT_TRUSTED and why. */
exit_code_t host_key_check(ssh_key key, ssh_config_t *config, const destination_t *to, memory_t *memory,
                           say_t *say, trust_t **trust, diag_t *diag);
