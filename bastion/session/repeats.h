/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps one origin of records from filling the audit's disk. Some records are written one by one. Faster ones
 * are counted by kind and told by one record a kind. Nothing goes uncounted. Pure but for the memory it is
 * given; times are monotonic ms. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bastion/limits.h"
#include "bastion/contract/msg.h"
#include "bastion/session/source.h"
#include "common/ssh/reason.h"

/* A bucket of tokens that refills with time; starts full. */
typedef struct rate {
  uint64_t milli; /* thousandths of a token that have been taken */
  uint64_t at;    /* monotonic ms of the last take; 0: none yet */
} rate_t;

/* Takes a token; false when the bucket is empty. */
bool rate_take(rate_t *rate, uint64_t burst, uint64_t per_second, uint64_t now);
/* Takes so many at once, or none. */
bool rate_take_many(rate_t *rate, uint64_t tokens, uint64_t burst, uint64_t per_second, uint64_t now);

/* what is "", port 0 and reason REASON_NONE in the one that stands for several. */
typedef struct repeat {
  const char *event; /* static text */
  char what[MSG_HOST_MAX];
  uint16_t port;
  reason_t reason;
  uint64_t count;
} repeat_t;

typedef struct repeats {
  rate_t rate;
  repeat_t kinds[REPEATS_KINDS + 1];
  size_t count; /* of kinds in use */
  uint64_t since;
} repeats_t;

/* True: this one may be written singly. */
bool repeats_allow(repeats_t *r, uint64_t now);
/* Counts one that is not. event must be static; what may be cut short. */
void repeats_count(repeats_t *r, const char *event, const char *what, uint16_t port, reason_t reason,
                   uint64_t now);
bool repeats_due(const repeats_t *r, uint64_t now);

typedef void (*repeats_cb)(void *ctx, const repeat_t *kind);
/* Hands out what was counted, and forgets it. */
void repeats_flush(repeats_t *r, repeats_cb cb, void *ctx);

/* A budget for each source. */
typedef struct repeats_source {
  bool used;
  bool network; /* of what exceeds REPEATS_OF_NETWORK sources of the one that this source is in */
  ip_t source;
  repeats_t repeats;
} repeats_source_t;

typedef struct repeats_table {
  repeats_source_t sources[REPEATS_SOURCES];
  repeats_source_t others; /* used is false */
} repeats_table_t;

/* The source's budget, or that of its network, or that of all others while the table is full of sources that
 * were here lately. Valid until the next call. */
repeats_t *repeats_of(repeats_table_t *t, const ip_t *address, uint64_t now);
