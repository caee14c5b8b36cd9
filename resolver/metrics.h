/* Counters in Prometheus' text format (version 0.0.4), and the small http server that hands them out: on
 * the main thread's loop, GET /metrics and nothing else, everything bounded (METRICS_* in limits.h). */
#pragma once

#include <stddef.h>
#include <uv.h>

#include "common/diag.h"
#include "common/ip.h"
#include "resolver/admin.h"

/* malloc'ed, *len bytes; NULL when out of memory. */
char *metrics_text(const admin_state_t *a, size_t *len);

typedef struct metrics_server metrics_server_t;

/* Gives the text for one answer: malloc'ed, NULL when out of memory. On the loop's thread. */
typedef char *(*metrics_source_t)(void *ctx, size_t *len);

/* SMPL_EBUSY and the way out when the address is taken. */
int metrics_server_open(uv_loop_t *loop, const endpoint_t *at, metrics_source_t source, void *ctx,
                        metrics_server_t **out, diag_t *diag);
/* Drops all connections; freed on the loop afterwards. NULL allowed. */
void metrics_server_close(metrics_server_t *m);
