/* SPDX-License-Identifier: Apache-2.0 */
/* What the account service adds to backup, restore and resend of its SQLite file. A resend is for all of
 * call->sister_urls. */
#pragma once

#include "app/store/sqlite/tool.h"

extern const tool_extra_t account_tool_extra;
