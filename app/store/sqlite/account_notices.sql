-- SPDX-License-Identifier: Apache-2.0
-- What an operator has to look into. Only so many rows are counted: it is asked for often.

-- @statement held
SELECT count(*) FROM (SELECT 1 FROM api_keys WHERE held = 1 LIMIT ?1)

-- @statement unwritten
SELECT count(*) FROM (SELECT 1 FROM revocations WHERE written = 0 LIMIT ?1)

-- @statement untold
SELECT count(*) FROM (SELECT 1 FROM outbox INDEXED BY outbox_pending WHERE done_at IS NULL LIMIT ?1)

-- @statement told_before
SELECT count(*) FROM (SELECT 1 FROM sisters s CROSS JOIN outbox o INDEXED BY outbox_told ON o.sister = s.url
  AND o.generation < s.generation AND o.done_at IS NOT NULL LIMIT ?1)
