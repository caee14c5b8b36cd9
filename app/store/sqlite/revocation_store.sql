-- SPDX-License-Identifier: Apache-2.0
-- What may not come back by a restore.

-- @statement unwritten
SELECT n, at, kind, subject FROM revocations WHERE written = 0 ORDER BY n LIMIT ?1

-- @statement mark_written
UPDATE revocations SET written = 1 WHERE written = 0 AND n <= ?1

-- @statement add
INSERT OR IGNORE INTO revocations (kind, subject, at) VALUES (?1, ?2, ?3)

-- Rows that the file has not, as it was found.
-- @statement mark_unwritten
UPDATE revocations SET written = 0 WHERE written = 1 AND n > ?1

-- @statement missing
SELECT count(*) FROM (SELECT 1 FROM revocations WHERE written = 0 LIMIT 1)

-- @statement last
SELECT coalesce(max(n), 0) FROM revocations

-- @statement last_written
SELECT coalesce(max(n), 0) FROM revocations WHERE written = 1

-- @statement apply
INSERT OR IGNORE INTO revocations (n, kind, subject, at, written) VALUES (?1, ?2, ?3, ?4, 1)

-- @statement apply_to_key
UPDATE api_keys SET status = 'REVOKED', updated_at = ?2 WHERE id = ?1 AND status = 'ACTIVE'
