-- SPDX-License-Identifier: Apache-2.0
-- Which database this is.

-- @statement make_table
CREATE TABLE IF NOT EXISTS database_identity (one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL,
  epoch TEXT NOT NULL, heard INTEGER NOT NULL DEFAULT 0, made_at INTEGER NOT NULL)

-- @statement make
INSERT OR IGNORE INTO database_identity (one, id, epoch, made_at) VALUES (1, ?1, ?2, ?3)

-- @statement read
SELECT id, epoch, heard FROM database_identity WHERE one = 1

-- @statement heard
UPDATE database_identity SET heard = heard + 1

-- @statement renew
UPDATE database_identity SET epoch = ?1
