/* SPDX-License-Identifier: Apache-2.0 */
/* The http listeners of one service on a libuv loop: accept, read, decide, run the handler, answer.
 * Everything on the loop's thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "app/http/front_conf.h"
#include "common/base/diag.h"
#include "common/base/ip.h"

typedef struct front front_t;

/* Binds and listens. On error diag names the address, and *out, unless NULL, is to be drained and freed like
 * any other. */
int front_open(uv_loop_t *loop, const front_conf_t *conf, front_t **out, diag_t *diag);

/* Decides by it from the next head on. Cuts the connections of peers that are no clients or no balancers
 * any more; those of new balancers end with the answer that is under way. Returns how many were cut. */
size_t front_set(front_t *front, const front_live_t *live);

/* Goes on serving for lag_ms, each answer with "Connection: close"; then stops accepting, closes idle
 * connections, lets requests under way finish, and after drain_ms cuts what is left. done is called once,
 * when no connection is open and every request was replied to (abandoned = 0), or when handlers still owe
 * replies drain_ms later (abandoned = how many). The front is freed by front_free after that. */
void front_drain(front_t *front, uint64_t lag_ms, void (*done)(void *ctx, size_t abandoned), void *ctx);
/* After done with abandoned == 0, or once the loop has run out of handles. NULL allowed. */
void front_free(front_t *front);

/* Where a listener really listens (its port was 0 in a test). */
endpoint_t front_address(const front_t *front, size_t index);
size_t front_connections(const front_t *front);
/* Nobody waits for one of the loop's next rounds. */
bool front_is_idle(const front_t *front);
