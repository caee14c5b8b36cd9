/* SPDX-License-Identifier: Apache-2.0 */
/* What the log says of sisters' databases. */
#pragma once

#include "app/store/accounts.h"

/* Says what follows from the news, if anything does. */
void sister_log_news(const char *host, sister_news_t news);
