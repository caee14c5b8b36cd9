/* SPDX-License-Identifier: Apache-2.0 */
/* What the control socket's questions are answered with. Pure functions of the state they are given. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "common/net/prom_text.h"
#include "resolver/answer/query_log.h"
#include "resolver/view/snapshot.h"
#include "resolver/control/walls.h"

/* Counters of views by name, of snapshots that are gone. */
typedef struct admin_totals admin_totals_t;

admin_totals_t *admin_totals_new(void);
void admin_totals_free(admin_totals_t *t);
/* Adds all counters of a snapshot that no worker uses any more. SMPL_ENOMEM: they are lost. */
int admin_totals_fold(admin_totals_t *t, const snapshot_t *s);

typedef struct admin_state {
  const char *config;
  const snapshot_t *snapshot;
  const admin_totals_t *totals;
  prom_program_t about;
  uint64_t uptime_ms;
  const char *last_error; /* "" when the last reload went well */
  size_t tcp_connections;
  latency_sum_t latency;
  walls_t walls;
  bool copies_kept;             /* of zones, as far as they are asked for */
  const query_log_t *query_log; /* NULL: none */
} admin_state_t;

/* Replies, "ok": true in them. NULL when out of memory. */
json_t *admin_status(const admin_state_t *a);
json_t *admin_zones(const admin_state_t *a);
json_t *admin_stats(const admin_state_t *a);

/* Calls each with the counters of every view, past snapshots included; view NULL: of clients without one. */
void admin_each_view(const admin_state_t *a,
                     void (*each)(void *ctx, const char *view, const stats_sum_t *sum), void *ctx);

/* {"zones": 1, "names": 2, "records": 3, "bytes": 4} */
json_t *admin_sizes(const snapshot_t *s);
