/* SPDX-License-Identifier: Apache-2.0 */
/* Shares of what there is only so much of, where everybody is known: the more somebody holds, the more must
 * be left for him to take one more. An owner that holds nothing takes the last one. So the greedy leave room
 * for those who come late, nobody has a fixed part, and who is alone gets much. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* held: by who wants one more; taken: by all, his included; part: he may hold as much as one of so many parts
 * of what is left (1: as much as is left, and who is alone gets half; 8: a ninth). At least 1. */
bool share_allows(size_t held, size_t taken, size_t limit, size_t part);
