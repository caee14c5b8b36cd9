/* SPDX-License-Identifier: Apache-2.0 */
/* The line at the bottom of the terminal: state, connections, rates, time left. */
#pragma once

#include "tunnel/limits.h"
#include "tunnel/run/tunnel_state.h"

/* The tunnel is up. Nothing happens where there is no terminal. */
void live_start(tunnel_t *t);
/* Draws it anew. */
void live_update(tunnel_t *t);
void live_free(tunnel_t *t);
/* "1.2 MB/s" of bytes a second into buf. Returns buf. Pure. */
char *live_rate(uint64_t bytes, char *buf, size_t cap);
/* "2 h 05 min", "4 min 10 s", "9 s". Pure. */
char *live_time(int64_t seconds, char *buf, size_t cap);
