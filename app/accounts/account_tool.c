/* SPDX-License-Identifier: Apache-2.0 */
#include "app/accounts/account_tool.h"

#include <stdio.h>
#include <string.h>

#include "app/services/sister.h"
#include "app/services/stores.h"
#include "app/store/accounts.h"
#include "common/base/error.h"

/* By its URL, or by its host alone. */
static bool is_named(const char *url, const char *name)
{
  sister_url_t parsed;
  return name == NULL || strcmp(url, name) == 0 ||
         (sister_url_parse(url, &parsed, NULL) == SMPL_OK && strcmp(parsed.host, name) == 0);
}

static int resend(const tool_call_t *call, diag_t *diag)
{
  const char *urls[OUTBOX_SISTERS_MAX + 1];
  size_t count = 0;
  for (const char *const *url = call->sister_urls; *url != NULL && count < OUTBOX_SISTERS_MAX; url++)
    if (is_named(*url, call->argument))
      urls[count++] = *url;
  if (count == 0)
    return diag_fail(diag, SMPL_ENOENT, "resend: the configuration has no sister%s%s",
                     call->argument != NULL ? " " : "s", call->argument != NULL ? call->argument : "");
  urls[count] = NULL;
  tool_call_t named = *call;
  named.sister_urls = urls;
  return stores_tool("accounts", &named, diag);
}

int account_tool(const tool_call_t *call, diag_t *diag)
{
  return call->verb == TOOL_RESEND ? resend(call, diag) : stores_tool("accounts", call, diag);
}
