-- SPDX-License-Identifier: Apache-2.0
-- API keys.

-- @fragment columns
id, name, status, expires_at, last_used_at, created_at, updated_at, created_by

-- @fragment matching
FROM api_keys WHERE account = ?1 AND (?2 IS NULL OR status = ?2) AND (?3 IS NULL OR instr(lower(name), ?3) > 0)

-- @list list
SELECT {columns} {matching} ORDER BY {order}, id LIMIT ?4 OFFSET ?5
-- @by name | name DESC
-- @by created_at | created_at DESC
-- @by expires_at | expires_at DESC
-- @by last_used_at | last_used_at DESC
-- @by status | status DESC

-- @statement count
SELECT count(*) {matching}

-- @statement count_all
SELECT count(*) FROM api_keys WHERE account = ?1

-- @statement one
SELECT {columns} FROM api_keys WHERE id = ?2 AND account = ?1

-- @statement find
SELECT hash, id, account, expires_at, last_used_at FROM api_keys
  WHERE tag = ?1 AND status = 'ACTIVE' AND held = 0

-- @statement insert
INSERT INTO api_keys (id, account, name, tag, hash, status, expires_at, created_at, updated_at, created_by)
  VALUES (?1, ?2, ?3, ?4, ?5, 'ACTIVE', ?6, ?7, ?7, ?8)

-- @statement update
UPDATE api_keys SET name = ?3, expires_at = ?4, updated_at = ?5 WHERE id = ?2 AND account = ?1

-- Revoked once, for good: a second time changes nothing.
-- @statement revoke
UPDATE api_keys SET updated_at = CASE status WHEN 'ACTIVE' THEN ?3 ELSE updated_at END, status = 'REVOKED'
  WHERE id = ?2 AND account = ?1

-- @statement delete
DELETE FROM api_keys WHERE id = ?2 AND account = ?1

-- @statement touch
UPDATE api_keys SET last_used_at = ?2 WHERE id = ?1 AND (last_used_at IS NULL OR last_used_at <= ?3)
