/* SPDX-License-Identifier: Apache-2.0 */
/* What each user takes of what all users share once they have signed in: new connections a second, and room
 * on the audit's disk. Kept by name, over the sessions of a user. A user who takes too much gives way; the
 * others do not notice. Pure but for its own memory; times are monotonic ms. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bastion/limits.h"

typedef struct usage usage_t;

/* NULL when out of memory. */
usage_t *usage_new(void);
/* NULL allowed. */
void usage_free(usage_t *usage);

/* Takes one new connection, or one login, of the user. False if there are more than per_second, and burst
 * at once. per_second 0: no limit. True without memory to count. */
bool usage_take(usage_t *usage, const char *user, uint64_t per_second, uint64_t burst, uint64_t now);

/* bytes of records were written for the user. */
void usage_wrote(usage_t *usage, const char *user, uint64_t bytes, uint64_t now);

/* How much is free on the audit's disk, and how much shall be kept free. Returns the user whose sessions
 * are to end now: each time half of what was left is used up, whoever wrote most; NULL if nobody has to.
 * Valid until the next call. reserve 0: never. */
const char *usage_space(usage_t *usage, uint64_t free_bytes, uint64_t reserve, uint64_t now);
/* The reserve is in use. */
bool usage_is_low(const usage_t *usage);
/* Gave way, and may not come back before there is room. */
bool usage_is_out(usage_t *usage, const char *user);
/* The next user that is out, from *at (0 first) on; NULL at the end. */
const char *usage_next_out(const usage_t *usage, size_t *at);
