-- SPDX-License-Identifier: Apache-2.0
-- Configs. Migrations are appended, never edited.

-- @fragment bytes
coalesce(length(CAST(id AS BLOB)), 0)
  + coalesce(length(CAST(name AS BLOB)), 0)
  + coalesce(length(CAST(description AS BLOB)), 0)
  + coalesce(length(CAST(items AS BLOB)), 0)
  + coalesce(length(CAST(environments AS BLOB)), 0)

-- @fragment new_bytes
coalesce(length(CAST(NEW.id AS BLOB)), 0)
  + coalesce(length(CAST(NEW.name AS BLOB)), 0)
  + coalesce(length(CAST(NEW.description AS BLOB)), 0)
  + coalesce(length(CAST(NEW.items AS BLOB)), 0)
  + coalesce(length(CAST(NEW.environments AS BLOB)), 0)

-- @fragment old_bytes
coalesce(length(CAST(OLD.id AS BLOB)), 0)
  + coalesce(length(CAST(OLD.name AS BLOB)), 0)
  + coalesce(length(CAST(OLD.description AS BLOB)), 0)
  + coalesce(length(CAST(OLD.items AS BLOB)), 0)
  + coalesce(length(CAST(OLD.environments AS BLOB)), 0)

-- @migration
CREATE TABLE tenants (id TEXT PRIMARY KEY, name TEXT NOT NULL, key TEXT, created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE configs (account TEXT NOT NULL REFERENCES tenants (id), id TEXT NOT NULL, name TEXT NOT NULL,
  description TEXT, parent TEXT, items TEXT NOT NULL, environments TEXT NOT NULL, managed INTEGER NOT NULL,
  created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, PRIMARY KEY (account, id));
CREATE INDEX configs_by_parent ON configs (account, parent);
-- Declared types once more by themselves (config_line.sql).
CREATE TABLE config_types (account TEXT NOT NULL, config TEXT NOT NULL, key TEXT NOT NULL, type TEXT NOT NULL,
  PRIMARY KEY (account, config, key)) WITHOUT ROWID;

-- @migration
-- The items that environments override, the same. Of files written before this table was kept: an override
-- whose item has lost its declaration has no type to agree on, and is left out, so that it does not stand in
-- the way of later changes.
CREATE TABLE config_overrides (account TEXT NOT NULL, config TEXT NOT NULL, key TEXT NOT NULL,
  type TEXT NOT NULL, PRIMARY KEY (account, config, key)) WITHOUT ROWID;
INSERT OR IGNORE INTO config_overrides WITH RECURSIVE line (account, config, id, depth) AS (
  SELECT account, id, id, 1 FROM configs WHERE environments <> '{}' UNION ALL
  SELECT line.account, line.config, c.parent, depth + 1 FROM line JOIN configs c ON c.account = line.account
    AND c.id = line.id WHERE c.parent IS NOT NULL AND depth < 64)
  SELECT line.account, line.config, o.key, t.type FROM configs f CROSS JOIN json_each(f.environments) e
    CROSS JOIN json_each(e.value) o CROSS JOIN line ON line.account = f.account AND line.config = f.id
    CROSS JOIN config_types t ON t.account = line.account AND t.config = line.id AND t.key = o.key
    WHERE f.environments <> '{}';
-- All that a list sorts and filters by: it is walked instead of the rows with their big texts.
CREATE INDEX configs_heads ON configs (account, id, name, parent, managed, created_at, updated_at);

-- @migration
-- How many bytes of text each account has stored, kept by triggers.
ALTER TABLE tenants ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
UPDATE tenants SET bytes = (SELECT coalesce(sum({bytes}), 0) FROM configs WHERE account = tenants.id);
CREATE TRIGGER configs_bytes_insert AFTER INSERT ON configs BEGIN
  UPDATE tenants SET bytes = bytes + ({new_bytes}) WHERE id = NEW.account; END;
CREATE TRIGGER configs_bytes_update AFTER UPDATE ON configs BEGIN
  UPDATE tenants SET bytes = bytes + ({new_bytes}) - ({old_bytes}) WHERE id = NEW.account; END;
CREATE TRIGGER configs_bytes_delete AFTER DELETE ON configs BEGIN
  UPDATE tenants SET bytes = bytes - ({old_bytes}) WHERE id = OLD.account; END;

-- @fragment columns
id, name, description, parent, items, environments, managed, created_at, updated_at

-- @fragment matching
FROM configs WHERE account = ?1 AND (?2 IS NULL OR parent = ?2)
  AND (?3 IS NULL OR instr(lower(id), ?3) > 0 OR instr(lower(name), ?3) > 0) AND (?4 < 0 OR managed = ?4)

-- @list list
SELECT id {matching} ORDER BY {order} LIMIT ?5 OFFSET ?6
-- @by id | id DESC
-- @by name, id | name DESC, id
-- @by created_at, id | created_at DESC, id
-- @by updated_at, id | updated_at DESC, id

-- @statement count
SELECT count(*) {matching}

-- @statement count_all
SELECT count(*) FROM configs WHERE account = ?1

-- @statement one
SELECT {columns} FROM configs WHERE account = ?1 AND id = ?2

-- @statement head
SELECT parent, managed FROM configs WHERE account = ?1 AND id = ?2

-- @statement child
SELECT id FROM configs WHERE account = ?1 AND parent = ?2 ORDER BY id LIMIT 1

-- @statement put
INSERT INTO configs (account, {columns}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9)
  ON CONFLICT (account, id) DO UPDATE SET name = ?3, description = ?4, parent = ?5, items = ?6,
  environments = ?7, managed = ?8, updated_at = ?9

-- @statement provision
INSERT OR IGNORE INTO configs (account, {columns})
  VALUES (?1, 'common', 'Common', NULL, NULL, '{}', '{}', 1, ?2, ?2)

-- @statement delete
DELETE FROM configs WHERE account = ?1 AND id = ?2

-- @statement forget
DELETE FROM configs WHERE account = ?1

-- @statement forget_types
DELETE FROM config_types WHERE account = ?1

-- @statement forget_overrides
DELETE FROM config_overrides WHERE account = ?1
