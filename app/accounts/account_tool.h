/* SPDX-License-Identifier: Apache-2.0 */
/* What the account service adds to backup, restore and resend (services/tool.h). */
#pragma once

#include "app/http/handler.h"

int account_tool(const tool_call_t *call, diag_t *diag);
