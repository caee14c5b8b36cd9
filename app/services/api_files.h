/* SPDX-License-Identifier: Apache-2.0 */
/* The files that say what the OpenAPI documents of the services say, embedded by api_files.S.in; and the
 * routes that the account service asks of its sisters. */
#pragma once

#include "app/http/handler.h"

extern const char accounts_api[], accounts_api_end[];
extern const char config_api[], config_api_end[];
extern const char flags_api[], flags_api_end[];
extern const char tenants_api[], tenants_api_end[];
extern const char common_api[], common_api_end[];

/* clang-format off */
#define TENANT_ROUTES \
  {.method = METHOD_PUT, .path = "/internal/v1/accounts/{id}", .tier = TIER_INTERNAL, \
   .handle = tenants_put, .operation_id = "provision_account", .operation = OPERATION_PROVISION, \
   .request_schema = "AccountNotice"}, \
  {.method = METHOD_GET, .path = "/internal/v1/accounts/{id}", .tier = TIER_INTERNAL, \
   .handle = tenants_get, .operation_id = "get_provisioned_account", .operation = OPERATION_OPEN}, \
  {.method = METHOD_DELETE, .path = "/internal/v1/accounts/{id}", .tier = TIER_INTERNAL, \
   .handle = tenants_delete, .operation_id = "forget_account", .operation = OPERATION_PROVISION}, \
  {.method = METHOD_GET, .path = "/internal/v1/accounts", .tier = TIER_INTERNAL, \
   .handle = tenants_list, .operation_id = "list_provisioned_accounts", .operation = OPERATION_OPEN}
/* clang-format on */
