/* SPDX-License-Identifier: Apache-2.0 */
#include "app/accounts/sister_news.h"

#include "common/base/log.h"

void sister_log_news(const char *host, sister_news_t news)
{
  if (news == SISTER_ANOTHER)
    log_warn("%s has another database than before, or a restored one: it is told of all accounts again",
             host);
  else if (news == SISTER_OLDER)
    log_warn("%s has an older database than before: it is told of all accounts again", host);
}
