/* SPDX-License-Identifier: Apache-2.0 */
/* $GENERATE START-STOP[/STEP] OWNER [TTL] [CLASS] TYPE DATA..., as BIND has it: '$' in a word becomes the
 * number, ${OFFSET[,WIDTH[,BASE]]} the number plus OFFSET, padded with zeros, in base d, o, x or X; '\$'
 * and '$$' are a dollar. */
#pragma once

#include "common/base/diag.h"
#include "resolver/zone/scan.h"

/* Calls each(ctx, entry) for every record made; an error of it is returned and ends the loop. Own errors
 * come with a message that has no place in it. */
int generate_entries(const scan_entry_t *directive, int (*each)(void *ctx, const scan_entry_t *entry),
                     void *ctx, diag_t *diag);
