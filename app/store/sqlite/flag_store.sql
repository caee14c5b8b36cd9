-- SPDX-License-Identifier: Apache-2.0
-- Flags. Migrations are appended, never edited.

-- @fragment bytes
coalesce(length(CAST(id AS BLOB)), 0)
  + coalesce(length(CAST(name AS BLOB)), 0)
  + coalesce(length(CAST(description AS BLOB)), 0)
  + coalesce(length(CAST(fallback AS BLOB)), 0)
  + coalesce(length(CAST(choices AS BLOB)), 0)
  + coalesce(length(CAST(environments AS BLOB)), 0)

-- @fragment new_bytes
coalesce(length(CAST(NEW.id AS BLOB)), 0)
  + coalesce(length(CAST(NEW.name AS BLOB)), 0)
  + coalesce(length(CAST(NEW.description AS BLOB)), 0)
  + coalesce(length(CAST(NEW.fallback AS BLOB)), 0)
  + coalesce(length(CAST(NEW.choices AS BLOB)), 0)
  + coalesce(length(CAST(NEW.environments AS BLOB)), 0)

-- @fragment old_bytes
coalesce(length(CAST(OLD.id AS BLOB)), 0)
  + coalesce(length(CAST(OLD.name AS BLOB)), 0)
  + coalesce(length(CAST(OLD.description AS BLOB)), 0)
  + coalesce(length(CAST(OLD.fallback AS BLOB)), 0)
  + coalesce(length(CAST(OLD.choices AS BLOB)), 0)
  + coalesce(length(CAST(OLD.environments AS BLOB)), 0)

-- @migration
CREATE TABLE tenants (id TEXT PRIMARY KEY, name TEXT NOT NULL, key TEXT, created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE flags (account TEXT NOT NULL REFERENCES tenants (id), id TEXT NOT NULL, name TEXT NOT NULL,
  description TEXT, type TEXT NOT NULL, fallback TEXT NOT NULL, choices TEXT, environments TEXT NOT NULL,
  managed INTEGER NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
  PRIMARY KEY (account, id));

-- @migration
-- All that a list sorts and filters by: it is walked instead of the rows with their big texts.
CREATE INDEX flags_heads ON flags (account, id, name, type, managed, created_at, updated_at);

-- @migration
-- How many bytes of text each account has stored, kept by triggers.
ALTER TABLE tenants ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
UPDATE tenants SET bytes = (SELECT coalesce(sum({bytes}), 0) FROM flags WHERE account = tenants.id);
CREATE TRIGGER flags_bytes_insert AFTER INSERT ON flags BEGIN
  UPDATE tenants SET bytes = bytes + ({new_bytes}) WHERE id = NEW.account; END;
CREATE TRIGGER flags_bytes_update AFTER UPDATE ON flags BEGIN
  UPDATE tenants SET bytes = bytes + ({new_bytes}) - ({old_bytes}) WHERE id = NEW.account; END;
CREATE TRIGGER flags_bytes_delete AFTER DELETE ON flags BEGIN
  UPDATE tenants SET bytes = bytes - ({old_bytes}) WHERE id = OLD.account; END;

-- @fragment columns
id, name, description, type, fallback, choices, environments, managed, created_at, updated_at

-- @fragment matching
FROM flags WHERE account = ?1 AND (?2 IS NULL OR type = ?2)
  AND (?3 IS NULL OR instr(lower(id), ?3) > 0 OR instr(lower(name), ?3) > 0) AND (?4 < 0 OR managed = ?4)

-- @list list
SELECT id {matching} ORDER BY {order} LIMIT ?5 OFFSET ?6
-- @by id | id DESC
-- @by name, id | name DESC, id
-- @by created_at, id | created_at DESC, id
-- @by updated_at, id | updated_at DESC, id
-- @by type, id | type DESC, id

-- @statement count
SELECT count(*) {matching}

-- @statement count_all
SELECT count(*) FROM flags WHERE account = ?1

-- @statement one
SELECT {columns} FROM flags WHERE account = ?1 AND id = ?2

-- @statement environments
SELECT environments FROM flags WHERE account = ?1 AND id = ?2

-- @statement insert
INSERT INTO flags (account, {columns}) VALUES (?1, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?11)

-- @statement update
UPDATE flags SET id = ?3, name = ?4, description = ?5, type = ?6, fallback = ?7, choices = ?8,
  environments = ?9, managed = ?10, updated_at = ?11 WHERE account = ?1 AND id = ?2

-- @statement delete
DELETE FROM flags WHERE account = ?1 AND id = ?2

-- @statement forget
DELETE FROM flags WHERE account = ?1
