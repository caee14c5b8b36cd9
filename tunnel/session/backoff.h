/* SPDX-License-Identifier: Apache-2.0 */
/* How long to wait before the next try to connect. Pure. */
#pragma once

#include <stdint.h>

#include "tunnel/limits.h"

/* Milliseconds before try number (from 0). random: any number; clients that lost the same bastion do not come
 * back all at once. */
uint64_t backoff_ms(unsigned number, uint32_t random);
