/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/sqlite/file.h"

#include <string.h>

#include "app/store/sqlite/account_tool.h"
#include "app/store/sqlite/accounts_sqlite.h"
#include "app/store/sqlite/config_store.h"
#include "app/store/sqlite/flag_store.h"
#include "app/store/sqlite/tool.h"
#include "common/base/error.h"

static const tool_extra_t nothing_more = {.on_restore = NULL};

static const struct {
  const sqlite_service_t *service;
  const tool_extra_t *extra;
} services[] = {
    {&accounts_sqlite, &account_tool_extra},
    {&config_sqlite, &nothing_more},
    {&flag_sqlite, &nothing_more},
};

enum { SERVICES = sizeof services / sizeof *services };

static size_t find(const char *service)
{
  size_t i = 0;
  while (i < SERVICES && strcmp(services[i].service->schema->owner, service) != 0)
    i++;
  return i;
}

int file_open(const service_env_t *env, const char *service, store_t **out, diag_t *diag)
{
  size_t i = find(service);
  *out = NULL;
  return i == SERVICES
             ? diag_fail(diag, SMPL_EINVAL, "there is no %s service", service)
             : sqlite_open(env->loop, env->database, env->revocations, services[i].service, out, diag);
}

int file_tool(const char *service, const tool_call_t *call, diag_t *diag)
{
  size_t i = find(service);
  return i == SERVICES ? diag_fail(diag, SMPL_EINVAL, "there is no %s service", service)
                       : tool_run(call, services[i].service->schema, services[i].extra, diag);
}
