/* SPDX-License-Identifier: Apache-2.0 */
#include "app/http/stats.h"

#include <string.h>

const uint64_t stats_bounds[STATS_BUCKETS] = {100,   250,   500,    1000,   2500,    5000,   10000,
                                              25000, 50000, 100000, 500000, 1000000, 5000000};

void stats_count(listener_stats_t *stats, const admit_t *admit, int status, size_t bytes, uint64_t us)
{
  if (status > 0 && status < STATS_STATUSES)
    stats->statuses[status]++;
  stats->bytes += bytes;
  if (admit->verdict != ADMIT_OK) {
    stats->refused[admit->verdict]++;
    if (admit->verdict == ADMIT_GATE)
      stats->malformed[admit->gate]++;
    return;
  }
  size_t i = 0;
  while (i < STATS_BUCKETS && us > stats_bounds[i])
    i++;
  stats->buckets[i]++;
  stats->us += us;
}

void stats_count_closed(listener_stats_t *stats, const char *reason)
{
  for (size_t i = 0; i < STATS_CLOSED_MAX; i++) {
    if (stats->closed[i].reason == NULL)
      stats->closed[i].reason = reason;
    if (strcmp(stats->closed[i].reason, reason) == 0) {
      stats->closed[i].count++;
      return;
    }
  }
}
