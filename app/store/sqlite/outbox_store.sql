-- SPDX-License-Identifier: Apache-2.0
-- Who has been told of which account.

-- @statement add
INSERT OR IGNORE INTO outbox (account, sister) VALUES (?1, ?2)

-- @statement sow
INSERT OR IGNORE INTO outbox (account, sister) SELECT id, ?1 FROM accounts

-- Told counts only what is still so: the account may have been deleted since the call was made.
-- @statement told
UPDATE outbox SET done_at = ?3, attempts = 0, last_error = NULL, generation = ?4
  WHERE account = ?1 AND sister = ?2
    AND EXISTS (SELECT 1 FROM accounts WHERE id = ?1 AND (deleted_at IS NOT NULL) = ?5)

-- Of what was told before to other databases, what fails goes behind all that was not tried yet.
-- @statement untold
UPDATE outbox SET attempts = attempts + 1, last_error = ?3,
  generation = CASE WHEN done_at IS NOT NULL AND generation < ?4 THEN ?4 - 1 ELSE generation END
  WHERE account = ?1 AND sister = ?2

-- @fragment rows
SELECT o.account, a.name, a.key, a.deleted_at FROM outbox o JOIN accounts a ON a.id = o.account
  WHERE o.sister = ?1

-- Least tried first, so that an account which the sister refuses does not hold up the others.
-- @statement fresh
{rows} AND o.done_at IS NULL ORDER BY o.attempts, o.rowid LIMIT ?2

-- The same of what an earlier database of the sister was told, oldest first.
-- @statement again
{rows} AND o.done_at IS NOT NULL AND o.generation < ?3
  AND o.generation = (SELECT min(generation) FROM outbox WHERE sister = ?1 AND done_at IS NOT NULL)
  ORDER BY o.attempts, o.rowid LIMIT ?2

-- @statement told_count
SELECT count(*) FROM outbox WHERE account = ?1 AND sister = ?2 AND done_at IS NOT NULL AND generation >= ?3
