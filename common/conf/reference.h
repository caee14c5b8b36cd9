/* SPDX-License-Identifier: Apache-2.0 */
/* The reference of a configuration, from the tables that decode it. Manual pages are generated from it. */
#pragma once

#include <stdio.h>

#include "common/conf/conf.h"

enum {
  CONF_DOC_MAX = 160, /* bytes of a field's line of documentation */
};

/* Writes one definition per key in scdoc's language, keys of nested mappings as "limits.channels" and of
 * lists as "views[].name":
 *
 *   *limits.channels* (a whole number, from 1 to 256; default 64; a change needs a restart)
 *       What the field's doc says.
 */
void conf_reference_print(const conf_map_t *map, FILE *to);

/* For unit tests: what is wrong with a table. NULL: nothing. Else buf: a key that is there twice, has no doc,
 * or is fixed and cannot be compared. */
const char *conf_reference_flaw(const conf_map_t *map, char *buf, size_t cap);
