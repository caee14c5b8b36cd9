/* SPDX-License-Identifier: Apache-2.0 */
/* The line at the bottom of the terminal: state, connections, rates, time left. */
#pragma once

#include <uv.h>

#include "tunnel/run/carry.h"
#include "tunnel/run/life.h"
#include "tunnel/run/link.h"

typedef struct live live_t;

/* Nothing happens where there is no terminal: *live stays NULL. All that it is handed must live as long.
 * Called with each session that stands; the first call makes it. */
void live_start(live_t **live, uv_loop_t *loop, const life_t *life, const link_t *link, const carry_t *carry);
/* Draws it anew. NULL allowed. */
void live_update(live_t *live);
/* Frees itself once the loop has closed its timer. NULL allowed. */
void live_free(live_t *live);
/* "1.2 MB/s" of bytes a second into buf. Returns buf. Pure. */
char *live_rate(uint64_t bytes, char *buf, size_t cap);
/* "2 h 05 min", "4 min 10 s", "9 s". Pure. */
char *live_time(int64_t seconds, char *buf, size_t cap);
