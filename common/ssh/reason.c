/* SPDX-License-Identifier: Apache-2.0 */
#include "common/ssh/reason.h"

#include <string.h>

static const struct {
  const char *name;
  const char *text;
} reasons[REASON_COUNT] = {
#define REASON_ROW(id, name, text) [REASON_##id] = {name, text},
    REASON_LIST(REASON_ROW)
#undef REASON_ROW
};

static reason_t in_list(reason_t reason)
{
  return (unsigned)reason < REASON_COUNT ? reason : REASON_NONE;
}

const char *reason_name(reason_t reason)
{
  return reasons[in_list(reason)].name;
}

const char *reason_text(reason_t reason)
{
  return reasons[in_list(reason)].text;
}

reason_t reason_from_name(const char *name)
{
  for (unsigned i = 0; i < REASON_COUNT; i++)
    if (strcmp(reasons[i].name, name) == 0)
      return (reason_t)i;
  return REASON_NONE;
}
