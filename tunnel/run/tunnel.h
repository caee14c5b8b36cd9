/* SPDX-License-Identifier: Apache-2.0 */
/* The tunnel itself: binds, connects, learns the targets, checks them, says ready, and carries connections
 * until it is told to end. A session that is lost is replaced by another behind the same local ports. */
#pragma once

#include "tunnel/session/exit.h"
#include "tunnel/cli/options.h"
#include "tunnel/session/say.h"

enum {
  TUNNEL_CONNECTIONS_MAX = 2048, /* at once; more wait in the listeners' backlog */
  TUNNEL_HELD_MAX = 256,    /* local connections that wait for the bastion to come back; more are reset */
  TUNNEL_UNCLEAR_MAX = 16,  /* connections that were refused together and are asked for again one by one */
  TUNNEL_ALONE_MAX = 3,     /* times that one of them is asked for again */
  TUNNEL_OPEN_MS = 30000,   /* for the bastion to open a connection to the target */
  TUNNEL_REPEAT_MS = 10000, /* the same refusal is said once in so long */
  TUNNEL_SLEPT_MS = 3000,   /* a wait that took so much longer than asked: the machine or we have slept */
};

/* Prints how it ended; returns the exit status. */
int tunnel_run(const options_t *options, say_t *say);
