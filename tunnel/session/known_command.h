/* SPDX-License-Identifier: Apache-2.0 */
/* KnownHostsCommand of ssh_config: a program of the user's that prints lines of known_hosts. */
#pragma once

#include <libssh/libssh.h>

#include "common/base/diag.h"
#include "tunnel/session/settings.h"
#include "tunnel/session/trust.h"

enum {
  KNOWN_COMMAND_WORDS_MAX = 32,
  KNOWN_COMMAND_MOST = 1 << 20, /* bytes that it may print */
  KNOWN_COMMAND_MS = 10000,     /* that it may take */
};

/* Runs it, without a shell as ssh does, and adds what it prints to trust. key: the one that the host has
 * shown; NULL: none yet, it is asked which kinds are known. SMPL_OK too where there is no such command. One
 * that fails is an error. */
int known_command_ask(settings_t *settings, const options_t *options, ssh_key key, trust_t *trust,
                      diag_t *diag);
