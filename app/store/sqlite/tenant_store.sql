-- SPDX-License-Identifier: Apache-2.0
-- The accounts that a product was told of. Their table is made by the product's own migrations.

-- @statement known
SELECT 1 FROM tenants WHERE id = ?1

-- @statement bytes
SELECT bytes FROM tenants WHERE id = ?1

-- @statement one
SELECT name, key, created_at, updated_at FROM tenants WHERE id = ?1

-- An update that changes nothing writes nothing, so repeated calls keep updated_at.
-- @statement put
INSERT INTO tenants (id, name, key, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?4)
  ON CONFLICT (id) DO UPDATE SET name = ?2, key = ?3, updated_at = ?4 WHERE name <> ?2 OR key IS NOT ?3

-- @statement delete
DELETE FROM tenants WHERE id = ?1

-- @statement list
SELECT id FROM tenants WHERE id > ?1 ORDER BY id LIMIT ?2
