/* SPDX-License-Identifier: Apache-2.0 */
/* From where somebody signed in lately: such a source (source.h) keeps one place among those that have not
 * signed in, however crowded it gets. Times are monotonic ms. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bastion/limits.h"
#include "common/base/ip.h"

typedef struct known known_t;

/* NULL when out of memory. */
known_t *known_new(void);
void known_free(known_t *k);
/* The user was there with a proven key. */
void known_mark(known_t *k, const ip_t *address, const char *user, uint64_t now);
bool known_is(const known_t *k, const ip_t *address, uint64_t now);
