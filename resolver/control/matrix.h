/* SPDX-License-Identifier: Apache-2.0 */
/* Every name of every zone by every view: the answers to each view's clients, by the code that answers them.
 */
#pragma once

#include <jansson.h>

#include "common/base/diag.h"
#include "resolver/view/snapshot.h"

/* {"ok": true, "views": ["vpc", "world"], "names": {"app.example.": {"vpc": ["A 10.0.0.1"], "world":
 * "refused"}}}. A cell is a list of "TYPE data" or one of "refused", "no such name", "no data". Names in
 * canonical order; SOA records are left out. NULL with a message: more than MATRIX_QUESTIONS_MAX, out of
 * memory. */
json_t *matrix(const snapshot_t *s, diag_t *diag);

/* Lines that say where got is not as want, both as matrix returns them; empty when they agree. NULL when
 * want is not such a table, or when out of memory. */
json_t *matrix_differences(const json_t *want, const json_t *got);

/* "A 10.0.0.1, A 10.0.0.2" or "refused". */
void matrix_cell_text(const json_t *cell, char *buf, size_t cap);
