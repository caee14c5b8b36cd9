/* SPDX-License-Identifier: Apache-2.0 */
/* One SSH session in a process of its own, sealed. It parses what the peer sends and asks the broker for
 * everything else: signatures, who may sign in, connected sockets. It never opens, connects or resolves. */
#pragma once

#include <stdint.h>
#include <stdnoreturn.h>

#include "bastion/worker/worker_seal.h"
#include "bastion/worker/worker_ssh.h"

/* Serves the client on WORKER_CLIENT_FD with the broker on WORKER_PAIR_FD; walls are those that the template
 * put up. */
noreturn void worker_run(worker_ssh_t *ssh, uint64_t session, uint32_t walls);
