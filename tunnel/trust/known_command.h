/* SPDX-License-Identifier: Apache-2.0 */
/* KnownHostsCommand of ssh_config: a program of the user's that prints lines of known_hosts. */
#pragma once

#include <libssh/libssh.h>
#include <stdatomic.h>

#include "common/base/diag.h"
#include "tunnel/base/token.h"
#include "tunnel/limits.h"
#include "tunnel/trust/trust.h"

/* A word of it with its tokens replaced, which stands as long as ctx; NULL and a message that names `what`.
 */
typedef const char *(*known_command_expand_t)(void *ctx, const char *what, const char *word,
                                              const token_t *tokens, diag_t *diag);

typedef struct known_command {
  const char *command; /* as ssh_config has it; NULL: none */
  known_command_expand_t expand;
  void *ctx;
  atomic_int *group; /* as in capture.h */
} known_command_t;

/* Runs it, without a shell as ssh does, and adds what it prints to trust. key: the one that the host has
 * shown; NULL: none yet, it is asked which kinds are known. SMPL_OK too where there is no such command. One
 * that fails is an error. */
int known_command_ask(const known_command_t *c, ssh_key key, trust_t *trust, diag_t *diag);
