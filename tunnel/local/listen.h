/* SPDX-License-Identifier: Apache-2.0 */
/* The local ends of a forward: on localhost a socket for each family, on a given address that one, or a unix
 * socket. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tunnel/limits.h"
#include "common/base/diag.h"
#include "tunnel/local/forward.h"

typedef struct listen_sockets {
  int fds[LISTEN_SOCKETS_MAX];
  size_t count;
  uint16_t port; /* the one bound, also when any was asked for; 0: a unix socket */
  char path[FORWARD_PATH_MAX];
  dev_t device; /* of path as we made it: what stands there later may be another's */
  ino_t inode;
} listen_sockets_t;

/* SMPL_EBUSY, SMPL_EDENIED, SMPL_ESYS with a message that says who holds the port, if that can be seen. A
 * unix socket is for its owner alone (any_user: for all); one that nobody listens on any more is replaced. */
int listen_open(const forward_t *forward, bool any_user, listen_sockets_t *out, diag_t *diag);
/* Closes, and removes the unix socket that was made. */
void listen_close(listen_sockets_t *sockets);
