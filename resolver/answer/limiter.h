/* SPDX-License-Identifier: Apache-2.0 */
/* Response rate limiting for public views: answers over UDP to one network are bounded, so that forged
 * sources gain little. One of these a worker: no lock, no system call, no allocation after limiter_new.
 * Networks are counted in a table of fixed size, in which the one unheard of for longest gives way. */
#pragma once

#include <stdint.h>

#include "common/base/ip.h"

typedef struct limiter limiter_t;

/* What an answer says: each kind has its own count, so that a flood of denials leaves room for the rest. */
typedef enum limiter_kind { LIMITER_DATA, LIMITER_NXDOMAIN, LIMITER_ERROR } limiter_kind_t;

typedef enum limiter_verdict {
  LIMITER_PASS,
  LIMITER_SLIP, /* a short answer that lets a real client ask otherwise */
  LIMITER_DROP,
} limiter_verdict_t;

/* seed: any number that clients cannot know. NULL when out of memory. */
limiter_t *limiter_new(uint64_t seed);
void limiter_free(limiter_t *limiter);

/* Counts one answer to the peer's network (IPv4 /24, IPv6 /56). The view gives rate answers of each kind a
 * second (1 to RATE_MAX), and as many at once. Above that every RATE_SLIP-th slips. now_ms is monotonic. */
limiter_verdict_t limiter_take(limiter_t *limiter, const ip_t *peer, uint32_t view, limiter_kind_t kind,
                               uint32_t rate, uint64_t now_ms);
