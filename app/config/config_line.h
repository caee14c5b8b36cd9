/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of inheritance: what a config shares with its ancestors and with the configs below it. The declared
 * types (config_types) and the items that environments override (config_overrides) are kept once more by
 * themselves, so that a change is checked against all configs in its line without reading their bodies.
 * Writer thread. */
#pragma once

#include <stdbool.h>

#include "app/services/change.h"
#include "app/services/storage.h"

typedef struct config_line {
  json_t *own;       /* types map: what the config has declared so far */
  json_t *inherited; /* types map: what its ancestors, as the change names them, declare */
  bool moved;        /* the change gives it another parent */
} config_line_t;

/* Tables of this module, as migrations: the first version's, and those added later. */
#define CONFIG_TYPES_SQL                                                                                     \
  "CREATE TABLE config_types (account TEXT NOT NULL, config TEXT NOT NULL, key TEXT NOT NULL, type TEXT NOT" \
  " NULL, PRIMARY KEY (account, config, key)) WITHOUT ROWID;"
/* Of files written before this table was kept: an override whose item has lost its declaration has no type to
 * agree on, and is left out, so that it does not stand in the way of later changes. */
#define CONFIG_OVERRIDES_SQL                                                                                 \
  "CREATE TABLE config_overrides (account TEXT NOT NULL, config TEXT NOT NULL, key TEXT NOT NULL, type "     \
  "TEXT NOT"                                                                                                 \
  " NULL, PRIMARY KEY (account, config, key)) WITHOUT ROWID;"                                                \
  "INSERT OR IGNORE INTO config_overrides WITH RECURSIVE line (account, config, id, depth) AS ("             \
  "SELECT account, id, id, 1 FROM configs WHERE environments <> '{}' UNION ALL"                              \
  " SELECT line.account, line.config, c.parent, depth + 1 FROM line JOIN configs c ON c.account = "          \
  "line.account"                                                                                             \
  " AND c.id = line.id WHERE c.parent IS NOT NULL AND depth < 64)"                                           \
  " SELECT line.account, line.config, o.key, t.type FROM configs f CROSS JOIN json_each(f.environments) e"   \
  " CROSS JOIN json_each(e.value) o CROSS JOIN line ON line.account = f.account AND line.config = f.id"      \
  " CROSS JOIN config_types t ON t.account = line.account AND t.config = line.id AND t.key = o.key"          \
  " WHERE f.environments <> '{}';"

/* Checks the parent that the change names (it exists, leads nowhere back, the line is not too long) and reads
 * the line. stored_parent: NULL for none. To be cleared, also after an error. */
int config_line_read(storage_db_t *db, change_t *change, const char *id, const char *stored_parent,
                     config_line_t *line);
/* Writes the config's types and overridden items, after its row, and checks them against the account's limit
 * and the configs below. items: typed, from config_type_items. */
int config_line_write(storage_db_t *db, change_t *change, const char *id, const config_line_t *line,
                      const json_t *items);
/* Of a config that goes. */
int config_line_remove(storage_db_t *db, const char *account, const char *id);
void config_line_clear(config_line_t *line);
