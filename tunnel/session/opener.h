/* SPDX-License-Identifier: Apache-2.0 */
/* Opens a session in a thread of its own, since looking names up, signing and asking the user take their
 * time; the loop goes on meanwhile. */
#pragma once

#include <uv.h>

#include "tunnel/session/session.h"

typedef struct opened {
  exit_code_t code; /* EXIT_ENDED: the session stands */
  session_t session;
  diag_t diag;
} opened_t;

typedef struct opener opener_t;

/* On the loop's thread, once. What opened holds is then the callee's. */
typedef void (*opener_cb)(void *ctx, opened_t *opened);

/* how must live as long; memory belongs to the thread until the callback. NULL when out of threads or memory.
 * The opener frees itself after the callback; it cannot be called off. A caller that does not want to wait
 * ends the process by _exit. */
opener_t *opener_start(uv_loop_t *loop, const session_how_t *how, memory_t *memory, opener_cb cb, void *ctx);
