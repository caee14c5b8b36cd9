-- SPDX-License-Identifier: Apache-2.0
-- What commands change in the account service's database.

-- @statement hold_keys
UPDATE api_keys SET held = 1 WHERE status = 'ACTIVE' AND held = 0

-- @statement trust_keys
UPDATE api_keys SET held = 0 WHERE held = 1

-- @statement count_accounts
SELECT count(*) FROM accounts
