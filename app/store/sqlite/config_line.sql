-- SPDX-License-Identifier: Apache-2.0
-- Lines of inheritance.

-- ?2 and its ancestors, nearest first.
-- @fragment up
WITH RECURSIVE up (id, depth) AS (SELECT ?2, 1 UNION ALL SELECT c.parent, depth + 1 FROM up
  JOIN configs c ON c.account = ?1 AND c.id = up.id WHERE c.parent IS NOT NULL AND depth < 64)

-- The children of ?2, theirs, and so on.
-- @fragment down
down (id, depth) AS (SELECT id, 1 FROM configs WHERE account = ?1 AND parent = ?2 UNION ALL
  SELECT c.id, depth + 1 FROM down JOIN configs c ON c.account = ?1 AND c.parent = down.id WHERE depth < 64)

-- What ?2 and its ancestors declare, each key once: they agree on its type.
-- @fragment declared
declared (key, type) AS MATERIALIZED (SELECT DISTINCT t.key, t.type FROM up CROSS JOIN config_types t
  WHERE t.account = ?1 AND t.config = up.id)

-- @statement exists
SELECT 1 FROM configs WHERE account = ?1 AND id = ?2

-- @statement chain
{up} SELECT id FROM up ORDER BY depth

-- @statement height
WITH RECURSIVE {down} SELECT coalesce(max(depth), 0) FROM down

-- @statement inherited
{up} SELECT t.key, t.type FROM up CROSS JOIN config_types t WHERE t.account = ?1 AND t.config = up.id
  ORDER BY depth

-- @statement own_types
SELECT key, type FROM config_types WHERE account = ?1 AND config = ?2

-- @statement child
SELECT EXISTS (SELECT 1 FROM configs WHERE account = ?1 AND parent = ?2)

-- Driven from the items below, each looked up among those declared above: their number is what it costs,
-- whatever the shape of the tree. ?3 is a JSON array of the keys in question, NULL for all.
-- @statement types_below
{up}, {down}, {declared}
  SELECT b.key, declared.type, b.config, b.type FROM down CROSS JOIN config_types b CROSS JOIN declared
  WHERE b.account = ?1 AND b.config = down.id AND (?3 IS NULL OR b.key IN (SELECT value FROM json_each(?3)))
    AND declared.key = b.key AND declared.type <> b.type LIMIT 1

-- @statement declarer
{up} SELECT t.config FROM up CROSS JOIN config_types t WHERE t.account = ?1 AND t.config = up.id AND t.key = ?3
  ORDER BY depth LIMIT 1

-- Overrides below that nothing declares any more, or as another type: neither ?2 and its ancestors nor,
-- looked for only then, the overriding config or one between the two. ?3 as above.
-- @statement overrides_below
{up}, {down}, {declared},
  line (config, id, depth) AS (SELECT id, id, 1 FROM down UNION ALL
    SELECT line.config, c.parent, line.depth + 1 FROM line
    JOIN configs c ON c.account = ?1 AND c.id = line.id WHERE c.parent <> ?2 AND line.depth < 64),
  lines AS MATERIALIZED (SELECT config, id FROM line)
  SELECT o.config, o.key, o.type FROM down CROSS JOIN config_overrides o
  WHERE o.account = ?1 AND o.config = down.id AND (?3 IS NULL OR o.key IN (SELECT value FROM json_each(?3)))
    AND NOT EXISTS (SELECT 1 FROM declared a WHERE a.key = o.key AND a.type = o.type)
    AND NOT EXISTS (SELECT 1 FROM lines CROSS JOIN config_types d WHERE lines.config = o.config
      AND d.account = ?1 AND d.config = lines.id AND d.key = o.key AND d.type = o.type) LIMIT 1

-- @statement entries_of_one
SELECT (SELECT count(*) FROM config_types WHERE account = ?1 AND config = ?2)
  + (SELECT count(*) FROM config_overrides WHERE account = ?1 AND config = ?2)

-- @statement entries
SELECT (SELECT count(*) FROM config_types WHERE account = ?1)
  + (SELECT count(*) FROM config_overrides WHERE account = ?1)

-- @statement add_type
INSERT INTO config_types (account, config, key, type) VALUES (?1, ?2, ?3, ?4)

-- @statement drop_type
DELETE FROM config_types WHERE account = ?1 AND config = ?2 AND key = ?3

-- @statement drop_types
DELETE FROM config_types WHERE account = ?1 AND config = ?2

-- @statement add_override
INSERT INTO config_overrides (account, config, key, type) VALUES (?1, ?2, ?3, ?4)

-- @statement drop_overrides
DELETE FROM config_overrides WHERE account = ?1 AND config = ?2
