/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/share.h"

bool share_allows(size_t held, size_t taken, size_t limit, size_t part)
{
  return taken < limit && (held == 0 || held < (limit - taken) / part);
}
