/* The local ends of a forward: on localhost a socket for each family, on a given address that one. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/diag.h"
#include "tunnel/forward.h"

enum { LISTEN_SOCKETS_MAX = 2, LISTEN_BACKLOG = 256 };

typedef struct listen_sockets {
  int fds[LISTEN_SOCKETS_MAX];
  size_t count;
  uint16_t port; /* the one bound, also when any was asked for */
} listen_sockets_t;

/* SMPL_EBUSY, SMPL_EDENIED, SMPL_ESYS with a message that says who holds the port, if that can be seen. */
int listen_open(const forward_t *forward, listen_sockets_t *out, diag_t *diag);
void listen_close(listen_sockets_t *sockets);
