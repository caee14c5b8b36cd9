/* SPDX-License-Identifier: Apache-2.0 */
/* How much of the loop's time each account's reads have used lately. If an account's reads used more than
 * their share, the next ones run on the storage's reading thread. So the requests of others do not wait for
 * them. Loop's thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "app/limits.h"

typedef struct shares shares_t;

/* NULL when out of memory. */
shares_t *shares_new(void);
/* NULL allowed. */
void shares_free(shares_t *shares);

/* True if the account has used up its share. */
bool shares_used_up(shares_t *shares, const char *account);
/* One of its reads took that long. */
void shares_count(shares_t *shares, const char *account, uint64_t us);
