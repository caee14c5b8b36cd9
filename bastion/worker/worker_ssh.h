/* SPDX-License-Identifier: Apache-2.0 */
/* What a session speaks: keys, algorithms, and the libssh objects that are made before the walls stand. */
#pragma once

#include <libssh/server.h>

#include "bastion/worker/worker_sign.h"
#include "common/base/diag.h"

typedef struct worker_ssh worker_ssh_t;

/* Template: libraries warmed, no keys yet. */
int worker_ssh_new(worker_ssh_t **out, diag_t *diag);
/* A host key's public half in a private key's clothes, as text; index is the broker's number of it. One a
 * kind. */
int worker_ssh_add_key(worker_ssh_t *ssh, const char *text, int index, diag_t *diag);
const worker_sign_keys_t *worker_ssh_keys(const worker_ssh_t *ssh);

/* Worker, before the seal: a session on the client's socket, which it takes over. NULL on failure. */
ssh_session worker_ssh_session(worker_ssh_t *ssh, int fd, msg_algorithms_t algorithms);
