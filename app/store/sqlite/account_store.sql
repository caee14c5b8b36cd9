-- SPDX-License-Identifier: Apache-2.0
-- Accounts, and the schema of all that the account service keeps. Migrations are appended, never edited.

-- @migration
CREATE TABLE accounts (id TEXT PRIMARY KEY, key TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
  created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL) WITHOUT ROWID;
-- tag: the first bytes of the hash, to find a key by; the whole hash is then compared in constant time.
CREATE TABLE api_keys (id TEXT PRIMARY KEY, account TEXT NOT NULL REFERENCES accounts (id), name TEXT NOT NULL,
  tag BLOB NOT NULL, hash BLOB NOT NULL UNIQUE, status TEXT NOT NULL, expires_at INTEGER, last_used_at INTEGER,
  created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX api_keys_by_tag ON api_keys (tag);
CREATE INDEX api_keys_by_account ON api_keys (account);
-- Who has been told of which account: done_at is NULL until the sister has acknowledged it.
CREATE TABLE outbox (account TEXT NOT NULL REFERENCES accounts (id), sister TEXT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0, last_error TEXT, done_at INTEGER, PRIMARY KEY (account, sister));
CREATE INDEX outbox_pending ON outbox (sister, attempts) WHERE done_at IS NULL;

-- @migration
-- The internal caller that made it; NULL: the account itself, or before callers had names.
ALTER TABLE api_keys ADD COLUMN created_by TEXT;

-- @migration
-- A deleted account is its own tombstone, for ACCOUNT_TOMBSTONE_DAYS.
ALTER TABLE accounts ADD COLUMN deleted_at INTEGER;
CREATE INDEX accounts_deleted ON accounts (deleted_at) WHERE deleted_at IS NOT NULL;
-- Restored without anybody knowing whether it was revoked since: of no use until somebody says so.
ALTER TABLE api_keys ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
CREATE INDEX api_keys_held ON api_keys (id) WHERE held = 1;
-- Which of the sister's generations was told; older than the present one is not told.
ALTER TABLE outbox ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
CREATE INDEX outbox_told ON outbox (sister, generation, attempts) WHERE done_at IS NOT NULL;
CREATE TABLE sisters (url TEXT PRIMARY KEY, epoch TEXT, heard INTEGER NOT NULL DEFAULT 0,
  generation INTEGER NOT NULL DEFAULT 0, strays INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE strays (sister TEXT NOT NULL, account TEXT NOT NULL, seen_at INTEGER NOT NULL,
  PRIMARY KEY (sister, account)) WITHOUT ROWID;
-- What may not come back by a restore; written: it is in the file of revocations too.
CREATE TABLE revocations (n INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, subject TEXT NOT NULL,
  at INTEGER NOT NULL, written INTEGER NOT NULL DEFAULT 0);
CREATE INDEX revocations_unwritten ON revocations (n) WHERE written = 0;
INSERT INTO revocations (kind, subject, at) SELECT 'key', id, updated_at FROM api_keys WHERE status <> 'ACTIVE';

-- @migration
CREATE UNIQUE INDEX revocations_of ON revocations (kind, subject);

-- @fragment columns
id, name, key, created_at, updated_at

-- @fragment matching
FROM accounts WHERE deleted_at IS NULL
  AND (?1 IS NULL OR instr(lower(key), ?1) > 0 OR instr(lower(name), ?1) > 0)

-- @list list
SELECT {columns} {matching} ORDER BY {order} LIMIT ?2 OFFSET ?3
-- @by name, id | name DESC, id
-- @by key | key DESC
-- @by created_at, id | created_at DESC, id

-- @statement count
SELECT count(*) {matching}

-- @statement one
SELECT {columns} FROM accounts WHERE id = ?1 AND deleted_at IS NULL

-- @statement insert
INSERT INTO accounts (id, key, name, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?4)
  ON CONFLICT (key) DO NOTHING

-- Its key is free for another one of that name.
-- @statement mark_deleted
UPDATE accounts SET deleted_at = ?2, updated_at = ?2, key = id WHERE id = ?1 AND deleted_at IS NULL

-- @statement delete_keys
DELETE FROM api_keys WHERE account = ?1

-- @statement tell_deleted
UPDATE outbox SET done_at = NULL, attempts = 0 WHERE account = ?1

-- @fragment buried
SELECT id FROM accounts WHERE deleted_at < ?1 ORDER BY deleted_at, id LIMIT ?2

-- @statement bury_outbox
DELETE FROM outbox WHERE account IN ({buried})

-- @statement bury
DELETE FROM accounts WHERE id IN ({buried})
