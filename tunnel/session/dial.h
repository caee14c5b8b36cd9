/* SPDX-License-Identifier: Apache-2.0 */
/* A TCP connection to the bastion: the system's addresses of the name, tried one after another with a short
 * delay (RFC 8305 in short). With several of them the first that says something wins: the kernel of a bastion
 * that hangs still takes connections, and an SSH server speaks first. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "tunnel/limits.h"
#include "common/base/diag.h"

/* How ssh_config wants it. All zero: as the system chooses. */
typedef struct dial_from {
  int family;                 /* AF_INET, AF_INET6; 0: both */
  const char *bind_address;   /* a name or address of this machine */
  const char *bind_interface; /* a network interface */
  unsigned timeout_s;         /* in place of DIAL_TIMEOUT_MS */
} dial_from_t;

/* A nonblocking connected socket with TCP_NODELAY. Negative error and a message that says what was tried. */
int dial(const char *host, uint16_t port, const dial_from_t *from, int *fd, diag_t *diag);

/* The same through a program that connects its standard input and output to the bastion: a shell's command
 * line. *pid is the caller's to end. */
int dial_proxy(const char *command, pid_t *pid, int *fd, diag_t *diag);
