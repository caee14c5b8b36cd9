/* SPDX-License-Identifier: Apache-2.0 */
/* What a reload cannot change: the fields that a table calls fixed, compared between two decoded structs. */
#pragma once

#include "common/conf/conf.h"

/* at: the field in the newer struct, for conf_fail and conf_place. */
typedef void (*conf_fixed_cb)(void *ctx, const conf_field_t *field, const void *at);

/* Calls cb, which may be NULL, with each fixed field of map that differs between was and is. A fixed mapping
 * or list is one field: all inside it counts. In a mapping that is not fixed the fixed fields inside it are
 * compared; so they are in a list of mappings, item by item, and another number of items is a change of the
 * list. Returns how many differ. Pure. */
size_t conf_fixed_each(const conf_map_t *map, const void *was, const void *is, conf_fixed_cb cb, void *ctx);

/* Fails at the first of them with "file:line:col: workers: a change needs a restart", SMPL_EINVAL. conf owns
 * `is`. */
int conf_fixed_check(const conf_t *conf, const conf_map_t *map, const void *was, const void *is,
                     diag_t *diag);
