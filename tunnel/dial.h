/* A TCP connection to the bastion: the system's addresses of the name, tried one after another with a short
 * delay, the first that answers wins (RFC 8305 in short). */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "common/diag.h"

enum {
  DIAL_ADDRESSES_MAX = 16,
  DIAL_NEXT_MS = 250, /* before the next address is tried beside the last */
  DIAL_TIMEOUT_MS = 15000,
};

/* A nonblocking connected socket with TCP_NODELAY. Negative error and a message that says what was tried. */
int dial(const char *host, uint16_t port, int *fd, diag_t *diag);

/* The same through a program that connects its standard input and output to the bastion: a shell's command line.
 * *pid is the caller's to end. */
int dial_proxy(const char *command, pid_t *pid, int *fd, diag_t *diag);
