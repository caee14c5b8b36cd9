/* SPDX-License-Identifier: Apache-2.0 */
/* How many requests each API key may send: a bucket a key, which holds `burst` and gets `requests` back a
 * second. An account with many keys has many buckets. Other limits bound all its requests together, by
 * account.
 *
 * There are RATES_KEYS_MAX buckets. When a new key finds none free, one of RATES_LOOK gives way: one that is
 * full, which says nothing, or else the fullest. So a key that has used its bucket up keeps it while others
 * come, and a forgotten key starts with a full one.
 *
 * Counted by each process for itself. The clock is handed in. One thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "app/limits.h"
#include "app/http/handler.h"
#include "app/store/ident.h"

typedef struct rates rates_t;

/* requests: a second, 0 for no limit; burst: at least 1. NULL when there is no memory or no randomness. */
rates_t *rates_new(uint64_t requests, uint64_t burst);
/* Other numbers from now on. A key's used requests count on: as many are missing from the new bucket, at most
 * the whole of it. */
void rates_set(rates_t *rates, uint64_t requests, uint64_t burst, uint64_t now_us);
/* Whether there is a limit. Without one rates_take is not to be called. */
bool rates_limit(const rates_t *rates);
/* NULL allowed. */
void rates_free(rates_t *rates);

/* Takes one request off the key's bucket, or none if it is empty. *out is how it stands then. key_id: a
 * UUID as text. now_us: monotonic. */
bool rates_take(rates_t *rates, const char *key_id, uint64_t now_us, rate_t *out);
