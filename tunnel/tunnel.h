/* The tunnel itself: binds, connects, learns the targets, checks them, says ready, and carries connections
 * until a signal or the session's end. */
#pragma once

#include "tunnel/exit.h"
#include "tunnel/options.h"
#include "tunnel/say.h"

enum {
  TUNNEL_CONNECTIONS_MAX = 2048, /* at once; more wait in the listeners' backlog */
  TUNNEL_OPEN_MS = 30000,        /* for the bastion to open a connection to the target */
  TUNNEL_KEEPALIVE_MS = 5000,    /* without a byte from the bastion before it is asked for a sign of life */
  TUNNEL_DEAD_MS = 15000,        /* without a byte from the bastion before the path counts as dead */
  TUNNEL_REPEAT_MS = 10000,      /* the same refusal is said once in so long */
};

/* Prints how it ended; returns the exit status. */
exit_code_t tunnel_run(const options_t *options, const say_t *say);
