/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/run/life.h"

#include "common/base/error.h"
#include "common/base/text.h"

void life_fail(life_t *life, exit_code_t code, const char *reason, const char *text)
{
  if (life->state == LIFE_OVER)
    return;
  life->state = LIFE_OVER;
  life->code = code;
  if (reason)
    text_copy(life->reason, sizeof life->reason, reason);
  diag_fail(&life->diag, SMPL_ECLOSED, "%s", text);
}

void life_stop(life_t *life)
{
  life->state = LIFE_OVER;
}

const char *life_name(life_state_t state)
{
  static const char *const names[] = {"connecting", "learning", "up", "waiting", "over"};
  return names[state];
}
