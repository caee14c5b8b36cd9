/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of inheritance: what a config shares with its ancestors and with the configs below it. The declared
 * types (config_types) and the items that environments override (config_overrides) are kept once more by
 * themselves, so that a change is checked against all configs in its line without reading their bodies.
 * Writer thread. */
#pragma once

#include <stdbool.h>

#include "app/store/edit.h"
#include "app/store/sqlite/storage.h"

typedef struct config_line {
  json_t *own;       /* types map: what the config has declared so far */
  json_t *inherited; /* types map: what its ancestors, as the change names them, declare */
  bool moved;        /* the change gives it another parent */
} config_line_t;

/* Checks the parent that the change names (it exists, leads nowhere back, the line is not too long) and reads
 * the line. stored_parent: NULL for none. To be cleared, also after an error. */
int config_line_read(storage_db_t *db, edit_t *edit, const char *id, const char *stored_parent,
                     config_line_t *line);
/* Writes the config's types and overridden items, after its row, and checks them against the account's limit
 * and the configs below. items: typed, from config_type_items. */
int config_line_write(storage_db_t *db, edit_t *edit, const char *id, const config_line_t *line,
                      const json_t *items);
/* Of a config that goes. */
int config_line_remove(storage_db_t *db, const char *account, const char *id);
void config_line_clear(config_line_t *line);
