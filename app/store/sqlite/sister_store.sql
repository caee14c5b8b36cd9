-- SPDX-License-Identifier: Apache-2.0
-- What is noted of sisters' databases, and what they know that is not here (strays).

-- @statement note
SELECT epoch, heard, generation FROM sisters WHERE url = ?1

-- @statement write_note
INSERT INTO sisters (url, epoch, heard, generation) VALUES (?1, ?2, ?3, ?4)
  ON CONFLICT (url) DO UPDATE SET epoch = ?2, heard = ?3, generation = ?4

-- @statement account_state
SELECT deleted_at FROM accounts WHERE id = ?1

-- @statement add_stray
INSERT INTO strays (sister, account, seen_at) SELECT ?1, ?2, ?3
  WHERE (SELECT count(*) FROM strays WHERE sister = ?1) < ?4
    OR EXISTS (SELECT 1 FROM strays WHERE sister = ?1 AND account = ?2)
  ON CONFLICT (sister, account) DO UPDATE SET seen_at = ?3

-- @statement tell_again
UPDATE outbox SET done_at = NULL, attempts = 0 WHERE account = ?1 AND sister = ?2 AND done_at IS NOT NULL

-- @statement drop_unseen
DELETE FROM strays WHERE sister = ?1 AND seen_at < ?2

-- @statement count_strays
UPDATE sisters SET strays = ?2 WHERE url = ?1 AND strays <> ?2

-- @statement forget_strays
UPDATE sisters SET strays = 0 WHERE strays > 0

-- @statement all_strays
SELECT coalesce(sum(strays), 0) FROM sisters

-- @statement name_strays
SELECT account FROM strays WHERE sister = ?1 ORDER BY account LIMIT ?2

-- @statement with_strays
SELECT url, strays FROM sisters WHERE strays > 0 ORDER BY url

-- @statement all_again
UPDATE sisters SET generation = generation + 1
