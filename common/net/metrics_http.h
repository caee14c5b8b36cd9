/* SPDX-License-Identifier: Apache-2.0 */
/* A small http server that hands out metrics in Prometheus' text format (version 0.0.4): on its loop's
 * thread, GET /metrics and nothing else, everything bounded. Host must be the address that the connection
 * came to, with its port or without, or a configured name. On a loopback address it may be localhost. Any
 * other gets 421, so a page whose name was made to point here reads nothing. */
#pragma once

#include <stddef.h>
#include <uv.h>

#include "common/base/diag.h"
#include "common/net/metrics_conf.h"

enum {
  METRICS_CLIENTS_MAX = 16,   /* connections; for one more the oldest of the source with most gives way */
  METRICS_REQUEST_MAX = 8192, /* bytes of a request's head, with a NUL */
  METRICS_TIMEOUT_MS = 5000,  /* for the request to come and the answer to be taken */
};

typedef struct metrics_server metrics_server_t;

/* Gives the text for one answer: malloc'ed, *len bytes; NULL when out of memory. On the loop's thread. */
typedef char *(*metrics_source_t)(void *ctx, size_t *len);

/* conf is copied. SMPL_EBUSY and the way out when the address is taken. */
int metrics_server_open(uv_loop_t *loop, const metrics_conf_t *conf, metrics_source_t source, void *ctx,
                        metrics_server_t **out, diag_t *diag);
/* Drops all connections; freed on the loop afterwards. NULL allowed. */
void metrics_server_close(metrics_server_t *m);
