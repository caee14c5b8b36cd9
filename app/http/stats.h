/* SPDX-License-Identifier: Apache-2.0 */
/* What is counted of each http listener. Loop's thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "app/http/admit.h"

enum {
  STATS_STATUSES = 600, /* indexed by status */
  STATS_BUCKETS = 13,   /* of the time that a request takes */
  STATS_CLOSED_MAX = 16 /* different reasons for closing without an answer */
};

typedef struct listener_stats {
  uint64_t accepted;
  uint64_t statuses[STATS_STATUSES];
  uint64_t refused[ADMIT_COUNT],
      malformed[GATE_COUNT];           /* by reason; refused[ADMIT_GATE] is the sum of the latter */
  uint64_t buckets[STATS_BUCKETS + 1]; /* of admitted requests; the last is "longer" */
  uint64_t unnamed[2];                 /* of a balancer, without a source: none given; malformed */
  uint64_t us, bytes;                  /* of their answers: sums */
  struct {
    const char *reason; /* a literal */
    uint64_t count;
  } closed[STATS_CLOSED_MAX];
} listener_stats_t;

/* An answer went out; us: from the head's end. */
void stats_count(listener_stats_t *stats, const admit_t *admit, int status, size_t bytes, uint64_t us);
/* A connection was closed without one. reason is a literal. */
void stats_count_closed(listener_stats_t *stats, const char *reason);

/* Upper bounds of the buckets, in microseconds. */
extern const uint64_t stats_bounds[STATS_BUCKETS];
