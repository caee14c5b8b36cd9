/* SPDX-License-Identifier: Apache-2.0 */
/* How long to wait before the next try to connect. Pure. */
#pragma once

#include <stdint.h>

enum {
  BACKOFF_FIRST_MS = 250,     /* at most, before the first try */
  BACKOFF_BASE_MS = 500,      /* before the second; doubled each time */
  BACKOFF_MAX_MS = 15000,     /* before any */
  BACKOFF_SETTLED_MS = 10000, /* a session that lasted so long starts the count anew */
  BACKOFF_HURRY_MS = 1000, /* somebody connects: the next try is made at once, but so long after the last */
};

/* Milliseconds before try number (from 0). random: any number; clients that lost the same bastion do not come
 * back all at once. */
uint64_t backoff_ms(unsigned number, uint32_t random);
